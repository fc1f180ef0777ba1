"""kafka-python: produces what standard input says, or consumes with a group. See ../README.md."""

import sys

from kafka import KafkaConsumer, KafkaProducer

from records import environment, read, say_placed, say_received


def settings():
    config = {"bootstrap_servers": environment("BOOTSTRAP")}
    if environment("CA"):
        config |= {"security_protocol": "SSL", "ssl_cafile": environment("CA")}
    if environment("CERTIFICATE"):
        config |= {"ssl_certfile": environment("CERTIFICATE"), "ssl_keyfile": environment("KEY")}
    return config


def produce():
    codec = environment("CODEC")
    producer = KafkaProducer(**settings(), acks="all", compression_type=None if codec == "none" else codec, linger_ms=20)
    futures = [
        producer.send(environment("TOPIC"), record["value"], record["key"], record["headers"], record["partition"], record["timestamp"])
        for record in read()
    ]
    producer.flush()
    for future in futures:
        placed = future.get(timeout=60)
        say_placed(placed.partition, placed.offset)
    producer.close()


def consume():
    consumer = KafkaConsumer(environment("TOPIC"), **settings(), group_id=environment("GROUP"), auto_offset_reset="earliest")
    left = int(environment("COUNT"))
    for record in consumer:
        say_received(record.offset, record.partition, record.key, record.value, record.headers, record.timestamp)
        left -= 1
        if not left:
            break
    consumer.close()


{"produce": produce, "consume": consume}[sys.argv[1]]()

"""confluent-kafka: produces what standard input says, or consumes with a group. See ../README.md."""

import sys

from confluent_kafka import Consumer, Producer

from records import environment, read, say_placed, say_received


def settings():
    config = {"bootstrap.servers": environment("BOOTSTRAP"), "broker.address.family": "v4"}
    if environment("CA"):
        config |= {"security.protocol": "ssl", "ssl.ca.location": environment("CA")}
    if environment("CERTIFICATE"):
        config |= {"ssl.certificate.location": environment("CERTIFICATE"), "ssl.key.location": environment("KEY")}
    return config


def produce():
    producer = Producer(settings() | {"compression.type": environment("CODEC"), "enable.idempotence": True, "linger.ms": 20})
    placed = {}

    def keep(number):
        def report(error, message):
            placed[number] = error or message
        return report

    for number, record in enumerate(read()):
        producer.produce(environment("TOPIC"), record["value"], record["key"], record["partition"], on_delivery=keep(number),
                         timestamp=record["timestamp"], headers=record["headers"] or None)
        producer.poll(0)
    producer.flush()
    for _, message in sorted(placed.items()):
        if not hasattr(message, "offset"):
            sys.exit(f"not acknowledged: {message}")
        say_placed(message.partition(), message.offset())


def consume():
    consumer = Consumer(settings() | {"group.id": environment("GROUP"), "auto.offset.reset": "earliest"})
    consumer.subscribe([environment("TOPIC")])
    left = int(environment("COUNT"))
    while left:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            if message.error().retriable() or message.error().name() in ("_TRANSPORT", "_ALL_BROKERS_DOWN", "UNKNOWN_TOPIC_OR_PART"):
                continue
            sys.exit(f"an error instead of a record: {message.error()}")
        say_received(message.offset(), message.partition(), message.key(), message.value(), message.headers(), message.timestamp()[1])
        left -= 1
    consumer.close()


{"produce": produce, "consume": consume}[sys.argv[1]]()

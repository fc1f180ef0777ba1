"""aiokafka: produces what standard input says, or consumes with a group. See ../README.md."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

from records import environment, read, say_placed, say_received


def settings():
    config = {"bootstrap_servers": environment("BOOTSTRAP")}
    if environment("CA"):
        context = create_ssl_context(cafile=environment("CA"), certfile=environment("CERTIFICATE"), keyfile=environment("KEY"))
        config |= {"security_protocol": "SSL", "ssl_context": context}
    return config


async def produce():
    codec = environment("CODEC")
    producer = AIOKafkaProducer(**settings(), acks="all", enable_idempotence=True, linger_ms=20,
                                compression_type=None if codec == "none" else codec)
    await producer.start()
    try:
        futures = [
            await producer.send(environment("TOPIC"), record["value"], record["key"], record["partition"], record["timestamp"],
                                headers=record["headers"] or None)
            for record in read()
        ]
        for future in futures:
            placed = await future
            say_placed(placed.partition, placed.offset)
    finally:
        await producer.stop()


async def consume():
    consumer = AIOKafkaConsumer(environment("TOPIC"), **settings(), group_id=environment("GROUP"), auto_offset_reset="earliest")
    await consumer.start()
    try:
        for _ in range(int(environment("COUNT"))):
            record = await consumer.getone()
            say_received(record.offset, record.partition, record.key, record.value, record.headers, record.timestamp)
    finally:
        await consumer.stop()


asyncio.run({"produce": produce, "consume": consume}[sys.argv[1]]())

"""Records as JSON lines, for the Python clients: see ../README.md."""

import base64
import json
import os
import sys


def environment(name):
    return os.environ.get("KAFKA_" + name)


def blob(text):
    return None if text is None else base64.b64decode(text)


def text(blob):
    return None if blob is None else base64.b64encode(bytes(blob)).decode()


def read():
    for line in sys.stdin:
        record = json.loads(line)
        record["key"], record["value"] = blob(record["key"]), blob(record["value"])
        record["headers"] = [(name, blob(value)) for name, value in record["headers"]]
        yield record


def say_placed(partition, offset):
    print(json.dumps({"partition": partition, "offset": offset}), flush=True)


def say_received(offset, partition, key, value, headers, timestamp):
    headers = [[name, text(value)] for name, value in headers or []]
    print(json.dumps({"offset": offset, "partition": partition, "key": text(key), "value": text(value),
                      "headers": headers, "timestamp": timestamp}), flush=True)

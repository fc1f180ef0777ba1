"""The first steps of the v2 and v3 REST APIs, as their documents show them, with mutual TLS.

usage: client.py URL TOPIC GROUP, with CA, CERTIFICATE and KEY in the environment
"""

import base64
import json
import os
import sys
import time

import requests

V2 = "application/vnd.kafka.v2+json"
JSON = "application/vnd.kafka.json.v2+json"
BINARY = "application/vnd.kafka.binary.v2+json"


def main(url, topic, group):
    with requests.Session() as session:
        # Neither a proxy nor other authorities from the environment.
        session.trust_env = False
        session.verify = os.environ["CA"]
        session.cert = (os.environ["CERTIFICATE"], os.environ["KEY"])
        posted = version_2(session, url, topic, group)
        posted += version_3(session, url, topic)
        print(json.dumps({"posted": posted}))
    nobody(url)


def version_2(session, url, topic, group):
    produce = {"Content-Type": JSON, "Accept": V2}
    answer = ok(session.post(f"{url}/topics/{topic}", headers=produce, json={"records": [{"value": {"foo": "bar"}}]}))
    check(answer["offsets"][0]["offset"] == 0 and answer["key_schema_id"] is None, answer)
    two = {"records": [{"key": {"k": 1}, "value": {"foo": "baz"}}, {"value": None}]}
    check(len(ok(session.post(f"{url}/topics/{topic}", headers=produce, data=json.dumps(two)))["offsets"]) == 2, two)
    coded = {"records": [{"value": base64.b64encode(b'{"foo":"Kafka"}').decode()}]}
    ok(session.post(f"{url}/topics/{topic}", headers={"Content-Type": BINARY, "Accept": V2}, json=coded))

    check(topic in ok(session.get(f"{url}/topics")), "the topic is listed")
    shown = ok(session.get(f"{url}/topics/{topic}", headers={"Accept": V2}))
    check(shown["name"] == topic and shown["partitions"][0]["partition"] == 0, shown)

    # The address of the instance is put together of its name, as the documents do.
    own = f"{url}/consumers/{group}/instances/my_consumer_instance"
    wanted = {"name": "my_consumer_instance", "format": "json", "auto.offset.reset": "earliest"}
    control = {"Content-Type": V2}
    made = ok(session.post(f"{url}/consumers/{group}", headers=control, json=wanted))
    check(made["base_uri"] == own, made)
    check(session.post(f"{own}/subscription", headers=control, json={"topics": [topic]}).status_code == 204, "subscribed")
    records, ends = [], time.monotonic() + 90
    while len(records) < 4 and time.monotonic() < ends:
        records += ok(session.get(f"{own}/records", headers={"Accept": JSON}))
    check([one["value"] for one in records] == [{"foo": "bar"}, {"foo": "baz"}, None, {"foo": "Kafka"}], records)
    check({"topic", "key", "value", "partition", "offset"} <= set(records[0]), records)
    check(session.delete(own, headers=control).status_code == 204, "deleted")
    gone = session.get(f"{own}/records", headers={"Accept": JSON})
    check(gone.status_code == 404 and gone.json()["error_code"] == 40403, gone.text)
    return 4


def version_3(session, url, topic):
    cluster = ok(session.get(f"{url}/v3/clusters"))["data"][0]
    check(cluster["kind"] == "KafkaCluster", cluster)
    here = f"{url}/v3/clusters/{cluster['cluster_id']}"
    topics = ok(session.get(f"{here}/topics"))
    check(topic in [one["topic_name"] for one in topics["data"]], topics)
    partitions = ok(session.get(f"{here}/topics/{topic}/partitions"))
    check(partitions["data"][0]["partition_id"] == 0, partitions)

    records = f"{here}/topics/{topic}/records"
    one = {"key": {"type": "BINARY", "data": "Zm9vYmFy"}, "value": {"type": "JSON", "data": {"foo": "bar"}}}
    answer = ok(session.post(records, json=one))
    check(answer["error_code"] == 200 and answer["cluster_id"] == cluster["cluster_id"], answer)
    check(answer["key"] == {"type": "BINARY", "size": 6} and answer["topic_name"] == topic, answer)
    # Chunked: requests sends what a generator gives as it comes.
    stream = (json.dumps({"value": {"type": "JSON", "data": {"n": n}}}).encode() for n in range(3))
    told = session.post(records, headers={"Content-Type": "application/json"}, data=stream, stream=True)
    lines = [json.loads(line) for line in told.iter_lines() if line]
    check([line["error_code"] for line in lines] == [200] * 3, lines)
    check([line["offset"] for line in lines] == [answer["offset"] + n for n in (1, 2, 3)], lines)
    absent = session.post(f"{here}/topics/{topic}-absent/records", json=one)
    check(absent.status_code == 404 and absent.json()["error_code"] == 40403, absent.text)
    return 4


def nobody(url):
    """Without a certificate there is no connection."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{url}/topics", verify=os.environ["CA"], timeout=60)
        except requests.exceptions.ConnectionError:
            return
    check(False, f"answered without a certificate: {answer.status_code}")


def ok(answer):
    check(answer.status_code == 200, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}")
    return answer.json()


def check(truth, told):
    if not truth:
        sys.exit(f"not as documented: {told}")


if __name__ == "__main__":
    main(*sys.argv[1:])

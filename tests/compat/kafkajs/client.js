// kafkajs: produces what standard input says, or consumes with a group. See ../README.md.
"use strict";

const fs = require("node:fs");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const environment = (name) => process.env["KAFKA_" + name];
const blob = (text) => (text === null ? null : Buffer.from(text, "base64"));
const text = (blob) => (blob === null || blob === undefined ? null : Buffer.from(blob).toString("base64"));
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function client() {
  const file = (name) => environment(name) && fs.readFileSync(environment(name), "utf8");
  const ssl = environment("CA") ? { ca: [file("CA")], cert: file("CERTIFICATE"), key: file("KEY"), servername: "localhost" } : undefined;
  return new Kafka({ brokers: environment("BOOTSTRAP").split(","), ssl, logLevel: logLevel.ERROR, clientId: "compat" });
}

// kafkajs wants headers as an object, a name that comes twice as an array.
function spoken(headers) {
  const object = {};
  for (const [name, value] of headers) {
    object[name] = name in object ? [].concat(object[name], [blob(value)]) : blob(value);
  }
  return object;
}

function heard(headers) {
  return Object.entries(headers).flatMap(([name, value]) => [].concat(value).map((one) => [name, text(one)]));
}

async function produce() {
  const types = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
  const records = fs.readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const producer = client().producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = records.map((record) => ({
    partition: record.partition,
    key: blob(record.key),
    value: blob(record.value),
    headers: spoken(record.headers),
    timestamp: String(record.timestamp),
  }));
  const answers = await producer.send({ topic: environment("TOPIC"), acks: -1, compression: types[environment("CODEC")], messages });
  const next = new Map(answers.map((answer) => [answer.partition, Number(answer.baseOffset)]));
  for (const { partition } of records) {
    say({ partition, offset: next.get(partition) });
    next.set(partition, next.get(partition) + 1);
  }
  await producer.disconnect();
}

async function consume() {
  const consumer = client().consumer({ groupId: environment("GROUP") });
  await consumer.connect();
  await consumer.subscribe({ topics: [environment("TOPIC")], fromBeginning: true });
  let left = Number(environment("COUNT"));
  await new Promise((done, fail) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
    const eachMessage = async ({ partition, message }) => {
      const { offset, key, value, headers, timestamp } = message;
      say({ offset: Number(offset), partition, key: text(key), value: text(value), headers: heard(headers || {}), timestamp: Number(timestamp) });
      left -= 1;
      if (left === 0) done();
    };
    consumer.run({ eachMessage }).catch(fail);
  });
  await consumer.disconnect();
}

({ produce, consume })[process.argv[2]]().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});

// What happened, in a sentence: an event arrives, words leave. What has no sentence here is told by its method and its resource.

import { kindOf } from "./filter.js";
import { count } from "./log.js";

/** An event in words. */
export function describe(event) {
  const data = event.data ?? {};
  const write = SENTENCES[kindOf(event)];
  const text = write?.({ ...EMPTY, ...data }) ?? `${data.methodName ?? ""} ${data.resourceName ?? ""}`;
  const repeated = data.result?.repeated;
  return repeated ? `${text} (${count(repeated, "more event", "more events")} like it)` : text;
}

const EMPTY = { crypto: {}, grant: {}, keyring: {}, kms: {}, log: {}, change: {}, gateway: {}, request: {}, requestMetadata: {}, authorizationInfo: {}, result: {}, http: {}, delegate: {}, escrow: {}, clock: {}, window: {} };

const SENTENCES = {
  "gateway.started": ({ gateway }) => `gateway ${gateway.version ?? ""} began to serve${gateway.unclean ? "; the run before did not end by itself" : ""}`,
  "gateway.stopped": () => "gateway ended",
  "configuration.changed": ({ change }) => `configuration loaded: ${(change.inForce ?? []).join(", ") || "nothing changed"}`,
  "configuration.refused": ({ result }) => `configuration refused: ${result.message ?? ""}`,
  "policy.changed": () => "rules about topics or clients changed",
  "clock.offset": ({ clock }) => `clock is ${clock.offsetMillis} ms from its reference`,
  authentication: ({ requestMetadata, result }) => (result.status === "SUCCESS" ? `connected from ${requestMetadata.clientAddress ?? "?"}` : `did not get in from ${requestMetadata.clientAddress ?? "?"}: ${result.message ?? ""}`),
  "authentication.disowned": () => "connection cut: the certificate is not accepted any more",
  authorization: ({ authorizationInfo: asked }) => `${asked.granted ? "may" : "may not"} ${asked.operation === "Write" ? "write" : "read"} ${asked.resourceName}`,
  records: ({ crypto, methodName, window }) => (window.folded ? `used ${count(window.folded, "key", "keys")} more` : `${methodName === "kafka.Produce" ? "wrote" : "read"} ${count(crypto.records ?? 0, "record", "records")} of ${crypto.topic}, partition ${crypto.partition}${offsets(crypto)}`),
  "records.refused": ({ crypto, methodName, result }) => `${methodName === "kafka.Produce" ? "write" : "read"} of ${crypto.topic}, partition ${crypto.partition}, refused: ${result.message ?? result.reason ?? ""}`,
  "request.refused": ({ request, result }) => `${request.api ?? "request"} refused: ${result.message ?? ""}`,
  "session.begun": ({ crypto }) => `began to seal ${crypto.topic} with key ${short(crypto.keyId)}`,
  "session.announced": ({ crypto }) => `key ${short(crypto.keyId)} for ${crypto.topic}, epoch ${crypto.epoch}`,
  "session.opened": ({ crypto, result }) => `key ${short(crypto.keyId)} of ${crypto.topic ?? crypto.stream} ${result.status === "SUCCESS" ? "opened" : `not opened: ${result.message ?? result.reason}`}`,
  "grant.given": ({ crypto, grant }) => `may ${grant.right} ${crypto.topic ?? crypto.stream} from epoch ${grant.firstEpoch} on, by ${grant.by ?? "?"}`,
  "grant.revoked": ({ crypto, grant }) => `may not ${grant.right} ${crypto.topic ?? crypto.stream} any more`,
  "client.enrolled": ({ crypto }) => `has an identity, in custody of the ${crypto.custody ?? "?"}`,
  "epoch.begun": ({ crypto }) => `epoch ${crypto.epoch} of ${crypto.topic} began`,
  "epoch.destroyed": ({ crypto }) => `epoch ${crypto.epoch} of ${crypto.topic} was destroyed`,
  "stream.changed": ({ crypto }) => `${crypto.topic} is ${crypto.sealed ? "sealed" : "not sealed"}`,
  "epoch.floor": ({ crypto }) => `no session of ${crypto.topic ?? crypto.stream} may begin in an epoch before ${crypto.epoch} any more`,
  "seed.rewrapped": ({ crypto, kms }) => `the seed of ${crypto.client ?? `${crypto.topic ?? crypto.stream}, epoch ${crypto.epoch},`} was wrapped anew by key ${kms.key ?? "?"}`,
  "delegate.certified": ({ delegate }) => `a delegate was certified until ${delegate.notAfter ?? "?"}`,
  "escrow.installed": ({ escrow }) => `sessions are wrapped to an escrow key: ${escrow.threshold} of ${escrow.shares} custodians open`,
  "escrow.retired": () => "an escrow key ended",
  "keyring.removed": ({ keyring, result }) => `${keyring.object ?? "an object"} counts no more: ${result.message ?? ""}`,
  "keyring.refused": ({ keyring, result }) => `${keyring.object ?? "an object"} of the keyring was refused: ${result.message ?? ""}`,
  "http.request": ({ http }) => `${http.method} ${http.path}: ${http.status}`,
  "custody.ended": ({ result }) => `secret is used no more: ${result.message ?? ""}`,
  "sink.lost": ({ log }) => `${count(log.entries ?? 0, "event", "events")} did not reach ${log.sink}`,
  "log.cross_checkpoint": ({ log }) => `checkpoint of ${log.origin}: ${count(log.size ?? 0, "entry", "entries")}`,
  "log.witness_alarm": ({ log, result }) => `${log.witness} says of ${log.origin}: ${result?.message ?? "it is not what it was"}`,
  "custody.unwrap": ({ kms }) => `secret asked of ${kms.system}`,
  "kms.call": ({ kms }) => `${kms.operation} by ${kms.system}, key ${kms.key}`,
  "log.gap": ({ log }) => `${count(log.entries ?? 0, "entry is", "entries are")} missing (${log.gap})`,
  "log.expired": ({ log }) => `entries ${log.firstIndex} to ${log.lastIndex} have expired`,
  "log.read": ({ log }) => `read the log: ${log.filter ?? ""}, entries ${log.firstIndex} to ${log.lastIndex}`,
};

/** The names of kinds that have a sentence, for suggestions. */
export const KINDS = Object.keys(SENTENCES);

function short(id) {
  return id ? `${id.slice(0, 8)}\u2026` : "?";
}

function offsets({ firstOffset, lastOffset }) {
  if (firstOffset === undefined) return "";
  return firstOffset === lastOffset ? `, offset ${firstOffset}` : `, offsets ${firstOffset} to ${lastOffset}`;
}

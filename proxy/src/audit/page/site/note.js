// Signed notes (C2SP signed-note) and checkpoints (C2SP tlog-checkpoint): text and a key arrive, what the key really signed leaves.
// Nothing of a note counts before its signature was verified here, by the browser's own Ed25519.

import { sha256 } from "./tree.js";

const encoder = new TextEncoder();

/** Something is not as the log's rules have it. */
export class Fault extends Error {}

/** A vkey, `name+id+base64`: the public key of a log, with its name. */
export async function parseKey(text) {
  const [name, id, ...rest] = text.trim().split("+");
  const bytes = unbase64(rest.join("+"));
  if (!name || !bytes || bytes.length !== 33 || bytes[0] !== 1) {
    throw new Fault("the log's key is not an Ed25519 key of a signed note");
  }
  const hashed = await sha256(joined(encoder.encode(`${name}\n`), bytes));
  if (hex(hashed.slice(0, 4)) !== id) throw new Fault("the log's key has an id that is not its own");
  const fingerprint = hex(await sha256(encoder.encode(text.trim())));
  return { text: text.trim(), name, id, publicKey: bytes.slice(1), fingerprint };
}

/** The text of a note, when the key signed it. */
export async function openNote(whole, key) {
  const at = whole.lastIndexOf("\n\n");
  if (at < 0 || !whole.endsWith("\n")) throw new Fault("this is no signed note");
  const text = whole.slice(0, at + 1);
  const lines = whole.slice(at + 2, -1).split("\n");
  let signed = false;
  for (const line of lines) {
    const [dash, name, encoded, ...more] = line.split(" ");
    const bytes = unbase64(encoded ?? "");
    if (dash !== "\u2014" || !name || !bytes || bytes.length < 5 || more.length > 0) {
      throw new Fault("a signature line is not one");
    }
    if (name !== key.name || hex(bytes.slice(0, 4)) !== key.id) continue;
    if (!(await verify(key, bytes.slice(4), encoder.encode(text)))) {
      throw new Fault("the signature is not valid: this text was not signed by the log's key");
    }
    signed = true;
  }
  if (!signed) throw new Fault("the log's key has not signed this");
  return text;
}

/** What a checkpoint says. */
export function parseCheckpoint(text) {
  const [origin, size, root] = text.split("\n");
  const bytes = unbase64(root ?? "");
  if (!origin || !/^(0|[1-9][0-9]{0,15})$/.test(size ?? "") || bytes?.length !== 32) {
    throw new Fault("this is no checkpoint");
  }
  return { origin, size: Number(size), root: bytes };
}

/** The list of what expired or was lost: `expired FIRST END ENTRY HASH`. */
export function parseStatements(text, origin) {
  const [title, name, ...lines] = text.slice(0, -1).split("\n");
  if (title !== "barnabas.audit/statements/v1" || name !== origin) throw new Fault("this is no list of statements of this log");
  return lines.map((line) => {
    const [kind, first, end] = line.split(" ");
    if (!["expired", "unreadable"].includes(kind) || !(Number(first) < Number(end))) throw new Fault("a statement is not one");
    return { kind, first: Number(first), end: Number(end) };
  });
}

async function verify(key, signature, message) {
  try {
    const imported = await crypto.subtle.importKey("raw", key.publicKey, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
  } catch (error) {
    if (error.name === "NotSupportedError") {
      throw new Fault("this browser cannot verify Ed25519 signatures: use a newer one, or `barnabas audit verify`");
    }
    throw error;
  }
}

/** Bytes of base64, or null. */
export function unbase64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return null;
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** Bytes as base64. */
export function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** Bytes as hexadecimal. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function joined(first, second) {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

// The log as this browser has verified it. Arrives: the key, checkpoints, tiles and bundles of the gateway, none of them believed.
// Leaves: verdicts, and entries whose hashes are in the signed tree. What was verified is remembered in this browser, so that a
// log that is shorter, or another one, than at the last visit is noticed.

import { Fault, base64, openNote, parseCheckpoint, parseKey, parseStatements, unbase64 } from "./note.js";
import { Tree, WIDTH, leafHash, same } from "./tree.js";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** An answer of the gateway that is not one. */
class Missing extends Error {}

/** The log behind this page. */
export class AuditLog {
  key = null;
  checkpoint = null;
  tree = null;
  statements = [];
  bundles = new Map();

  /** Fetches key and checkpoint and verifies everything that hangs from them. Gives a verdict for each step. */
  async refresh() {
    const verdicts = [];
    const step = async (name, run) => {
      try {
        verdicts.push({ name, ...(await run()) });
        return verdicts.at(-1).state !== "bad";
      } catch (error) {
        verdicts.push({ name, state: error instanceof Missing ? "open" : "bad", text: error.message });
        return false;
      }
    };
    const went =
      (await step("key", () => this.readKey())) &&
      (await step("signature", () => this.readCheckpoint())) &&
      (await step("tree", () => this.readTree())) &&
      (await step("history", () => this.compare()));
    if (went) {
      await step("statements", () => this.readStatements());
      this.remember();
    }
    return verdicts;
  }

  /** What is remembered of the log from earlier visits. */
  get memory() {
    try {
      return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
    } catch {
      return {};
    }
  }

  /** Forgets earlier visits: what follows is believed as at the first one. */
  forget() {
    localStorage.removeItem(MEMORY);
  }

  /** The auditor says that the key is the right one. */
  confirm(isConfirmed) {
    localStorage.setItem(MEMORY, JSON.stringify({ ...this.memory, vkey: this.key.text, confirmed: isConfirmed }));
  }

  async readKey() {
    const key = await parseKey(await text("log/vkey"));
    const pinned = this.memory.vkey;
    if (pinned && pinned !== key.text) {
      this.key = key;
      throw new Fault(`the gateway shows another key than at the last visit, which was ${pinned}`);
    }
    this.key = key;
    const confirmed = pinned && this.memory.confirmed;
    return confirmed
      ? { state: "ok", text: "the key is the one that you compared" }
      : { state: "note", text: pinned ? "the same key as at the last visit; compare it once" : "first visit: compare the fingerprint" };
  }

  async readCheckpoint() {
    const note = await text("log/checkpoint");
    const checkpoint = parseCheckpoint(await openNote(note, this.key));
    if (checkpoint.origin !== this.key.name) throw new Fault(`the checkpoint is of another log, ${checkpoint.origin}`);
    this.checkpoint = { ...checkpoint, note };
    return { state: "ok", text: `the Ed25519 signature over ${count(checkpoint.size, "entry", "entries")} is valid` };
  }

  async readTree() {
    const { size, root } = this.checkpoint;
    if (this.tree?.size === size && same(this.tree.verified, root)) {
      return { state: "ok", text: "the root is that of the tiles" };
    }
    const tree = new Tree(size, fetchTile);
    tree.verified = await tree.root();
    if (!same(tree.verified, root)) throw new Fault("the tiles make another root than the checkpoint signs");
    this.tree = tree;
    this.bundles.clear();
    return { state: "ok", text: "the root is that of the tiles" };
  }

  /** Whether the log is a continuation of what this browser has seen. */
  async compare() {
    const known = this.memory;
    const root = unbase64(known.root ?? "");
    if (known.size === undefined || root?.length !== 32) {
      return { state: "note", text: "first visit: nothing to compare with; it is remembered from now on" };
    }
    const when = moment(known.seen);
    const { size } = this.checkpoint;
    if (size < known.size) {
      throw new Fault(`ROLLED BACK: the log has ${size} entries, and had ${known.size} on ${when}`);
    }
    const then = await this.tree.rootAt(known.size);
    if (!then) throw new Fault("a tile of the tree of the last visit does not belong to the tree of now");
    if (!same(then, root)) throw new Fault(`REWRITTEN: the first ${known.size} entries are others than on ${when}`);
    return { state: "ok", text: `a continuation of the ${count(known.size, "entry", "entries")} seen on ${when}` };
  }

  async readStatements() {
    // Nothing where nothing was ever stated.
    const note = await text("log/statements");
    this.statements = note === "" ? [] : parseStatements(await openNote(note, this.key), this.key.name);
    const gone = this.statements.reduce((sum, { first, end }) => sum + end - first, 0);
    return gone === 0
      ? { state: "ok", text: "no entry has expired" }
      : { state: "note", text: `${count(gone, "entry is", "entries are")} gone by signed statement; their hashes are still in the tree` };
  }

  remember() {
    const { size, root, note } = this.checkpoint;
    const memory = { ...this.memory, vkey: this.key.text, size, root: base64(root), note, seen: new Date().toISOString() };
    localStorage.setItem(MEMORY, JSON.stringify(memory));
  }

  /** The statement about an entry that is not there. */
  statement(index) {
    return this.statements.find(({ first, end }) => first <= index && index < end);
  }

  /** A bundle: for each entry its text when its hash is in the tree, and what is wrong where it is not. */
  bundle(index) {
    if (!this.bundles.has(index)) {
      if (this.bundles.size >= MOST_BUNDLES) this.bundles.delete(this.bundles.keys().next().value);
      this.bundles.set(index, this.readBundle(index));
    }
    return this.bundles.get(index);
  }

  async readBundle(index) {
    const { tree } = this;
    const first = index * WIDTH;
    const width = Math.min(WIDTH, tree.size - first);
    const leaves = await tree.hashes(0, index);
    if (!leaves) return fill(width, `tile 0/${index} does not belong to the tree`);
    let entries;
    try {
      entries = split(await fetchBundle(index, width));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      const gone = this.statement(first);
      return fill(width, gone ? "" : "the entry is missing, and no signed statement says why", gone?.kind);
    }
    const hashes = await Promise.all(entries.slice(0, width).map(leafHash));
    return Array.from({ length: width }, (_, at) => {
      if (!hashes[at]) return { fault: "the bundle ends before this entry" };
      if (!same(hashes[at], leaves[at])) return { fault: "the entry has other bytes than were logged" };
      return { text: textOf(entries[at]) };
    });
  }

  /** Reads and checks entries of the log, and tells of progress. Gives faults, the first of them first. */
  async walk(first, progress) {
    const { size } = this.tree;
    const faults = [];
    let gone = 0;
    for (let index = Math.floor(first / WIDTH); index * WIDTH < size; index += 1) {
      const entries = await this.bundle(index);
      entries.forEach(({ fault, statement }, at) => {
        if (fault && faults.length < MOST_FAULTS) faults.push({ entry: index * WIDTH + at, fault });
        if (statement) gone += 1;
      });
      progress(Math.min((index + 1) * WIDTH, size), faults);
    }
    return { size, faults, gone };
  }
}

function fill(width, fault, statement) {
  return Array.from({ length: width }, () => (statement ? { statement } : { fault }));
}

function split(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const end = at + 2 + view.getUint16(at);
    if (end > bytes.length) break;
    entries.push(bytes.slice(at + 2, end));
    at = end;
  }
  return entries;
}

function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return `base64 ${base64(bytes)}`;
  }
}

function fetchTile(level, index, width) {
  return bytes(`log/tile/${level}/${path(index)}${width === WIDTH ? "" : `.p/${width}`}`);
}

function fetchBundle(index, width) {
  return bytes(`log/tile/entries/${path(index)}${width === WIDTH ? "" : `.p/${width}`}`);
}

function path(index) {
  const digits = (number) => String(number % 1000).padStart(3, "0");
  let text = digits(index);
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) text = `x${digits(rest)}/${text}`;
  return text;
}

async function ask(name) {
  const response = await fetch(name, { cache: "no-store", credentials: "same-origin" }).catch(() => {
    throw new Missing("the gateway does not answer");
  });
  if (response.status === 404) throw new Missing(`the gateway has no ${name}`);
  if (!response.ok) throw new Missing(`the gateway refuses ${name}: ${response.status} ${(await response.text()).trim()}`);
  return response;
}

async function text(name) {
  return (await ask(name)).text();
}

async function bytes(name) {
  return new Uint8Array(await (await ask(name)).arrayBuffer());
}

/** The gateway's answer to a question, as JSON. */
export async function question(name) {
  return (await ask(name)).json();
}

/** `1 entry`, `2,000 entries`. */
export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A time as people read it, UTC. */
export function moment(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "?" : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

const MEMORY = "barnabas.audit.memory";
const MOST_BUNDLES = 256;
const MOST_FAULTS = 100;

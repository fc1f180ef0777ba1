// What was verified, in words: verdicts arrive, the first part of the page leaves. Green is said only when signature, tree and
// history are right and every entry that was read was right.

import { count } from "./log.js";
import { byId, el } from "./dom.js";

const TITLES = {
  key: "Key",
  signature: "Signature",
  tree: "Tree",
  history: "History",
  statements: "Expiry",
  entries: "Entries",
  answers: "Answers",
};

const MARKS = { ok: "\u2713", bad: "\u2717", note: "i", open: "\u2026" };

/** The verdicts of the page, and what they come to. */
export class Standing {
  verdicts = new Map();

  /** Takes a verdict in the place of the one of the same name. */
  set(name, state, text) {
    this.verdicts.set(name, { state, text });
    this.show();
  }

  /** Takes the verdicts of a refresh. What it did not come to is not known any more. */
  refreshed(verdicts) {
    for (const name of ["key", "signature", "tree", "history", "statements"]) this.verdicts.delete(name);
    const entries = ["entries", "answers"].map((name) => [name, this.verdicts.get(name)]);
    this.verdicts.clear();
    for (const { name, state, text } of verdicts) this.verdicts.set(name, { state, text });
    for (const [name, verdict] of entries) if (verdict) this.verdicts.set(name, verdict);
    this.show();
  }

  show() {
    byId("steps").replaceChildren(
      ...[...this.verdicts].map(([name, { state, text }]) =>
        el("li", { "data-step": name, "data-state": state },
          el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state]),
          el("b", {}, TITLES[name]), el("span", {}, text)),
      ),
    );
    const { state, text } = this.sum();
    const verdict = byId("verdict");
    if (verdict.dataset.state !== state || verdict.textContent !== text) {
      verdict.dataset.state = state;
      verdict.textContent = text;
    }
  }

  sum() {
    const all = [...this.verdicts];
    const bad = all.filter(([, verdict]) => verdict.state === "bad");
    if (bad.length > 0) {
      const names = bad.map(([name]) => TITLES[name].toLowerCase()).join(", ");
      return { state: "bad", text: `NOT VERIFIED: ${names}` };
    }
    const open = all.find(([, verdict]) => verdict.state === "open");
    if (open || !this.verdicts.has("history") || !this.verdicts.has("entries")) {
      return { state: "open", text: open ? `Not verified: ${open[1].text}` : "Being verified \u2026" };
    }
    return { state: "ok", text: "Verified by this browser" };
  }
}

/** Key, fingerprint and checkpoint. */
export function showKey(log) {
  byId("origin").textContent = log.key?.name ?? "";
  byId("fingerprint").textContent = (log.key?.fingerprint ?? "").replace(/(.{8})(?=.)/g, "$1 ");
  byId("note").textContent = [log.key?.text, log.checkpoint?.note].filter(Boolean).join("\n\n");
}

/** Compares what the auditor was given with the key. */
export function compare(log, given) {
  const plain = given.trim();
  const isKey = plain === log.key?.text || plain.replace(/[\s:]/g, "").toLowerCase() === log.key?.fingerprint;
  const text = byId("compared");
  if (plain === "" || !log.key) return null;
  text.textContent = isKey ? "It is this key." : "It is ANOTHER key. Do not trust what this page shows.";
  text.dataset.state = isKey ? "ok" : "bad";
  return isKey;
}

/** How far entries were read, and what was wrong with them. */
export function showWalk(done, size, faults) {
  const bar = byId("progress");
  bar.max = Math.max(size, 1);
  bar.value = done;
  byId("walked").textContent = `${done.toLocaleString("en")} of ${count(size, "entry", "entries")}`;
  byId("faults").replaceChildren(
    ...faults.slice(0, SHOWN).map(({ entry, fault }) => el("li", { "data-entry": entry }, el("b", {}, `Entry ${entry}: `), fault)),
    ...(faults.length > SHOWN ? [el("li", {}, `and ${faults.length - SHOWN} more`)] : []),
  );
}

const SHOWN = 20;

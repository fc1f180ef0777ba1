// The timeline: a filter arrives, events leave, each with its own verdict. What the gateway gives is compared with the entries of
// verified bundles, word by word; and the filter is applied to those here as well, so that an event that the gateway left
// out of its answer shows.

import { count, moment, question } from "./log.js";
import { fields, kindOf, query, wants } from "./filter.js";
import { byId, el, svg } from "./dom.js";
import { describe } from "./words.js";

const WIDTH = 256;

/** The events on the page. */
export class Timeline {
  asked = {};
  rows = [];
  next = null;
  shown = 0;

  /** `verify` brings the log up to what the gateway has now. */
  constructor(log, standing, verify) {
    this.log = log;
    this.standing = standing;
    this.verify = verify;
  }

  /** Asks anew. */
  async ask(asked) {
    [this.asked, this.rows, this.next] = [asked, [], null];
    byId("events").replaceChildren();
    await this.more({});
  }

  /** Asks for what is older. */
  older() {
    return this.more({ before: this.next });
  }

  async more(place) {
    const { asked } = this;
    byId("found").textContent = "Reading \u2026";
    let answer;
    try {
      answer = await question(query(asked, place));
    } catch (error) {
      byId("found").textContent = error.message;
      return;
    }
    if (this.asked !== asked) return;
    const rows = answer.entries.map(({ index, text, bytes }) => ({ index, text: text ?? `base64 ${bytes}`, event: parse(text) }));
    this.rows.push(...rows);
    this.next = answer.next;
    this.shown = Math.max(this.shown, answer.size);
    byId("events").append(...rows.flatMap(show));
    byId("older").hidden = this.next === null;
    this.tell(answer);
    draw(byId("chart"), this.rows);
    await this.check(rows, answer, asked);
  }

  tell(answer) {
    const more = this.next === null ? "" : `; entries before ${this.next} were not looked through yet`;
    // On paper there is no form: what was asked is said.
    const asked = Object.entries(this.asked).map(([name, value]) => `${name} ${value}`).join(", ");
    byId("found").textContent = `${count(this.rows.length, "event", "events")}${asked === "" ? "" : ` with ${asked}`}${more}`;
    const missing = answer.missing.reduce((sum, [first, end]) => sum + end - first, 0);
    if (missing > 0) byId("found").textContent += `; ${count(missing, "entry is", "entries are")} not there any more`;
  }

  /** Compares an answer with the verified entries. */
  async check(rows, answer, asked) {
    const { log } = this;
    if (answer.size > (log.tree?.size ?? 0)) await this.verify();
    if (!log.tree) return;
    const wrong = [];
    for (const row of rows) {
      const entry = row.index < log.tree.size ? (await log.bundle(Math.floor(row.index / WIDTH)))[row.index % WIDTH] : null;
      const isRight = entry?.text === row.text;
      if (entry && !isRight) wrong.push(`entry ${row.index} is not what was logged`);
      mark(row.index, entry ? isRight : null, entry?.fault);
    }
    const [first, end] = answer.scanned;
    const given = new Set(rows.map(({ index }) => index));
    const lowest = Math.max(first, end - MOST_COMPARED);
    for (let index = Math.min(end, log.tree.size) - 1; index >= lowest; index -= 1) {
      const entry = (await log.bundle(Math.floor(index / WIDTH)))[index % WIDTH];
      if (entry?.text === undefined || given.has(index)) continue;
      const event = parse(entry.text);
      if (event ? wants(asked, event) : Object.keys(asked).length === 0) wrong.push(`the gateway has left out entry ${index}`);
    }
    if (this.asked !== asked) return;
    if (wrong.length > 0) this.standing.set("answers", "bad", wrong.slice(0, 5).join("; "));
    else if (this.standing.verdicts.get("answers")?.state !== "bad") {
      const compared = Math.min(end, log.tree.size) - lowest;
      this.standing.set("answers", "ok", `nothing was left out of the list: the filter was applied here to ${count(compared, "entry", "entries")} again`);
    }
  }
}

function parse(text) {
  try {
    const event = JSON.parse(text);
    return typeof event?.type === "string" ? event : null;
  } catch {
    return null;
  }
}

function show({ index, text, event }) {
  const status = event?.data?.result?.status ?? "UNKNOWN";
  const details = el("tr", { class: "details", id: `d-${index}`, hidden: true }, el("td", { colspan: "6" }));
  const open = (click) => {
    const row = click.currentTarget;
    const isOpen = row.getAttribute("aria-expanded") === "true";
    row.setAttribute("aria-expanded", String(!isOpen));
    details.hidden = isOpen;
    if (!isOpen) details.firstChild.replaceChildren(el("pre", { tabindex: "0" }, event ? JSON.stringify(event, null, 2) : text));
  };
  const button = el("button", { type: "button", class: "plain", "aria-expanded": "false", "aria-controls": `d-${index}`, on: { click: open } }, String(index));
  const { principal } = event ? fields(event) : { principal: [] };
  const who = principal.find((name) => name !== undefined) ?? "gateway";
  const reason = event?.data?.result?.reason;
  return [
    el("tr", { "data-entry": String(index), "data-kind": event ? kindOf(event) : "", "data-outcome": status },
      el("td", { class: "number" }, button),
      el("td", { class: "time" }, event ? moment(event.time).slice(0, 19) : ""),
      el("td", { class: "who" }, who),
      el("td", {}, el("span", { class: "kind" }, event ? kindOf(event) : "no event"), " ", event ? describe(event) : "an entry that is no event"),
      el("td", {}, el("span", { class: "outcome", "data-outcome": status }, status.toLowerCase()), reason && status !== "SUCCESS" ? ` ${reason}` : ""),
      el("td", { class: "checked", "data-state": "open" }, "\u2026")),
    details,
  ];
}

function mark(index, isRight, fault) {
  const cell = document.querySelector(`tr[data-entry="${index}"] .checked`);
  if (!cell) return;
  const [state, text] = isRight === null ? ["open", "later"] : isRight ? ["ok", "\u2713 in the tree"] : ["bad", `\u2717 ${fault ?? "other bytes"}`];
  cell.dataset.state = state;
  cell.textContent = text;
}

/** How many events there were over the time that is shown, those that went well and those that did not. */
function draw(place, rows) {
  const times = rows.filter(({ event }) => event).map(({ event }) => [Date.parse(event.time), event.data?.result?.status === "SUCCESS"]);
  const first = Math.min(...times.map(([time]) => time));
  const last = Math.max(...times.map(([time]) => time));
  if (times.length < 2 || !(last > first)) return place.replaceChildren();
  const columns = Array.from({ length: COLUMNS }, () => ({ good: 0, other: 0 }));
  for (const [time, isGood] of times) {
    const column = columns[Math.min(COLUMNS - 1, Math.floor(((time - first) / (last - first)) * COLUMNS))];
    column[isGood ? "good" : "other"] += 1;
  }
  const most = Math.max(...columns.map(({ good, other }) => good + other));
  const bars = columns.flatMap(({ good, other }, at) => {
    const bar = (number, above, name) => {
      const height = (number / most) * 48;
      return number > 0 && svg("rect", { class: name, x: at * 10 + 1, y: 50 - height - (above / most) * 48, width: 8, height, rx: 1 });
    };
    return [bar(good, 0, "good"), bar(other, good, "other")];
  });
  const others = times.filter(([, isGood]) => !isGood).length;
  const label = `${times.length} events from ${moment(first)} to ${moment(last)}, ${others} of them not as asked`;
  place.replaceChildren(
    svg("svg", { viewBox: `0 0 ${COLUMNS * 10} 52`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      svg("line", { x1: 0, y1: 50.5, x2: COLUMNS * 10, y2: 50.5, class: "axis" }), ...bars),
    el("p", { class: "ends" }, el("span", {}, moment(first)),
      el("span", { class: "keys" }, el("i", { class: "good" }), "as asked", el("i", { class: "other" }), "refused or failed"),
      el("span", {}, moment(last))),
  );
}

const COLUMNS = 60;
const MOST_COMPARED = 4096;

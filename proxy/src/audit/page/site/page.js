// The page: starts the verification, keeps it up to date, and ties forms to the parts that answer them.

import { AuditLog, count } from "./log.js";
import { Standing, compare, showKey, showWalk } from "./standing.js";
import { Timeline } from "./timeline.js";
import { showAccess } from "./access.js";
import { read } from "./filter.js";
import { KINDS } from "./words.js";
import { byId, el } from "./dom.js";

const log = new AuditLog();
const standing = new Standing();
const timeline = new Timeline(log, standing, verify);

/** How many of the newest entries are read without being asked. */
const AT_ONCE = 65_536;
const EVERY_MILLIS = 15_000;

let verifying = Promise.resolve();
let walking = Promise.resolve();
/** Entries from here on have been read, up to `walked`. */
let readFrom = Infinity;
let walked = 0;
let faults = [];

/** Verifies the checkpoint of now; entries that were not read yet are read in the background. */
function verify() {
  verifying = verifying.then(async () => {
    const isFirst = !log.tree;
    standing.refreshed(await log.refresh());
    showKey(log);
    const size = log.tree?.size ?? 0;
    if (size > timeline.shown && timeline.shown > 0) {
      byId("newer").textContent = `Show ${count(size - timeline.shown, "new entry", "new entries")}`;
      byId("newer").hidden = false;
    }
    if (log.tree && (isFirst || walked < size)) walk(isFirst ? Math.max(0, size - AT_ONCE) : walked);
  });
  return verifying;
}

/** Reads entries from one on to the end, and checks each. */
function walk(first) {
  walking = walking.then(async () => {
    if (standing.verdicts.get("entries")?.state !== "bad") standing.set("entries", "open", "entries are being read");
    const { size, faults: found, gone: lost } = await log.walk(first, (done, now) => {
      showWalk(done, log.tree.size, [...faults, ...now]);
    });
    readFrom = Math.min(readFrom, first);
    // The first bundle was read from its beginning.
    faults = [...faults.filter(({ entry }) => entry < first - (first % 256)), ...found];
    walked = size;
    showWalk(size - readFrom, size, faults);
    if (faults.length > 0) {
      standing.set("entries", "bad", `${count(faults.length, "entry is", "entries are")} not what was logged; the first is ${faults[0].entry}`);
      return;
    }
    const older = readFrom > 0 ? `; ${count(readFrom, "older one was", "older ones were")} not read now` : "";
    const gone = lost > 0 ? `; ${count(lost, "entry is", "entries are")} gone by signed statement` : "";
    standing.set("entries", "ok", `${count(size - readFrom, "entry was read and is", "entries were read and are")} in the tree${gone}${older}`);
  }).catch((error) => standing.set("entries", "open", error.message));
}

async function keepUp() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MILLIS));
    if (!document.hidden) await verify();
  }
}

function submit(id, run) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    run(event.currentTarget);
  });
}

submit("filter", (form) => timeline.ask(read(form)));
byId("filter").addEventListener("reset", () => setTimeout(() => timeline.ask({})));
byId("older").addEventListener("click", () => timeline.older());
byId("newer").addEventListener("click", () => {
  byId("newer").hidden = true;
  timeline.ask(read(byId("filter")));
});
submit("moment", (form) => showAccess(log, at(form)));
submit("compare", (form) => {
  const isKey = compare(log, form.elements.expected.value);
  if (isKey === null) return;
  log.confirm(isKey);
  standing.set("key", isKey ? "ok" : "bad", isKey ? "the key is the one that you compared" : "the key is not the one that you were given");
});
byId("forget").addEventListener("click", () => {
  if (!confirm("Forget the last verified checkpoint? A log that was cut short or rewritten since then will not show.")) return;
  log.forget();
  location.reload();
});
byId("whole").addEventListener("click", () => {
  if (!log.tree) return;
  unreadBefore = 0;
  log.bundles.clear();
  walk(0);
});
byId("kinds").append(...KINDS.map((kind) => el("option", { value: kind })));

function at(form) {
  const value = form.elements.at.value;
  return value === "" ? "" : `${value.length === 16 ? `${value}:00` : value}Z`;
}

await verify();
await timeline.ask({});
await showAccess(log, "");
keepUp();

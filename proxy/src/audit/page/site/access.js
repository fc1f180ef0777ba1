// The access matrix: a moment arrives, who may read and write what leaves. Each right names the entry that grants it; that the entry
// is in the tree and says so is checked here.

import { count, moment, question } from "./log.js";
import { kindOf } from "./filter.js";
import { byId, el } from "./dom.js";

/** Shows the matrix of a moment; of now when it is empty. */
export async function showAccess(log, at) {
  const place = byId("granted");
  place.textContent = "Reading \u2026";
  let answer;
  try {
    do {
      answer = await question(`access${at ? `?${new URLSearchParams({ at })}` : ""}`);
      place.textContent = `Reading \u2026 ${answer.read} of ${answer.size}`;
    } while (answer.read < answer.size);
  } catch (error) {
    place.textContent = error.message;
    return;
  }
  place.textContent = `${count(answer.rights.length, "right", "rights")} of ${count(answer.principals.length, "principal", "principals")} on ${count(answer.topics.length, "topic", "topics")}, ${moment(answer.at)}`;
  const cells = new Map();
  for (const right of answer.rights) {
    const name = JSON.stringify([right.principal, right.topic]);
    cells.set(name, [...(cells.get(name) ?? []), right]);
  }
  const marks = [];
  const cell = (principal, topic) => {
    const rights = cells.get(JSON.stringify([principal, topic])) ?? [];
    return el("td", {}, ...rights.map((right) => {
      const made = badge(right);
      marks.push([made, right]);
      return made;
    }));
  };
  byId("matrix").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Principal"), ...answer.topics.map((topic) => el("th", { scope: "col" }, topic)))),
    el("tbody", {}, ...answer.principals.map((principal) =>
      el("tr", {}, el("th", { scope: "row" }, principal), ...answer.topics.map((topic) => cell(principal, topic))))),
  );
  for (const [made, right] of marks) made.dataset.state = (await isBacked(log, right)) ? "ok" : "bad";
}

function badge({ right, by, since, until, entry, firstEpoch, lastEpoch }) {
  const text = `may ${right} since ${moment(since)}${until ? ` until ${moment(until)}` : ""}, epochs ${firstEpoch} to ${lastEpoch ?? "the last"}, by ${by}, entry ${entry}`;
  return el("b", { class: `right ${right}`, title: text, "aria-label": text, "data-entry": String(entry), tabindex: "0" }, right === "read" ? "R" : "W");
}

/** Whether the verified entry really grants the right. */
async function isBacked(log, { entry, right, principal }) {
  if (!log.tree || entry >= log.tree.size) return false;
  const found = (await log.bundle(Math.floor(entry / 256)))[entry % 256];
  try {
    const event = JSON.parse(found.text);
    const { grant, crypto } = event.data;
    return kindOf(event) === "grant.given" && grant.right === right && (crypto.client === undefined || crypto.client === principal);
  } catch {
    return false;
  }
}

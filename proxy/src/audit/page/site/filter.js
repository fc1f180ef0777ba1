// What is looked for: the form arrives, a question for the gateway leaves; and the same filter in the browser, by which the
// gateway's answer is checked for what it left out.

const TEXTS = ["principal", "topic", "kind", "outcome", "key_id"];

/** What the form asks for. Times in it are UTC. */
export function read(form) {
  const asked = {};
  const data = new FormData(form);
  for (const name of TEXTS) {
    const value = (data.get(name) ?? "").trim();
    if (value !== "") asked[name] = name === "principal" && !value.includes(":") ? `User:${value}` : value;
  }
  for (const name of ["from", "to"]) {
    const value = data.get(name) ?? "";
    if (value !== "") asked[name] = `${value.length === 16 ? `${value}:00` : value}Z`;
  }
  return asked;
}

/** The question as the gateway takes it. */
export function query(asked, more = {}) {
  return `query?${new URLSearchParams({ ...asked, ...more })}`;
}

/** Whether an event is looked for. */
export function wants(asked, event) {
  const time = Date.parse(event.time);
  if (asked.from && !(time >= Date.parse(asked.from))) return false;
  if (asked.to && !(time < Date.parse(asked.to))) return false;
  return TEXTS.every((name) => asked[name] === undefined || fields(event)[name].some((text) => fits(asked[name], text)));
}

/** What filters look at. */
export function fields(event) {
  const data = event.data ?? {};
  const named = data.resourceName?.startsWith("topic=") ? data.resourceName.slice(6) : undefined;
  return {
    principal: [data.authenticationInfo?.principal, data.crypto?.client],
    topic: [data.crypto?.topic ?? data.authorizationInfo?.resourceName ?? named],
    // `grant` is `grant.given` and `grant.revoked`.
    kind: [kindOf(event), ...kindOf(event).split(".").slice(0, -1)],
    outcome: [data.result?.status ?? "UNKNOWN", data.result?.reason],
    key_id: [data.crypto?.keyId],
  };
}

/** The kind, `grant.given`. */
export function kindOf(event) {
  return (event.type ?? "").replace(/^io\.barnabas\./, "");
}

function fits(wanted, text) {
  if (text === undefined) return false;
  return wanted.endsWith("*") ? text.startsWith(wanted.slice(0, -1)) : text === wanted;
}

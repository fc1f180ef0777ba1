// Shows openapi.json: every operation under its heading, with parameters, bodies and answers. Text is only ever set as text.
"use strict";

const element = (name, ...children) => {
  const made = document.createElement(name);
  made.append(...children);
  return made;
};

// A schema with its references resolved, as far as they do not lead back.
const resolve = (schema, schemas, seen = []) => {
  if (Array.isArray(schema)) return schema.map((one) => resolve(one, schemas, seen));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? name : resolve(schemas[name], schemas, [...seen, name]);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(value, schemas, seen)]));
};

const contents = (content, schemas) =>
  Object.entries(content || {}).map(([kind, form]) => {
    const shown = form.schema ? JSON.stringify(resolve(form.schema, schemas), null, 2) : "any bytes";
    return element("details", element("summary", element("code", kind)), element("div", element("pre", shown)));
  });

const parameters = (list) => {
  const rows = list.map((one) =>
    element("tr", element("td", element("code", one.name)), element("td", one.in + (one.required ? "" : ", optional")),
      element("td", one.description || ""), element("td", element("code", (one.schema.enum || [one.schema.type]).join(" "))))
  );
  return element("table", ...rows);
};

const example = (method, path, operation) => {
  const body = Object.keys((operation.requestBody || {}).content || {});
  const data = body.length ? ` -H 'content-type: ${body[0]}' --data-binary @-` : "";
  return `curl -X ${method.toUpperCase()} '${location.origin}${path}'${data}`;
};

const show = (path, method, operation, document_) => {
  const schemas = document_.components.schemas;
  const inside = element("div", element("pre", example(method, path, operation)));
  if (operation.parameters) inside.append(parameters(operation.parameters));
  if (operation.requestBody) inside.append(element("h4", "Body"), ...contents(operation.requestBody.content, schemas));
  for (const [status, given] of Object.entries(operation.responses)) {
    const answer = given.$ref ? document_.components.responses[given.$ref.split("/").pop()] : given;
    inside.append(element("h4", `${status}: ${answer.description}`), ...contents(answer.content, schemas));
  }
  const title = element("summary", element("b", method.toUpperCase()), " ", element("code", path), element("i", operation.summary));
  const shown = element("details", title, inside);
  shown.dataset.words = `${method} ${path} ${operation.summary} ${operation.tags}`.toLowerCase();
  return shown;
};

const main = async () => {
  const document_ = await (await fetch("openapi.json")).json();
  document.getElementById("about").textContent = document_.info.description;
  const headings = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation.responses) continue;
      const tag = operation.tags[0];
      if (!headings.has(tag)) headings.set(tag, element("section", element("h2", tag)));
      headings.get(tag).append(show(path, method, operation, document_));
    }
  }
  const operations = document.getElementById("operations");
  [...headings.keys()].sort().forEach((tag) => operations.append(headings.get(tag)));
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const shown of operations.querySelectorAll("[data-words]")) {
      shown.hidden = !words.every((word) => shown.dataset.words.includes(word));
    }
  });
};

main().catch((error) => { document.getElementById("about").textContent = `openapi.json cannot be shown: ${error}`; });

// Elements from text. Nothing that comes from the log is ever taken as markup.

/** An element with attributes and children; a child that is text stays text. */
export function el(name, attributes = {}, ...children) {
  return put(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function svg(name, attributes = {}, ...children) {
  return put(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/** The element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, run] of Object.entries(value)) element.addEventListener(event, run);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

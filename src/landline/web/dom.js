// Small helpers for a page without a framework.

import { isRoom } from "./rooms.js";
import { beginning } from "./text.js";

/** Make an element. Children are nodes or text; text is never read as HTML. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  const { data = {}, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/**
 * Make the children of `parent` those of `items`, in this order.
 *
 * A child that stays is not touched: focus, selection and what a screen reader has already read
 * stay as they are. `key(item)` names an item, `make(item)` builds its element, `fill(element,
 * item)` writes what may change.
 */
export function reconcile(parent, items, { key, make, fill }) {
  const spare = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = spare.get(name);
    spare.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    fill(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of spare.values()) child.remove();
}

/** Set text only if it differs: a live region announces every write. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Say whether a key belongs to an input method: Chinese, Japanese and Korean words are composed of
 * several keys, and Enter picks one. Safari ends the composition before it reports that Enter, and
 * some systems report no composition at all. Then the key code is 229, "processed by an input
 * method".
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

const HUES = 6;

/**
 * Show the initial of a user, or of a room, on a colour that is always the same for that name. A user
 * is a circle, a room a square.
 */
export function fillAvatar(node, name, initial = beginning(name, 1)) {
  setText(node, initial.toUpperCase());
  node.classList.toggle("room", isRoom(name));
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 65_521;
  node.dataset.hue = String(sum % HUES);
}

// What this tab remembers, and no other: two tabs may be two users.

import { ourName } from "./place.js";

const PREFIX = `${ourName("landline")}:`;

// What the storage does not take; everything, if the browser blocks the storage. It lasts as long as
// the page is open.
const memory = new Map();

/** Say whether the browser forbids the storage, so that a reload forgets everything. */
export function isBlocked() {
  try {
    sessionStorage.getItem(PREFIX);
    sessionStorage.setItem(`${PREFIX}probe`, "");
    sessionStorage.removeItem(`${PREFIX}probe`);
    return false;
  } catch (error) {
    return error.name !== "QuotaExceededError";
  }
}

export function recall(name) {
  if (memory.has(name)) return memory.get(name);
  try {
    return sessionStorage.getItem(PREFIX + name) ?? "";
  } catch {
    return "";
  }
}

export function remember(name, value) {
  memory.set(name, value);
  try {
    if (value === "") sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, value);
    memory.delete(name);
  } catch {
    // Full or blocked: the memory has it.
  }
}

export function forget(name) {
  remember(name, "");
}

/** Return the names of all that is remembered. */
export function names() {
  const found = new Set(memory.keys());
  try {
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(PREFIX)) found.add(key.slice(PREFIX.length));
    }
  } catch {
    // Blocked: the memory has them.
  }
  return [...found].filter((name) => recall(name) !== "");
}

// What this tab remembers, and no other: two tabs may be two users.

const PREFIX = "landline:";

export function recall(name) {
  return sessionStorage.getItem(PREFIX + name) ?? "";
}

export function remember(name, value) {
  try {
    if (value === "") sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, value);
  } catch {
    // Full. It is a convenience, and not worth a word to the user.
  }
}

export function forgetAll() {
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
  }
}

// User names, and names that nobody else has, by the rules of docs/protocol.md, so that the server need not refuse them.

import { UNNAMEABLE } from "./name-characters.js";

const NAME_BYTES = 64;

// The server's own table: the browser may know another Unicode.
const RANGES = UNNAMEABLE.trim()
  .split(/\s+/)
  .map((range) => range.split("-").map((code) => parseInt(code, 16)));

const encoder = new TextEncoder();

/** Return the size of `text` on the wire, in bytes of UTF-8. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/** Return a typed name in its normal form: two spellings that look the same are one user. */
export function tidyName(text) {
  return text.trim().normalize("NFC");
}

/** Return why `name` is no user name, as a sentence, or an empty string when it is one. */
export function nameProblem(name) {
  if (name === "") return "Please enter a name.";
  if (byteLength(name) > NAME_BYTES) return `A name has at most ${NAME_BYTES} bytes.`;
  if (/[:/]/.test(name)) return "A name has no “:” and no “/”.";
  if (/[\s\p{Cc}]/u.test(name)) return "A name has no spaces.";
  const strange = Array.from(name).find(isUnnameable);
  if (strange !== undefined) {
    const code = strange.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `A name has no invisible or unknown characters (U+${code} is one).`;
  }
  if (name !== name.normalize("NFC")) return "A name is in Unicode normal form C.";
  return "";
}

function isUnnameable(character) {
  const code = character.codePointAt(0);
  let [low, high] = [0, RANGES.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (RANGES[middle][0] <= code) low = middle;
    else high = middle - 1;
  }
  const [first, last = first] = RANGES[low];
  return first <= code && code <= last;
}

/** Return a name, of a message or a device, that nobody else will ever make: a random UUID. */
export function newId() {
  // `randomUUID` exists only on https and localhost, and this page may be tried on a LAN.
  if (crypto.randomUUID) return crypto.randomUUID();
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[6] = (octets[6] & 0x0f) | 0x40; // version 4, RFC 9562 section 5.4
  octets[8] = (octets[8] & 0x3f) | 0x80;
  const digits = Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

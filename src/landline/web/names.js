// User names and refs: what the server takes (docs/protocol.md), checked before it has to refuse.

const NAME_BYTES = 64;

const encoder = new TextEncoder();

/** Return the size of `text` on the wire, in bytes of UTF-8. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/** Return what was meant by a name as typed: two spellings that look alike are one user. */
export function tidyName(text) {
  return text.trim().normalize("NFC");
}

/** Return why `name` is no user name, as a sentence, or an empty string when it is one. */
export function nameProblem(name) {
  if (name === "") return "Please enter a name.";
  if (byteLength(name) > NAME_BYTES) return `A name has at most ${NAME_BYTES} bytes.`;
  if (/[\s\p{Cc}\p{Cs}]/u.test(name)) return "A name has no spaces.";
  if (/[:/]/.test(name)) return "A name has no “:” and no “/”.";
  return "";
}

/** Return a name for a message that nobody else will ever make: a random UUID. */
export function newRef() {
  // `randomUUID` exists on https and localhost only; somebody may well try this page on their LAN.
  if (crypto.randomUUID) return crypto.randomUUID();
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[6] = (octets[6] & 0x0f) | 0x40; // version 4, RFC 9562 section 5.4
  octets[8] = (octets[8] & 0x3f) | 0x80;
  const digits = Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

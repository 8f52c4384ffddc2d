// Addresses within a text. Only what is safe to open, and leads where it says, becomes a link.

// An address ends at white space, at whatever cannot be seen (bidi controls may make it read as
// another one), at quotes and brackets of other scripts, and where browsers disagree about it.
const ADDRESS =
  /(?:https?:\/\/|mailto:)[^\s\p{C}<>"`\\^{|}“”„‘’«»…。，、；：！？（）【】《》〈〉「」『』〔〕［］]+/giu;
// It may be the end of a sentence, too.
const SENTENCE_ENDS = new Set(".,;:!?'");
const CLOSING = { "(": ")", "[": "]" };

// Not within a word; but Chinese and Japanese put no space before an address.
const WORD = /^\w/;
// A host that is cut short by something invisible is another host.
const HOST_ALONE = /^https?:\/\/[^/?#]*$/i;
const GOES_ON = /^\p{Cf}+[\p{L}\p{N}]/u;
// No `?`: it could bring a text, copies, or an attachment.
const MAIL = /^mailto:[\w.+-]+@[a-z\d.-]+$/i;
const WEB = /^https?:\/\/([^/?#]*)/i;
const ASCII_HOST = /^[\x21-\x7e]+$/;
// A host with a sign that only looks like a dot or a slash is none that we lead to.
const OTHER_HOST = /^[\p{L}\p{M}\p{N}.-]+$/u;
const PORT = /:\d{0,5}$/;

const LENGTH_LIMIT = 2_048;

/** Return `text` in parts: what is text is a string, what is a link is `{ text, href }`. */
export function findLinks(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    if (found.length > LENGTH_LIMIT || WORD.test(text.charAt(index - 1))) continue;
    const after = text.slice(index + found.length, index + found.length + 8);
    if (HOST_ALONE.test(found) && GOES_ON.test(after)) continue;
    const address = withoutEnd(found);
    const href = safeAddress(address);
    if (href === null) continue;
    if (index > end) parts.push(text.slice(end, index));
    parts.push({ text: address, href });
    end = index + address.length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/**
 * Return the address without what belongs to the sentence around it.
 *
 * Brackets are counted once. A message may end two thousand of them at each of its addresses, and to
 * count again for each that is cut off would keep the page standing still.
 */
function withoutEnd(address) {
  const excess = { ")": 0, "]": 0 }; // how many more of them close than open
  for (const character of address) {
    if (character in excess) excess[character] += 1;
    else if (character in CLOSING) excess[CLOSING[character]] -= 1;
  }
  let length = address.length;
  for (; ; length -= 1) {
    const last = address.charAt(length - 1);
    if (excess[last] > 0) excess[last] -= 1;
    else if (!SENTENCE_ENDS.has(last)) return address.slice(0, length);
  }
}

/** Return the full address, or null for one that is unsafe or leads elsewhere than it looks. */
function safeAddress(address) {
  if (MAIL.test(address)) return address;
  const authority = WEB.exec(address)?.[1];
  if (authority === undefined || authority.includes("@")) return null; // https://bank.example@evil
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  const host = authority.replace(PORT, "");
  // 0x7f.1 or exa%6dple.org would be another host than the one that is read.
  const isHost = ASCII_HOST.test(host)
    ? host.toLowerCase() === url.hostname
    : OTHER_HOST.test(host) && host === host.normalize("NFKC");
  return isHost && /^https?:$/.test(url.protocol) ? url.href : null;
}

// Addresses within a text. Only what is safe to open, and leads where it says, becomes a link.

// An address ends at white space, at whatever cannot be seen (bidi controls may make it read as
// another one), at quotes and brackets of other scripts, and where browsers disagree about it.
const ADDRESS =
  /(?:https?:\/\/|mailto:)[^\s\p{C}<>"`\\^{|}“”„‘’«»…。，、；：！？（）【】《》〈〉「」『』〔〕［］]+/giu;
// It may be the end of a sentence, too.
const SENTENCE_END = /[.,;:!?']$/;
const BRACKETS = { ")": "(", "]": "[" };

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

/** Return the address without what belongs to the sentence around it. */
function withoutEnd(address) {
  for (;;) {
    const last = address.at(-1);
    const open = BRACKETS[last];
    const isStray = open !== undefined && count(address, last) > count(address, open);
    if (!isStray && !SENTENCE_END.test(address)) return address;
    address = address.slice(0, -1);
  }
}

function count(text, character) {
  return text.split(character).length - 1;
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

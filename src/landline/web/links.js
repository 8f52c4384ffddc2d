// Addresses within a text. One becomes a link only if it is safe to open and leads where it says.

// An address ends at white space, at invisible characters (bidi controls may make it read as another
// one), at quotes and brackets of other scripts, and at characters that browsers treat differently.
const ADDRESS =
  /(?:https?:\/\/|mailto:)[^\s\p{C}<>"`\\^{|}“”„‘’«»…。，、；：！？（）【】《》〈〉「」『』〔〕［］]+/giu;
// It may be the end of a sentence, too.
const SENTENCE_ENDS = new Set(".,;:!?'");
const CLOSING = { "(": ")", "[": "]" };

// Not within a word; but Chinese and Japanese put no space before an address.
const WORD = /^\w/;
// A host that is cut short by an invisible character, and goes on behind it, is another host.
const ENDS_WITH_HOST = /^(?:https?:\/\/[^/?#]*|mailto:.*)$/i;
const GOES_ON =
  /(?![\t-\r])[\p{C}\p{Default_Ignorable_Code_Point}][^\s/?#\p{L}\p{N}]*[\p{L}\p{N}]/uy;
// No `?`: it could bring a text, copies, or an attachment.
const MAIL = /^mailto:[\w.+-]+@[a-z\d.-]+$/i;
const WEB = /^https?:\/\/([^/?#]*)/i;
const ASCII_HOST = /^[\x21-\x7e]+$/;
// A host that is not ASCII may hold a letter that looks like a slash, a dot, or another letter. So
// each label is of one script, and of a script that looks like Latin the whole host. Latin letters
// without case are clicks: one of them is a bar.
const only = (...scripts) => new RegExp(`^(?:${scripts.join("|")}|[\\d.-])+$`, "u");
const script = (name) => `\\p{Script_Extensions=${name}}`;
const HOSTS = ["Cyrillic", "Greek"].map((name) => only(script(name)));
const LABELS = [
  only("(?!\\p{Lo})\\p{Script=Latin}"),
  only(...["Han", "Hiragana", "Katakana"].map(script)),
  only(...["Han", "Hangul"].map(script)),
  ...["Arabic", "Hebrew", "Thai", "Devanagari", "Bengali", "Tamil", "Telugu"].map((name) =>
    only(script(name)),
  ),
];
const PORT = /:\d{0,5}$/;

const LENGTH_LIMIT = 2_048;

/** Return `text` in parts: a string for plain text, `{ text, href }` for a link. */
export function findLinks(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    if (found.length > LENGTH_LIMIT || WORD.test(text.charAt(index - 1))) continue;
    GOES_ON.lastIndex = index + found.length;
    if (ENDS_WITH_HOST.test(found) && GOES_ON.test(text)) continue;
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
 * Return the address without the punctuation of the sentence around it.
 *
 * Brackets are counted once. Two thousand of them may stand at the end of each address, and counting
 * again for each that is cut off would freeze the page.
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
    : hasOneScript(host) && host === host.normalize("NFKC");
  return isHost && /^https?:$/.test(url.protocol) ? url.href : null;
}

function hasOneScript(host) {
  const labels = host.split(".");
  return (
    HOSTS.some((whole) => whole.test(host)) ||
    labels.every((label) => LABELS.some((one) => one.test(label)))
  );
}

// Text is cut only between visible characters: one emoji may consist of ten code points.

// Most browsers know Unicode's rules (UAX 29). For the others this is near enough: marks, flags, skin
// colours, joined emoji and Korean syllables stay whole.
const segmenter = Intl.Segmenter
  ? new Intl.Segmenter(undefined, { granularity: "grapheme" })
  : null;
const JOINED = String.raw`[\p{M}\u200c\p{Emoji_Modifier}\u{e0020}-\u{e007f}]|\u200d\p{Extended_Pictographic}?`;
const CHARACTER = new RegExp(
  String.raw`\r\n|(?:\p{Regional_Indicator}{2}` +
    String.raw`|[\u1100-\u115f]+[\u1160-\u11a7]*[\u11a8-\u11ff]*|[^])(?:${JOINED})*`,
  "gu",
);

// Nobody wants to see a "character" of a hundred stacked accents whole.
const UNITS_PER_CHARACTER = 16;

function* characters(text) {
  if (segmenter) for (const { segment } of segmenter.segment(text)) yield segment;
  else for (const [character] of text.matchAll(CHARACTER)) yield character;
}

/** Return the first `count` characters of `text`, fewer where they are unusually long. */
export function beginning(text, count) {
  let units = count * UNITS_PER_CHARACTER;
  // Not all of a long text has to be looked at.
  const looked = text.slice(0, 2 * units);
  let taken = "";
  for (const character of characters(looked)) {
    if (count === 0 || character.length > units) break;
    taken += character;
    count -= 1;
    units -= character.length;
  }
  return taken || (Array.from(looked)[0] ?? "");
}

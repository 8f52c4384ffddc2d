// Where this page is. Two prefixes of one host may belong to two servers with different users, so each
// prefix has a storage of its own.

const FOLDER = new URL(".", location.href).pathname;

/** Whether this page is a frame of another one. */
export const isEmbedded = parent !== window;

/** Return the name under which the browser keeps something of ours. */
export function ourName(name) {
  return FOLDER === "/" ? name : `${name}:${FOLDER}`;
}

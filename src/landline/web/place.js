// Where this page is. Below two prefixes of one host there may be two servers with other users: what
// the browser keeps for one is nothing for the other.

const FOLDER = new URL(".", location.href).pathname;

/** Return the name under which the browser keeps something of ours. */
export function ourName(name) {
  return FOLDER === "/" ? name : `${name}:${FOLDER}`;
}

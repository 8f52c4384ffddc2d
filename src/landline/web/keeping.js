// How safe is what this browser keeps?

/** Ask the browser never to throw our messages away by itself; say whether it agreed. */
export async function askToKeep() {
  try {
    return (await navigator.storage.persisted()) || (await navigator.storage.persist());
  } catch {
    return false; // blocked, or a plain http address, where it cannot be asked
  }
}

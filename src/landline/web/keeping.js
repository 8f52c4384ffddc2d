// Asks the browser to keep our data for good.

/** Ask the browser never to delete our messages by itself; return whether it agreed. */
export async function askToKeep() {
  try {
    return (await navigator.storage.persisted()) || (await navigator.storage.persist());
  } catch {
    return false; // blocked, or a plain http address, where it cannot be asked
  }
}

// The database of the browser, as promises.

import { ourName } from "./place.js";

const DATABASE = ourName("landline");
const VERSION = 1;
// Some browsers never finish opening a database.
const OPEN_WITHIN_MS = 20_000;

/** The browser lets this page store nothing. `cause` is its error. */
export class StorageBlocked extends Error {
  constructor(cause) {
    super("the browser lets this page store nothing", { cause });
  }
}

/** Open the database; `forget` is called when it has to be opened again, or could not be. */
export async function openDatabase(forget) {
  await null; // so the caller has this promise before it is forgotten
  try {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => createStores(request.result);
    const database = await within(OPEN_WITHIN_MS, done(request));
    database.onclose = forget; // the user has cleared the site's data
    database.onversionchange = () => {
      database.close(); // a newer page needs another layout
      forget();
    };
    return database;
  } catch (error) {
    forget();
    throw error.name === "QuotaExceededError" ? error : new StorageBlocked(error);
  }
}

function createStores(database) {
  const messages = database.createObjectStore("messages", { keyPath: ["user", "id"] });
  messages.createIndex("order", ["user", "partner", "offset"]);
  messages.createIndex("arrival", ["user", "kept"]);
  const outbox = database.createObjectStore("outbox", { keyPath: "seq", autoIncrement: true });
  outbox.createIndex("user", "user");
  outbox.createIndex("ref", ["user", "ref"], { unique: true });
  database.createObjectStore("conversations", { keyPath: ["user", "partner"] });
}

/** Run `body` in one transaction: on disk when this resolves, not done at all when it rejects. */
export async function transact(database, names, mode, body) {
  // "strict": without it browsers report success when the operating system has the bytes, and a
  // power cut could take a message that was acknowledged.
  const tx = database.transaction(names, mode, { durability: "strict" });
  const committed = new Promise((resolve, reject) => {
    tx.oncomplete = () => resolve();
    tx.onabort = () => reject(tx.error ?? new DOMException("given up", "AbortError"));
  });
  try {
    const result = await body(tx);
    await committed;
    return result;
  } catch (error) {
    try {
      tx.abort();
    } catch {
      // It ended by itself, and that is the error.
    }
    await committed.catch(() => {});
    throw error;
  }
}

/** Return the range of keys that begin with `prefix`; an array sorts after all other keys. */
export function span(prefix, last = []) {
  return IDBKeyRange.bound(prefix, [...prefix, last]);
}

export function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function within(milliseconds, promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("it does not answer")), milliseconds);
  });
  return Promise.race([promise, late]);
}

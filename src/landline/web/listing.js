// Brings the list of conversations from the server into the store: what there is, how much of it is
// unread, and which rooms have ended for this user.

import { conversationOf, isRoom } from "./rooms.js";

const PAGE = 100;
// As many as the store keeps.
const LISTED_LIMIT = 500;
// Read marks come together.
const SOON_MS = 300;

export class Listing {
  #ask;
  #store;
  #onChange;
  #timer = null;
  #isRunning = false;
  #runAgain = false;

  /** `ask(frame)` asks the server: see requests.js; `onChange()`: the store has something new. */
  constructor(ask, store, onChange) {
    this.#ask = ask;
    this.#store = store;
    this.#onChange = onChange;
  }

  /** Ask again, once for all that call this. */
  soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.run();
    }, SOON_MS);
  }

  async run() {
    this.#runAgain = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#runAgain) {
        this.#runAgain = false;
        await this.#list();
      }
    } catch {
      // A server of an earlier version has no list, or the storage fails. Then the page goes on with
      // what it has, and asks again in the next session.
    } finally {
      this.#isRunning = false;
    }
  }

  async #list() {
    const before = (await this.#store.conversations()).filter(
      ({ partner, ended }) => isRoom(partner) && !ended,
    );
    const found = new Set();
    let after;
    do {
      const asked = { type: "list", limit: PAGE, ...(after !== undefined && { after }) };
      const { items, next } = await this.#ask(asked);
      await this.#store.list(items);
      this.#onChange();
      for (const { conversation } of items) found.add(conversation);
      after = next;
    } while (after !== undefined && found.size < LISTED_LIMIT);
    if (after !== undefined) return;
    // Whoever was removed while away is not told of it: the room is just not there any more.
    for (const { partner } of before) {
      if (!found.has(partner)) await this.#endIfGone(partner);
    }
  }

  async #endIfGone(room) {
    try {
      await this.#ask({ type: "members", conversation: conversationOf("", room) });
    } catch (error) {
      if (error.code !== "no_such_conversation") throw error;
      await this.#store.end(room);
      this.#onChange();
    }
  }
}

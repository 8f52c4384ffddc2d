// One conversation, as far as it is known: what the store keeps, and between and before that what the
// server has, page by page from the end. Pages are in memory as long as the conversation is open; the
// store keeps what this browser was owed.

import { Refused } from "./requests.js";
import { conversationOf, isRoom, messageOf } from "./rooms.js";

// As many as a page may have, and as a question about delivery may (docs/protocol.md).
const PAGE = 100;
const DELIVERY_IDS = 50;

export class History {
  #ask;
  #isOnline;
  #store;
  #user;
  #conversation;
  #messages = new Map(); // those of pages, by id
  #from = Infinity; // everything from here to `#to` is in the pages
  #to = -Infinity;
  #isComplete = false;
  #delivered = new Set();
  #loading = null;

  /** `ask(frame)` asks the server: see requests.js. `isOnline()`: it can be asked now. */
  constructor(ask, isOnline, store, user, partner) {
    this.#ask = ask;
    this.#isOnline = isOnline;
    this.#store = store;
    this.#user = user;
    this.partner = partner;
    this.#conversation = conversationOf(user, partner);
  }

  /** Return up to which offset everything is here that the user may see; -Infinity if nobody knows. */
  get completeTo() {
    return this.#to;
  }

  // What is known --------------------------------------------------------------------------

  /**
   * Return the offset after which the last `count` messages begin, or some more of them, not counting
   * those after `upTo`; -Infinity when there are not more than that.
   */
  async edge(count, upTo = Infinity) {
    const stored = await this.#store.edge(this.partner, count, upTo === Infinity ? [] : upTo);
    const paged = this.#paged(-Infinity).filter(({ offset }) => offset <= upTo);
    const edge = Math.max(stored, paged.at(-count - 1)?.offset ?? -Infinity);
    // Before the pages some may be missing between those that the store has.
    return this.#isOnline() && this.hasGaps(edge) ? this.#from - 1 : edge;
  }

  /** Return the messages after this offset in order, and the unsent ones. */
  async after(offset) {
    const { messages: stored, entries } = await this.#store.page(this.partner, offset);
    const ids = new Set(stored.map(({ id }) => id));
    const messages = [...stored, ...this.#paged(offset).filter(({ id }) => !ids.has(id))];
    for (const message of messages) message.delivered ||= this.#delivered.has(message.id);
    return { messages: messages.sort(byOffset), entries };
  }

  /** Say whether messages after this offset may be missing here. */
  hasGaps(offset) {
    return this.hasMore(offset + 1);
  }

  /** Say whether the server may have messages before this offset that are not here. */
  hasMore(offset) {
    return this.#from !== Infinity && !this.#isComplete && offset < this.#from;
  }

  // What the server has --------------------------------------------------------------------

  /** Get the last page, for the first time or again. */
  async renew() {
    await this.#orNot(async () => {
      const page = await this.#page({});
      if (page.from > this.#to) {
        // More has come meanwhile than a page has: what lies between is not known.
        this.#messages.clear();
        this.#from = page.from;
        this.#isComplete = page.complete;
      }
      this.#to = Math.max(this.#to, page.to);
      this.#add(page);
      if (page.messages.length > 0) await this.#store.noteLast(messageOf(page.messages.at(-1), this.#user));
      await this.#askDelivery(page.from);
    });
  }

  /** Get the page before those that are here, if the server can be asked. */
  async loadEarlier() {
    if (!this.#isOnline()) return;
    this.#loading ??= this.#orNot(() => this.#loadEarlier());
    await this.#loading;
    this.#loading = null;
  }

  async #loadEarlier() {
    const before = this.#from;
    const page = await this.#page({ before });
    if (this.#from !== before) return; // the last page was another one meanwhile
    this.#from = page.from;
    this.#isComplete = page.complete;
    this.#add(page);
    await this.#askDelivery(page.from);
  }

  /**
   * Find out what was delivered: that is told only once, to whoever is there. In rooms it says more
   * who has seen a message.
   */
  async #askDelivery(from) {
    if (isRoom(this.partner)) return;
    const { messages } = await this.after(from - 1);
    const ids = messages
      .filter(({ sender, delivered }) => sender === this.#user && !delivered)
      .map(({ id }) => id);
    for (let at = 0; at < ids.length; at += DELIVERY_IDS) {
      const asked = ids.slice(at, at + DELIVERY_IDS);
      const { items } = await this.#ask({ type: "delivery", ids: asked });
      for (const { id, status } of items) if (status === "DELIVERED") this.#delivered.add(id);
    }
  }

  async #orNot(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // A server of an earlier version has no history, and with a new partner there is none yet.
      if (error.code === "no_such_conversation" && isRoom(this.partner)) {
        await this.#store.end(this.partner);
      }
    }
  }

  #page(bound) {
    return this.#ask({ type: "history", conversation: this.#conversation, limit: PAGE, ...bound });
  }

  #add({ messages }) {
    for (const frame of messages) {
      const message = messageOf(frame, this.#user);
      if (message !== null) this.#messages.set(message.id, message);
    }
  }

  #paged(after) {
    return [...this.#messages.values()].filter(({ offset }) => offset > after).sort(byOffset);
  }
}

function byOffset(one, other) {
  return one.offset - other.offset;
}

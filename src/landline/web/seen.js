// How far people have seen conversations, as far as this page has heard. It is never kept: the server has it.

export class Seen {
  #seen = new Map(); // conversation -> user -> offset

  /** `entries` are pairs of user and offset. */
  note(conversation, entries) {
    const known = this.#seen.get(conversation) ?? new Map();
    for (const [user, offset] of entries) known.set(user, Math.max(offset, known.get(user) ?? 0));
    this.#seen.set(conversation, known);
  }

  /** Return how far everybody but `me` has seen a conversation, as pairs of user and offset. */
  others(conversation, me) {
    return [...(this.#seen.get(conversation) ?? [])].filter(([user]) => user !== me);
  }
}

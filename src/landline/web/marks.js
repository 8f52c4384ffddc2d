// Read marks on their way to the server. It sends each one back as soon as it is in the log; until then
// it is repeated. The store keeps those that were not sent back, for the next page.

// The server writes the marks of a conversation down every 2 s at most.
const AGAIN_FIRST_MS = 5_000;
const AGAIN_CAP_MS = 60_000;

export class Marks {
  #send;
  #due = new Map(); // conversation -> { offset, at, tries }: when it goes out next
  #isUnderstood = true;

  /** `send(frame)` says whether there was a session to take it. */
  constructor(send) {
    this.#send = send;
  }

  /** The user has seen this conversation up to `offset`. */
  add(conversation, offset) {
    if (!(this.#due.get(conversation)?.offset >= offset)) {
      this.#due.set(conversation, { offset, at: 0, tries: 0 });
    }
    this.tick();
  }

  /** There is a new session. `marks` are what the store knows of: pairs of conversation and offset. */
  opened(marks) {
    this.#isUnderstood = true;
    this.#due.clear();
    for (const [conversation, offset] of marks) this.add(conversation, offset);
  }

  /** A mark is in the log. */
  wasRead(conversation, offset) {
    if (this.#due.get(conversation)?.offset <= offset) this.#due.delete(conversation);
  }

  /** A server of an earlier version does not know what a mark is. */
  notUnderstood() {
    this.#isUnderstood = false;
  }

  forget() {
    this.#due.clear();
  }

  /** Send what is due. */
  tick() {
    if (!this.#isUnderstood) return;
    const now = performance.now();
    for (const [conversation, mark] of this.#due) {
      if (mark.at > now) continue;
      if (!this.#send({ type: "read", conversation, offset: mark.offset })) return;
      mark.at = now + Math.min(AGAIN_CAP_MS, AGAIN_FIRST_MS * 2 ** mark.tries++);
    }
  }
}

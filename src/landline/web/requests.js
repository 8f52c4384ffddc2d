// Questions to the server, and requests for rooms, until they are answered. They are in memory alone and
// go out again in each session: a question changes nothing, and a request has a `ref`.

import { newId } from "./names.js";

// The server answers one of a session at a time, and lets 16 more wait.
const AT_ONCE = 8;

const ANSWERS = new Set(["conversations", "page", "member_list", "deliveries"]);
const TRY_AGAIN_CODES = new Set(["busy", "too_fast", "unavailable"]);
const AGAIN_FIRST_MS = 500;
const AGAIN_CAP_MS = 10_000;

/** The server refuses this for good; `code` is the protocol's. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

export class Requests {
  #send;
  #open = new Map(); // `ref` or `request` -> what waits for its answer, in the order of the calls

  /** `send(frame)` says whether there was a session to take it. */
  constructor(send) {
    this.#send = send;
  }

  /** Ask; resolves with the answer. Rejects with Refused. */
  ask(frame) {
    const request = newId();
    return this.#add(request, { ...frame, request }, false);
  }

  /** Ask for a change of the log; resolves with `accepted`. Rejects with Refused. */
  change(frame) {
    const ref = newId();
    return this.#add(ref, { ...frame, ref }, true);
  }

  /** There is a new session: everything without an answer goes out in it. */
  opened() {
    for (const each of this.#open.values()) {
      clearTimeout(each.timer);
      each.sentAt = each.timer = null;
    }
    this.#pump();
  }

  /** Take a frame; say whether it was an answer. */
  received(frame) {
    const { type, code, ref, request } = frame;
    if (type === "error" && code === "unknown_type") return this.#notUnderstood(frame);
    const name = request ?? ref;
    const waiting = this.#open.get(name);
    // The answer to a question that nobody asks any more is of no use either.
    if (!waiting) return ANSWERS.has(type) || request !== undefined;
    if (type === "error" && isForNow(frame)) {
      this.#again(waiting, frame.retry_after_ms);
    } else {
      this.#open.delete(name);
      if (type === "error") waiting.reject(new Refused(frame));
      else waiting.resolve(frame);
    }
    this.#pump();
    return true;
  }

  /** Say whether a change has had no answer for so long that something is broken. */
  isOverdue(milliseconds) {
    const since = performance.now() - milliseconds;
    const isLate = ({ isChange, sentAt }) => isChange && sentAt !== null && sentAt < since;
    return [...this.#open.values()].some(isLate);
  }

  /** Another user's session has begun: these are not asked in it. */
  forget() {
    const all = [...this.#open.values()];
    this.#open.clear();
    for (const { timer, reject } of all) {
      clearTimeout(timer);
      reject(new Refused({ message: "this is the session of another user now" }));
    }
  }

  #add(name, frame, isChange) {
    return new Promise((resolve, reject) => {
      const more = { sentAt: null, timer: null, refusals: 0 };
      this.#open.set(name, { frame, isChange, resolve, reject, ...more });
      this.#pump();
    });
  }

  #pump() {
    let room = AT_ONCE;
    for (const each of this.#open.values()) {
      if (room === 0) return;
      if (each.timer !== null) continue;
      if (each.sentAt === null) {
        if (!this.#send(each.frame)) return;
        each.sentAt = performance.now();
        // If there is a next try, this one had no answer.
        if (each.isChange) each.frame.retry = true;
      }
      room -= 1;
    }
  }

  #again(waiting, askedMs) {
    const ceiling = Math.min(AGAIN_CAP_MS, AGAIN_FIRST_MS * 2 ** waiting.refusals++);
    const waitMs = askedMs ?? ceiling * (0.5 + Math.random() / 2);
    waiting.sentAt = null;
    waiting.timer = setTimeout(() => {
      waiting.timer = null;
      this.#pump();
    }, waitMs);
  }

  /** A server of an earlier version knows no such frames, and does not say which one it was. */
  #notUnderstood(frame) {
    for (const [name, { sentAt, reject }] of this.#open) {
      if (sentAt === null) continue;
      this.#open.delete(name);
      reject(new Refused(frame));
    }
    return true;
  }
}

function isForNow({ code, outcome }) {
  return outcome === "unknown" || TRY_AGAIN_CODES.has(code);
}

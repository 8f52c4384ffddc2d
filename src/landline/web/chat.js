// One user's chat. Messages from the server are stored, then acknowledged. Messages of the user are
// stored, then sent, and repeated until the server answers. The screen shows what is stored.

import { Connection } from "./connection.js";
import { StorageBlocked } from "./database.js";
import { History } from "./history.js";
import { Listing } from "./listing.js";
import { Marks } from "./marks.js";
import { byteLength, newId } from "./names.js";
import { Pause } from "./pause.js";
import { ourName } from "./place.js";
import { Requests } from "./requests.js";
import { RoomRequests } from "./room-requests.js";
import { conversationOf, isOwed, isRoom } from "./rooms.js";
import { Seen } from "./seen.js";
import { Store } from "./store.js";

// A connection without answers: something between page and server is broken.
const ANSWER_WITHIN_MS = 15_000;
const TICK_MS = 1_000;
// How often to look for unsent messages that a closed tab left behind.
const ADOPT_EVERY_MS = 15_000;

// Nobody can read of a shorter pause.
const PAUSE_SHOWN_MS = 750;

// The disk is full, and only the user can make room.
const STORE_AGAIN_MS = 5_000;

// As many ids as one ack frame may have (docs/protocol.md).
const BATCH = 256;
// The server sends a window of messages and waits, so more pile up only while the storage hangs.
const FRAMES_LIMIT = 5_000;
// Delivery reports that came before the answer to the send itself.
const EARLY_LIMIT = 1_000;

// Used until `welcome` has the server's own.
const LIMITS = { content_bytes: 16 * 1024, frame_bytes: 64 * 1024 };

const TRY_AGAIN_CODES = new Set(["busy", "too_fast"]);

// A repeat whose first try may be in the log is refused with "unknown" so often before it is given up.
const REFUSED_TIMES = 3;
const MAYBE_SENT = "An earlier try may have been sent.";

const TOO_LONG = "This message is too long for the server.";
const REFUSALS = {
  bad_recipient: "The server does not take this name as a recipient.",
  content_empty: "The server does not take an empty message.",
  content_too_large: TOO_LONG,
  no_such_conversation: "There is no such conversation, or you are not in it any more.",
};

export class Chat {
  #user;
  #listener;
  #store;
  #connection;
  #limits = LIMITS;

  // Frames that were received and are not handled yet. They are handled one after the other.
  #frames = [];
  #isWorking = false;

  // ref -> when it was sent in this session; Infinity once it is answered and being stored.
  #inFlight = new Map();
  // ref -> how often a repeat was refused, and an earlier try may be in the log.
  #doubts = new Map();
  #isPumping = false;
  #pumpAgain = false;
  // "Busy" and "unknown" concern the server, not one message: all sends wait a moment.
  #pause = new Pause(() => this.#resume());
  #isPauseShown = false;
  #lookedAt = 0;

  #early = new Map(); // message id -> time of delivery
  #requests = new Requests((frame) => this.#connection.send(frame));
  #marks = new Marks((frame) => this.#connection.send(frame));
  #listing;
  #seen = new Seen();
  #history = null; // of the open conversation

  /** What the user can do with rooms: see room-requests.js. */
  rooms = new RoomRequests(this.#requests, (event) => this.#keepOwn(event));
  #otherTabs = null;

  #addressOf;
  #device = null;
  // Refs of messages that were written before the first `welcome`; null after it.
  #refsBefore = [];

  /**
   * `user` is empty as long as nobody but the server can say who it is. `addressOf(user, device)` is
   * where to connect. The server decides who the user really is. `signIn`: see sign-in.js.
   *
   * `listener` has `changed()`: what is stored is no longer what the screen shows. It has
   * `userChanged({ before, isFirst })`: the server knows this user by another name. `isFirst` says
   * that this is the first session of the page. It has `connectionChanged({ phase, text })`,
   * `signInEnded(wasOpen)` as of `Connection`, and `trouble(sentence)`, which is empty when the
   * trouble is over.
   */
  constructor(user, addressOf, signIn, listener) {
    this.#addressOf = addressOf;
    this.#listener = listener;
    this.#be(user);
    this.#connection = new Connection(signIn, {
      opened: (welcome) => this.#opened(welcome),
      received: (frame) => this.#received(frame),
      changed: (state) => listener.connectionChanged(state),
      signInEnded: (wasOpen) => listener.signInEnded(wasOpen),
    });
  }

  get user() {
    return this.#user;
  }

  /** Connect as soon as this browser can keep messages. Resolves then. */
  start() {
    setInterval(() => this.#tick(), TICK_MS);
    return this.#connect();
  }

  connectNow() {
    this.#connection.connect();
  }

  // What the user does ---------------------------------------------------------------------

  /** Keep a message, and send it when possible. Rejects when it could not be kept. */
  async send(to, content) {
    const ref = newId();
    this.#refsBefore?.push(ref);
    await this.#store.enqueue({ ref, to, content });
    this.#changed();
    this.#pump();
  }

  /** Return by how many bytes `content` is too long, 0 when it is not. */
  excessBytes(content) {
    return Math.max(0, byteLength(content) - this.#limits.content_bytes);
  }

  /** Try a rejected message again. */
  async resend(ref) {
    await this.#store.mark(ref, null);
    this.#changed();
    this.#pump();
  }

  /** Forget a rejected message. */
  async discard(ref) {
    await this.#store.discard(ref);
    this.#changed();
  }

  async open(partner) {
    await this.#store.open(partner);
    this.#changed();
  }

  /** The user has seen this conversation up to `offset`. */
  async markRead(partner, offset) {
    await this.#store.markRead(partner, offset);
    this.#marks.add(conversationOf(this.#user, partner), offset);
    this.#changed();
  }

  /** Have the screen drawn again. */
  refresh() {
    this.#listener.changed();
  }

  conversations() {
    return this.#store.conversations();
  }

  /** Return what there is of a conversation. From now on this one is kept up to date. */
  historyOf(partner) {
    if (this.#history?.partner !== partner) {
      const ask = (frame) => this.#requests.ask(frame);
      const isOnline = () => this.#connection.isOpen;
      this.#history = new History(ask, isOnline, this.#store, this.#user, partner);
      if (this.#connection.isOpen) this.#renew(this.#history);
    }
    return this.#history;
  }

  /** Return how far the others have seen a conversation, as pairs of user and offset. */
  seenBy(partner) {
    return this.#seen.others(conversationOf(this.#user, partner), this.#user);
  }

  /** Return who is in a conversation. Rejects with Refused (requests.js). */
  async members(partner) {
    const conversation = conversationOf(this.#user, partner);
    const { items } = await this.#requests.ask({ type: "members", conversation });
    this.#seen.note(conversation, items.map(({ user, read_offset: offset }) => [user, offset]));
    return items;
  }

  // What the server says -------------------------------------------------------------------

  #opened(welcome) {
    if (typeof welcome.user === "string" && welcome.user !== this.#user) this.#become(welcome.user);
    this.#refsBefore = null;
    this.#limits = { ...LIMITS, ...welcome.limits };
    // Messages come again, answers will be asked for again; a delivery is told only once.
    this.#frames = this.#frames.filter(({ type }) => type === "status");
    this.#inFlight.clear();
    this.#pause.end();
    this.#isPauseShown = false;
    this.#requests.opened();
    this.#tryTo(async () => this.#marks.opened(await this.#store.marks()));
    this.#listing.run();
    if (this.#history) this.#renew(this.#history);
    this.#pump();
  }

  #received(frame) {
    if (frame.code === "unknown_type") this.#marks.notUnderstood();
    if (this.#requests.received(frame)) return;
    if (frame.type === "read") return this.#wasRead(frame);
    if (this.#inFlight.has(frame.ref)) this.#inFlight.set(frame.ref, Infinity);
    this.#frames.push(frame);
    if (this.#frames.length > FRAMES_LIMIT) {
      this.#frames.length = 0;
      this.#connection.drop("the page cannot keep up");
    }
    this.#work();
  }

  async #work() {
    if (this.#isWorking) return;
    this.#isWorking = true;
    while (this.#frames.length > 0) {
      const batch = this.#takeBatch();
      const store = this.#store;
      // Not stored means not acknowledged and not answered; it stays here until there is room.
      while (store === this.#store && !(await this.#tryTo(() => this.#handle(batch)))) {
        await sleep(STORE_AGAIN_MS);
      }
    }
    this.#isWorking = false;
  }

  /** Messages and events that follow each other are stored, and acknowledged, together. */
  #takeBatch() {
    const end = this.#frames.findIndex((frame) => !isOwed(frame));
    const length = end === -1 ? this.#frames.length : end;
    return this.#frames.splice(0, Math.max(1, Math.min(length, BATCH)));
  }

  async #handle(batch) {
    const [frame] = batch;
    if (isOwed(frame)) await this.#keep(batch);
    else if (frame.type === "accepted") await this.#settle(frame);
    else if (frame.type === "status") await this.#noteDelivery(frame);
    else if (frame.type === "error") await this.#refused(frame);
  }

  async #keep(messages) {
    const store = this.#store;
    await store.keep(messages, this.#early);
    for (const { id } of messages) this.#early.delete(id);
    if (store !== this.#store) return; // the session belongs to another user by now
    // A message that comes again is acknowledged again: the first acknowledgement was lost.
    this.#connection.send({ type: "ack", ids: messages.map(({ id }) => id) });
    this.#changed();
  }

  async #settle(frame) {
    await this.#store.settle(frame, this.#early.get(frame.id));
    this.#early.delete(frame.id);
    this.#doubts.delete(frame.ref);
    this.#inFlight.delete(frame.ref);
    this.#pause.relax();
    this.#changed();
    this.#pump();
  }

  async #wasRead({ conversation, entries }) {
    this.#seen.note(conversation, entries);
    this.#listener.changed();
    const [, offset] = entries.find(([user]) => user === this.#user) ?? [];
    if (offset === undefined) return;
    this.#marks.wasRead(conversation, offset);
    await this.#tryTo(async () => {
      if (await this.#store.wasRead(conversation, offset)) this.#listing.soon();
    });
    this.#changed();
  }

  async #noteDelivery({ ids, time }) {
    for (const id of await this.#store.delivered(ids, time)) this.#early.set(id, time);
    for (const id of this.#early.keys()) {
      if (this.#early.size <= EARLY_LIMIT) break;
      this.#early.delete(id);
    }
    this.#changed();
  }

  async #refused({ ref, code, outcome, message, retry_after_ms: askedMs }) {
    if (ref === undefined) return; // not about a send, or about one without a readable ref, which times out
    const isRejected = outcome === "rejected" && !TRY_AGAIN_CODES.has(code);
    if (isRejected || this.#isHopeless(ref, outcome, code)) {
      const refusal = REFUSALS[code] ?? `The server refused this message: ${message}`;
      const sentence = isRejected ? refusal : `${refusal} ${MAYBE_SENT}`;
      const to = await this.#store.mark(ref, sentence);
      if (code === "no_such_conversation" && isRoom(to ?? "")) await this.#store.end(to);
      this.#changed();
    } else if (code === "too_fast" && Number.isFinite(askedMs)) {
      this.#slowDown(askedMs);
    } else {
      this.#pause.backOff();
    }
    this.#inFlight.delete(ref);
    this.#pump();
  }

  /** Whether a repeat that says "unknown" is refused for the same reason again and again. */
  #isHopeless(ref, outcome, code) {
    if (outcome !== "unknown" || TRY_AGAIN_CODES.has(code) || code === "unavailable") return false;
    const times = (this.#doubts.get(ref) ?? 0) + 1;
    this.#doubts.set(ref, times);
    if (times < REFUSED_TIMES) return false;
    this.#doubts.delete(ref);
    return true;
  }

  /** Get what the server has of the open conversation. */
  async #renew(history) {
    await this.#tryTo(async () => {
      await history.renew();
      await this.members(history.partner).catch(() => {}); // there is none yet, or no longer
    });
    this.#changed();
  }

  async #keepOwn(event) {
    await this.#store.keep([{ ...event, sender: this.#user }], this.#early);
    this.#changed();
  }

  // The way out ----------------------------------------------------------------------------

  /** Send what is due. Call it when something may have become due; too often does no harm. */
  async #pump() {
    this.#pumpAgain = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#pumpAgain && this.#connection.isOpen && !this.#pause.isOn) {
      this.#pumpAgain = false;
      await this.#tryTo(() => this.#sendHeads());
    }
    this.#isPumping = false;
  }

  async #sendHeads() {
    const store = this.#store;
    for (const { ref, to, content, tried } of await store.claim(this.#inFlight)) {
      if (store !== this.#store) return; // the session belongs to another user by now
      const where = isRoom(to) ? { conversation: to } : { to };
      const frame = { type: "send", ...where, content, ref, ...(tried && { retry: true }) };
      // The server has to close on a frame that is too large: it cannot read the ref in it.
      if (byteLength(JSON.stringify(frame)) > this.#limits.frame_bytes) {
        await this.#store.mark(ref, TOO_LONG);
        this.#changed();
        this.#pumpAgain = true;
      } else if (this.#connection.send(frame)) {
        this.#inFlight.set(ref, performance.now());
      }
    }
  }

  #slowDown(askedMs) {
    const waitMs = this.#pause.obey(askedMs);
    if (waitMs < PAUSE_SHOWN_MS) return;
    this.#isPauseShown = true;
    const text = `Too fast for the server, sending again in ${Math.ceil(waitMs / 1000)} s`;
    this.#listener.connectionChanged({ phase: "slow", text });
  }

  #resume() {
    if (this.#isPauseShown && this.#connection.isOpen && !this.#pause.isOn) {
      this.#isPauseShown = false;
      this.#listener.connectionChanged({ phase: "online", text: "Connected" });
    }
    this.#pump();
  }

  #tick() {
    const now = performance.now();
    const isLate = [...this.#inFlight.values()].some((sentAt) => now - sentAt > ANSWER_WITHIN_MS);
    if (isLate || this.#requests.isOverdue(ANSWER_WITHIN_MS)) {
      this.#connection.drop("no answer");
      this.#inFlight.clear();
      return;
    }
    this.#marks.tick();
    if (now - this.#lookedAt > ADOPT_EVERY_MS) {
      this.#lookedAt = now;
      this.#pump();
    }
  }

  // Who this is ----------------------------------------------------------------------------

  #be(user) {
    this.#user = user;
    this.#store = new Store(user);
    const ask = (frame) => this.#requests.ask(frame);
    this.#listing = new Listing(ask, this.#store, () => this.#changed());
    this.#otherTabs?.close();
    this.#otherTabs = channelOf(user);
    if (this.#otherTabs) this.#otherTabs.onmessage = () => this.#listener.changed();
  }

  /** Take the user's name from the server. Data of another name stays with that name. */
  #become(user) {
    const [before, refs, isFirst] = [this.#user, this.#refsBefore ?? [], this.#refsBefore !== null];
    this.#be(user);
    this.#frames = [];
    this.#inFlight.clear();
    this.#early.clear();
    this.#requests.forget();
    this.#marks.forget();
    this.#seen = new Seen();
    this.#history = null;
    this.#connection.url = this.#addressOf(user, this.#device);
    this.#listener.userChanged({ before, isFirst });
    this.#tryTo(() => this.#store.adopt(before, refs)).then(() => {
      this.#changed();
      this.#pump();
    });
  }

  // Inside ---------------------------------------------------------------------------------

  /**
   * Connect once there is a storage: without one no message could be acknowledged, and the next page
   * here would be another device.
   */
  async #connect() {
    while (!(await this.#tryTo(async () => (this.#device = await this.#store.device())))) {
      this.#listener.connectionChanged({ phase: "", text: "Not connected" });
      await sleep(STORE_AGAIN_MS);
    }
    this.#connection.url = this.#addressOf(this.#user, this.#device);
    this.#listener.changed();
    this.#connection.start();
  }

  /** Run something that needs the storage; say whether it worked, and tell the user if not. */
  async #tryTo(action) {
    try {
      await action();
      this.#listener.trouble("");
      return true;
    } catch (error) {
      this.#listener.trouble(storageTrouble(error));
      return false;
    }
  }

  #changed() {
    this.#otherTabs?.postMessage(null);
    this.#listener.changed();
  }
}

/** Return a plain sentence for an error of the browser's storage. */
export function storageTrouble(error) {
  if (error.name === "QuotaExceededError") {
    return "This browser's storage is full. Messages stay on the server until there is room again.";
  }
  if (error instanceof StorageBlocked) {
    return "This browser does not let this page store anything, so it can neither receive nor send " +
      "messages. Please allow cookies and site data for this address, or leave the private window. " +
      "Nothing is lost meanwhile: messages wait on the server.";
  }
  return `This browser cannot store messages at the moment (${error.message}). ` +
    "They stay on the server until it can.";
}

/** Tell other tabs of this user that what is stored has changed. */
export function tellOtherTabs(user) {
  const channel = channelOf(user);
  channel?.postMessage(null);
  channel?.close();
}

/** Return the channel between the tabs of this user, or null if the browser has none. */
function channelOf(user) {
  try {
    return new BroadcastChannel(`${ourName("landline")}:${user}`);
  } catch {
    return null;
  }
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// What this browser keeps for one user: messages, and an outbox of sends without an answer.
//
// IndexedDB, not localStorage: its transactions are shared by all tabs, so that two of them never
// overwrite each other's work; it says when something is on disk; and it has room. Both kinds live
// in one database because a message moves from the outbox to the messages in one transaction:
// a crash at any moment leaves it in exactly one of the two.
//
//   messages       [user, id] -> { user, id, partner, sender, content, time, offset, kept,
//                                  ref?, delivered?, event? }   `kept` is `time` as a number
//   outbox         seq -> { seq, user, ref, to, content, written, tried, failed }
//   conversations  [user, partner] -> { user, partner, at, active, unread, last, title?, titled?,
//                                       listed?, read?, marked?, ended?, changed? }
//   messages       DEVICE_KEY -> { user, id, device }   which device this browser is
//
// The partner is the other user, or a room: no user has a name with a colon. `event` is what an event of
// a room says, in place of a content. `titled` is the offset up to which the title of the room is known.
//
// `unread` is what the server counted up to the offset `listed`, and what has come since. `read` is the
// offset up to which the user has seen the conversation, by the word of the server, and `marked` the one
// that the server has still to be told. `ended`: the user is not in the room any more, as was decided by
// the event at `changed`.
//
// The browser's clock may be wrong by days, and may be corrected at any time. So nothing is ordered or
// dropped by it: `kept` and `at` are times of the server's log. An action of the user counts as just
// after everything that is known of the log. (Earlier builds ordered by `active`; it is still written
// for pages that do.)

import {
  at,
  byRank,
  lastWords,
  listedAs,
  logTime,
  newMembership,
  newTitle,
  rank,
} from "./conversation-rows.js";
import { done, openDatabase, span, transact } from "./database.js";
import { newId } from "./names.js";
import { conversationOf, isRoom, messageOf, partnerOf } from "./rooms.js";

// Per user; the oldest goes first. Duplicates are recognised by it too. A message that comes again
// after it was dropped here is on no screen, so it is not shown twice.
const MESSAGES_KEPT = 10_000;
const CONVERSATIONS_KEPT = 500;
const OUTBOX_LIMIT = 1_000;
// Counting costs time; a few too many in between cost nothing.
const TRIM_EVERY = 500;

// Where this browser's device is. No user has a name with a colon, so this row is in nobody's messages,
// and in no index. (A store of its own would need another version of the database. Pages of earlier
// builds could not open that when a server goes back to one.)
const DEVICE_KEY = [":browser", "device"];

// Sends on their way at once, one per recipient.
const HEADS_LIMIT = 32;

/** The outbox is full: the message was not taken. */
export class OutboxFull extends Error {
  constructor() {
    super(`${OUTBOX_LIMIT} messages are waiting to be sent already.`);
  }
}

export class Store {
  #user;
  #database = null; // a promise: of several first calls one opens it
  #sinceTrim = TRIM_EVERY;

  constructor(user) {
    this.#user = user;
  }

  /**
   * Return which device this browser is: for all its tabs and users, for ever. Rejects if there is no
   * storage, or no room for a new device.
   *
   * It is found and made in one transaction: two tabs cannot make two. It does not depend on the user,
   * whom the server may name only when it knows the device. To the server a device of two users is two.
   */
  async device() {
    return this.#write(["messages"], async (tx) => {
      const messages = tx.objectStore("messages");
      const found = await done(messages.get(DEVICE_KEY));
      if (found) return found.device;
      const device = newId();
      const [user, id] = DEVICE_KEY;
      await done(messages.put({ user, id, device }));
      return device;
    });
  }

  // What the server says -------------------------------------------------------------------

  /**
   * Keep messages and events that have arrived. When this resolves they are on disk and may be
   * acknowledged.
   * One that is here already changes nothing. Our own, from another device of ours, may have been
   * delivered already: `delivered` has the times by their ids.
   */
  async keep(frames, delivered) {
    await this.#write(["messages", "conversations"], async (tx) => {
      const messages = tx.objectStore("messages");
      for (const frame of frames) {
        const message = messageOf(frame, this.#user);
        const { id, sender } = message;
        if ((await done(messages.getKey([this.#user, id]))) !== undefined) continue;
        if (sender === this.#user && delivered.has(id)) message.delivered = delivered.get(id);
        await this.#put(tx, message, { isNew: true });
      }
    });
    await this.#trim(frames.length);
  }

  /** The message is durably in the server's log: move it from the outbox to the messages. */
  async settle({ ref, id, offset, time }, delivered) {
    await this.#write(["messages", "outbox", "conversations"], async (tx) => {
      const entry = await this.#entry(tx, ref);
      if (!entry) return; // another tab of this user was told first
      await done(tx.objectStore("outbox").delete(entry.seq));
      // A message to oneself may have come back before its own answer.
      const arrived = await done(tx.objectStore("messages").get([this.#user, id]));
      const { to: partner, content } = entry;
      const message = { id, ref, partner, sender: this.#user, content, time, offset };
      await this.#put(tx, { ...arrived, ...message, delivered: arrived?.delivered ?? delivered });
    });
    await this.#trim(1);
  }

  /** Our messages `ids` were delivered. Return those that are not known (yet). */
  async delivered(ids, time) {
    return this.#write(["messages"], async (tx) => {
      const messages = tx.objectStore("messages");
      const unknown = [];
      for (const id of ids) {
        const message = await done(messages.get([this.#user, id]));
        if (!message) unknown.push(id);
        else if (!message.delivered) await done(messages.put({ ...message, delivered: time }));
      }
      return unknown;
    });
  }

  /** Take a page of the server's list of conversations. */
  async list(items) {
    await this.#write(["messages", "conversations"], async (tx) => {
      for (const item of items) {
        const partner = partnerOf(this.#user, item.conversation);
        if (partner === null) continue;
        const range = this.#after(partner, item.offset);
        const later = await done(tx.objectStore("messages").index("order").getAll(range));
        const more = later.filter(({ sender }) => sender !== this.#user).length;
        await this.#touch(tx, partner, (conversation) => listedAs(conversation, item, more));
      }
    });
  }

  /**
   * By the word of the server the user has seen this conversation up to `offset`, here or on another
   * device. Return whether it has to be asked how much is unread now.
   */
  async wasRead(conversation, offset) {
    return this.#write(["conversations"], async (tx) => {
      let isUnknown = false;
      await this.#change(tx, partnerOf(this.#user, conversation), (found) => {
        const isAll = offset >= (found.last?.offset ?? -Infinity);
        isUnknown = !isAll && found.unread > 0;
        const { marked, ...rest } = found;
        return {
          ...rest,
          ...(marked > offset && { marked }),
          read: Math.max(found.read ?? 0, offset),
          unread: isAll ? 0 : found.unread,
        };
      });
      return isUnknown;
    });
  }

  /** Return the marks that the server has not confirmed, as pairs of conversation and offset. */
  async marks() {
    return (await this.conversations())
      .filter(({ marked, ended }) => marked !== undefined && !ended)
      .map(({ partner, marked }) => [conversationOf(this.#user, partner), marked]);
  }

  /** The user is not in this room any more. */
  async end(room) {
    await this.#write(["conversations"], (tx) =>
      this.#change(tx, room, (conversation) => ({ ...conversation, ended: true, unread: 0 })),
    );
  }

  /** The list has no sender of the last message, a page has. */
  async noteLast(message) {
    const { partner, sender, content, time, offset, event } = message;
    await this.#write(["conversations"], (tx) =>
      this.#change(tx, partner, (conversation) => {
        const { last } = conversation;
        if (last && (last.sender !== null || last.offset > offset)) return conversation;
        return { ...conversation, last: lastWords(sender, time, offset, content, event) };
      }),
    );
  }

  // The outbox -----------------------------------------------------------------------------

  /** Keep a message that is to be sent. When this resolves it survives a reload. */
  async enqueue({ ref, to, content }) {
    await this.#write(["outbox", "conversations"], async (tx) => {
      const outbox = tx.objectStore("outbox");
      if ((await done(outbox.index("user").count(this.#user))) >= OUTBOX_LIMIT) {
        throw new OutboxFull();
      }
      const written = new Date().toISOString();
      const entry = { user: this.#user, ref, to, content, written, tried: false, failed: null };
      await done(outbox.add(entry));
      await this.#noteWritten(tx, entry);
    });
  }

  /**
   * Take over from another name the messages that were written here before the first `welcome`,
   * unless a tab may have sent them already.
   */
  async adopt(user, refs) {
    await this.#write(["outbox", "conversations"], async (tx) => {
      const outbox = tx.objectStore("outbox");
      for (const ref of refs) {
        const entry = await done(outbox.index("ref").get([user, ref]));
        if (!entry || entry.tried) continue;
        await done(outbox.put({ ...entry, user: this.#user }));
        await this.#noteWritten(tx, entry);
      }
    });
  }

  /**
   * Take what should be sent now: per recipient the first entry, unless it is among `refs` already.
   * One at a time keeps the order in which they were written.
   *
   * `tried` says whether a tab may have tried before. It is read and set in one transaction: of two
   * tabs that see the same entry only one makes the first try, and every other try is a repetition.
   */
  async claim(refs) {
    return this.#write(["outbox"], async (tx) => {
      const outbox = tx.objectStore("outbox");
      const heads = new Map();
      for (const entry of await done(outbox.index("user").getAll(this.#user))) {
        if (entry.failed === null && !heads.has(entry.to)) heads.set(entry.to, entry);
      }
      const claimed = [...heads.values()].filter(({ ref }) => !refs.has(ref)).slice(0, HEADS_LIMIT);
      for (const entry of claimed) {
        if (!entry.tried) await done(outbox.put({ ...entry, tried: true }));
      }
      return claimed;
    });
  }

  /**
   * Mark the entry as rejected for good, for the reason `failed`; null: try it again. Return whom it
   * is for, undefined if it is not there.
   */
  async mark(ref, failed) {
    return this.#write(["outbox"], async (tx) => {
      const entry = await this.#entry(tx, ref);
      if (entry) await done(tx.objectStore("outbox").put({ ...entry, failed }));
      return entry?.to;
    });
  }

  /** Forget a rejected entry. An entry that may still arrive cannot be taken back. */
  async discard(ref) {
    await this.#write(["outbox"], async (tx) => {
      const entry = await this.#entry(tx, ref);
      if (entry && entry.failed !== null) await done(tx.objectStore("outbox").delete(entry.seq));
    });
  }

  // What the screen shows ------------------------------------------------------------------

  /** Start a conversation, or find it again. */
  async open(partner) {
    await this.#write(["conversations"], async (tx) => {
      const now = await this.#now(tx);
      await this.#touch(tx, partner, (conversation) =>
        rank(conversation) > 0 ? conversation : { ...conversation, ...at(now) },
      );
    });
  }

  /** The user has seen this conversation up to `offset`. */
  async markRead(partner, offset) {
    await this.#write(["conversations"], (tx) =>
      this.#change(tx, partner, (conversation) => ({
        ...conversation,
        unread: offset >= (conversation.last?.offset ?? -Infinity) ? 0 : conversation.unread,
        ...(offset > (conversation.read ?? 0) && { marked: Math.max(conversation.marked ?? 0, offset) }),
      })),
    );
  }

  /** Return all conversations, the most recent first. */
  async conversations() {
    const found = await this.#read(["conversations"], (tx) =>
      done(tx.objectStore("conversations").getAll(span([this.#user]))),
    );
    return found.sort(byRank);
  }

  /**
   * Return the offset after which the last `count` messages begin, not counting those after `upTo`;
   * -Infinity when there are not more than that.
   */
  async edge(partner, count, upTo = []) {
    return this.#read(["messages"], async (tx) => {
      const range = span([this.#user, partner], upTo);
      const request = tx.objectStore("messages").index("order").openKeyCursor(range, "prev");
      const last = await done(request);
      if (!last) return -Infinity;
      last.advance(count);
      return (await done(request))?.key[2] ?? -Infinity;
    });
  }

  /** Return the conversation's messages after this offset in order, and its unsent ones. */
  async page(partner, after) {
    return this.#read(["messages", "outbox"], async (tx) => {
      const range = this.#after(partner, after);
      const messages = await done(tx.objectStore("messages").index("order").getAll(range));
      const waiting = await done(tx.objectStore("outbox").index("user").getAll(this.#user));
      return { messages, entries: waiting.filter(({ to }) => to === partner) };
    });
  }

  // Forgetting -----------------------------------------------------------------------------

  /** Return how many messages are kept here, and how many of them were never sent. */
  async count() {
    return this.#read(["messages", "outbox"], async (tx) => {
      const sent = await done(tx.objectStore("messages").count(span([this.#user])));
      const unsent = await done(tx.objectStore("outbox").index("user").count(this.#user));
      return { all: sent + unsent, unsent };
    });
  }

  /** Forget everything of this user, unsent messages included. */
  async forget() {
    await this.#write(["messages", "outbox", "conversations"], async (tx) => {
      const outbox = tx.objectStore("outbox");
      for (const key of await done(outbox.index("user").getAllKeys(this.#user))) {
        await done(outbox.delete(key));
      }
      await done(tx.objectStore("messages").delete(span([this.#user])));
      await done(tx.objectStore("conversations").delete(span([this.#user])));
    });
  }

  // Inside ---------------------------------------------------------------------------------

  #after(partner, offset) {
    const [from, to] = [offset, []].map((last) => [this.#user, partner, last]);
    return IDBKeyRange.bound(from, to, offset !== -Infinity);
  }

  #entry(tx, ref) {
    return done(tx.objectStore("outbox").index("ref").get([this.#user, ref]));
  }

  async #put(tx, message, { isNew = false } = {}) {
    const { partner, sender, content, time, offset, event } = message;
    const kept = logTime(time);
    await done(tx.objectStore("messages").put({ ...message, kept, user: this.#user }));
    await this.#touch(tx, partner, (conversation) => {
      const isLast = !conversation.last || conversation.last.offset < offset;
      return {
        ...conversation,
        ...at(Math.max(rank(conversation), kept)),
        unread: conversation.unread + (isNew && this.#isUnread(conversation, sender, offset) ? 1 : 0),
        last: isLast ? lastWords(sender, time, offset, content, event) : conversation.last,
        ...newTitle(conversation, offset, event),
        ...newMembership(conversation, offset, event, this.#user),
      };
    });
  }

  #isUnread({ listed, read, marked }, sender, offset) {
    const counted = Math.max(listed ?? 0, read ?? 0, marked ?? 0);
    return sender !== this.#user && offset > counted;
  }

  /** The user has written something: that comes after everything that is known of the log. */
  async #noteWritten(tx, { to, content, written }) {
    const now = await this.#now(tx);
    await this.#touch(tx, to, (conversation) => ({
      ...conversation,
      ...at(now),
      // It stands in for the last message until that one, or any later one, has an offset.
      last: lastWords(this.#user, written, conversation.last?.offset ?? -Infinity, content),
    }));
  }

  async #now(tx) {
    const all = await done(tx.objectStore("conversations").getAll(span([this.#user])));
    return all.reduce((latest, conversation) => Math.max(latest, rank(conversation)), 0) + 1;
  }

  async #touch(tx, partner, change) {
    const conversations = tx.objectStore("conversations");
    const found = await done(conversations.get([this.#user, partner]));
    const blank = { user: this.#user, partner, ...at(0), unread: 0, last: null };
    await done(conversations.put(change(found ?? blank)));
  }

  /** Change a conversation if it is there. */
  async #change(tx, partner, change) {
    const conversations = tx.objectStore("conversations");
    const found = await done(conversations.get([this.#user, partner ?? ""]));
    if (found) await done(conversations.put(change(found)));
  }

  async #trim(added) {
    this.#sinceTrim += added;
    if (this.#sinceTrim < TRIM_EVERY) return;
    this.#sinceTrim = 0;
    await this.#write(["messages", "conversations"], async (tx) => {
      const messages = tx.objectStore("messages");
      const arrival = messages.index("arrival");
      const excess = (await done(arrival.count(span([this.#user])))) - MESSAGES_KEPT;
      if (excess > 0) {
        await correctTimes(messages, span([this.#user]));
        const oldest = await done(arrival.getAllKeys(span([this.#user]), excess));
        for (const key of oldest) await done(messages.delete(key));
      }
      const conversations = tx.objectStore("conversations");
      const all = await done(conversations.getAll(span([this.#user])));
      all.sort(byRank);
      for (const { user, partner } of all.slice(CONVERSATIONS_KEPT)) {
        await done(conversations.delete([user, partner]));
      }
    });
  }

  #read(names, body) {
    return this.#transact(names, "readonly", body);
  }

  #write(names, body) {
    return this.#transact(names, "readwrite", body);
  }

  async #transact(names, mode, body) {
    return transact(await this.#open(), names, mode, body);
  }

  #open() {
    this.#database ??= openDatabase(() => (this.#database = null));
    return this.#database;
  }
}

/**
 * Earlier builds noted the arrival of a message by the browser's clock. If that was ahead, such
 * messages would stay at the end for ever, behind everything new.
 */
async function correctTimes(messages, range) {
  const request = messages.index("arrival").openCursor(range, "prev");
  const wrong = [];
  for (let cursor; (cursor = await done(request)); cursor.continue()) {
    if (cursor.value.kept === logTime(cursor.value.time)) break;
    wrong.push(cursor.primaryKey);
  }
  for (const key of wrong) {
    const message = await done(messages.get(key));
    await done(messages.put({ ...message, kept: logTime(message.time) }));
  }
}

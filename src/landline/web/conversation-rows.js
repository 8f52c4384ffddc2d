// What is stored of a conversation (store.js), and how it follows from messages and from the server's list.

import { beginning } from "./text.js";

// One line of a conversation list shows no more.
const PREVIEW_CHARACTERS = 100;

/** Return what the list shows of a conversation's last message or event. */
export function lastWords(sender, time, offset, content, event) {
  return { sender, time, offset, content: beginning(content, PREVIEW_CHARACTERS), ...(event && { event }) };
}

/** Return the title that a room has by an event, unless a later one is known. */
export function newTitle({ titled = -Infinity }, offset, event) {
  return event?.kind === "room" && offset > titled ? { title: event.title, titled: offset } : {};
}

/** Return whether the user is in a room from an event on, unless a later one is known. */
export function newMembership({ changed = -Infinity }, offset, event, me) {
  const isAboutMe = event?.kind === "member" && event.user === me && event.change !== "role";
  return isAboutMe && offset > changed ? { ended: event.change === "remove", changed: offset } : {};
}

/** Return a conversation by the word of the server, and `more` unread messages that came after it. */
export function listedAs(conversation, item, more) {
  const { offset, time, read_offset: read } = item;
  const { last, titled = -Infinity, changed = -Infinity } = conversation;
  const isNewer = offset > (last?.offset ?? -Infinity);
  // What this browser knows of a mark may be newer than the answer.
  const seen = Math.max(conversation.marked ?? 0, conversation.read ?? 0);
  const isAllSeen = seen > read && seen >= (isNewer ? offset : last.offset);
  return {
    ...conversation,
    ...at(Math.max(rank(conversation), logTime(time))),
    last: isNewer ? lastWords(null, time, offset, item.preview) : last,
    unread: isAllSeen ? 0 : item.unread + more,
    listed: offset,
    read: Math.max(conversation.read ?? 0, read),
    ...(offset > titled && item.kind === "room" && { title: item.title, titled: offset }),
    ...(offset > changed && { ended: false }),
  };
}

/** Return a time of the log as a number. */
export function logTime(time) {
  return Date.parse(time) || 0;
}

/** Return where a conversation stands in the list: when, by the log, it was used last. */
export function rank({ at, last }) {
  return at ?? (Number.isFinite(last?.offset) ? logTime(last.time) : 0);
}

/** Return the time of a conversation as it is stored. */
export function at(time) {
  return { at: time, active: time };
}

/** Put the most recent conversation first. */
export function byRank(one, other) {
  return rank(other) - rank(one);
}

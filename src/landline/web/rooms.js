// Rooms: which conversations are some, what they are called, and what happens in them in words.

import { beginning } from "./text.js";

const ROOM = /^room:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
// What is owed to this user, and has to be acknowledged.
const OWED = new Set(["message", "member", "room"]);

export function isOwed({ type }) {
  return OWED.has(type);
}

export function isRoom(conversation) {
  return ROOM.test(conversation);
}

/** Return what a conversation is called: a room that no title is known of, by its id. */
export function titleOf(partner, title) {
  return title || partner;
}

/** Return one character for the picture of a conversation. */
export function initialOf(partner, title) {
  return beginning(title || partner.replace(/^room:/, "#"), 1);
}

/** Return what an event of a room says, or null for a message. */
export function eventOf({ type, user, change, role, title }) {
  if (type === "member") return { kind: type, user, change, role };
  if (type === "room") return { kind: type, title: title ?? null };
  return null;
}

/** Return an event as a sentence for `me`. */
export function sentence(sender, { kind, user, change, role, title }, me) {
  const who = sender === me ? "You" : sender;
  const whom = user === me ? "you" : user;
  if (kind === "room" && title) return `${who} called this room “${title}”`;
  if (kind === "room") return `${who} left this room without a title`;
  if (change === "add") return `${who} added ${whom}`;
  if (change === "remove") return user === sender ? `${who} left` : `${who} removed ${whom}`;
  return `${who} made ${whom} ${role === "admin" ? "an admin" : "a member"}`;
}

// Rooms: which conversations are some, what they are called, and what happens in them in words.
//
// A conversation of two is called by the other user here, the partner; a room is its own partner.

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

/** Return the protocol's name of the conversation between this user and the partner. */
export function conversationOf(user, partner) {
  if (isRoom(partner)) return partner;
  return isBefore(user, partner) ? `dm:${user}:${partner}` : `dm:${partner}:${user}`;
}

/** Return whom a conversation of this user is with, null if that is not known. */
export function partnerOf(user, conversation) {
  if (isRoom(conversation)) return conversation;
  // No name has a colon.
  const [kind, one, other] = conversation.split(":");
  if (kind !== "dm" || other === undefined) return null;
  return one === user ? other : one;
}

/** Compare names by code points; JavaScript's own order is that of UTF-16 units. */
function isBefore(one, other) {
  const [ours, theirs] = [Array.from(one), Array.from(other)];
  const at = ours.findIndex((character, index) => character !== theirs[index]);
  if (at === -1) return true;
  return at < theirs.length && ours[at].codePointAt(0) < theirs[at].codePointAt(0);
}

/** Return what a conversation is called: a room that no title is known of, by its id. */
export function titleOf(partner, title) {
  return title || partner;
}

/** Return one character for the picture of a conversation. */
export function initialOf(partner, title) {
  return beginning(title || partner.replace(/^room:/, "#"), 1);
}

/** Return a frame of a timeline as it is kept for `me`, or null for one that this page does not know. */
export function messageOf(frame, me) {
  if (!isOwed(frame)) return null;
  const { id, sender, to, conversation, content = "", time, offset } = frame;
  const partner = isRoom(conversation) ? conversation : sender === me ? to : sender;
  const event = eventOf(frame);
  return { id, partner, sender, content, time, offset, ...(event && { event }) };
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
  if (kind === "room") return `${who} took the title away, if there was one`;
  if (change === "add") return `${who} added ${whom}`;
  if (change === "remove") return user === sender ? `${who} left` : `${who} removed ${whom}`;
  return `${who} made ${whom} ${role === "admin" ? "an admin" : "a member"}`;
}

// The list of conversations: who, the last words, how many are unread.

import { element, fillAvatar, reconcile, setText } from "./dom.js";
import { initialOf, isRoom, sentence, titleOf } from "./rooms.js";
import { shortTime } from "./times.js";

const UNREAD_SHOWN = 99;

export class Sidebar {
  #list;
  #hint;
  #me;

  /** `onOpen(partner)`: the user picked a conversation. */
  constructor(me, { list, hint, onOpen }) {
    this.#me = me;
    this.#list = list;
    this.#hint = hint;
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) onOpen(button.dataset.partner);
    });
    list.addEventListener("keydown", (event) => this.#move(event));
  }

  set me(user) {
    this.#me = user;
  }

  show(conversations, openPartner) {
    this.#hint.hidden = conversations.length > 0;
    reconcile(this.#list, conversations, {
      key: ({ partner }) => partner,
      make: ({ partner }) => makeItem(partner),
      fill: (item, conversation) => this.#fill(item, conversation, openPartner),
    });
  }

  /** Put the focus where the user left the list. */
  focus() {
    const buttons = this.#buttons();
    (buttons.find((button) => button.ariaCurrent === "true") ?? buttons[0])?.focus();
  }

  #fill(item, { partner, title, last, unread, ended }, openPartner) {
    const button = item.firstElementChild;
    const isOpen = partner === openPartner;
    button.ariaCurrent = isOpen ? "true" : null;
    const [name, time, preview, badge] = button.querySelectorAll("[data-part]");
    fillAvatar(button.firstElementChild, partner, initialOf(partner, title));
    button.title = titleOf(partner, title);
    setText(name, partner === this.#me ? `${partner} (you)` : titleOf(partner, title));
    setText(time, last ? shortTime(last.time) : "");
    setText(preview, last ? this.#words(partner, last, ended) : "No messages yet");
    badge.hidden = unread === 0;
    setText(badge, unread > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : String(unread));
    badge.ariaLabel = `${badge.textContent} unread`;
  }

  #words(partner, { sender, content, event }, ended) {
    if (ended) return "You are not in this room any more";
    if (event) return sentence(sender, event, this.#me);
    if (sender === this.#me) return partner === this.#me ? content : `You: ${content}`;
    // The server's list does not say whose words they are, and has none for what is no message.
    if (sender === null) return content || "The room was changed";
    return isRoom(partner) ? `${sender}: ${content}` : content;
  }

  #move(event) {
    const buttons = this.#buttons();
    const at = buttons.indexOf(event.target.closest("button"));
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 };
    const target = buttons[steps[event.key]];
    if (!target) return;
    event.preventDefault();
    target.focus();
  }

  #buttons() {
    return [...this.#list.querySelectorAll("button")];
  }
}

function makeItem(partner) {
  const avatar = element("span", { className: "avatar", ariaHidden: "true" });
  const button = element(
    "button",
    { type: "button", data: { partner, testid: "conversation" } },
    avatar,
    element("bdi", { className: "name", data: { part: "name" } }),
    element("span", { className: "when muted", data: { part: "time" } }),
    element("span", { className: "preview muted", dir: "auto", data: { part: "preview" } }),
    element("span", { className: "badge", data: { part: "badge", testid: "unread" } }),
  );
  return element("li", {}, button);
}

// The two dialogs about rooms: one makes a room, the other shows who is in it and changes it.

import { element, fillAvatar, reconcile, setText } from "./dom.js";
import { byteLength, nameProblem, tidyName } from "./names.js";
import { titleOf } from "./rooms.js";

const $ = (id) => document.getElementById(id);

const TITLE_BYTES = 256;

const REFUSALS = {
  room_full: "The room has as many members as one may have.",
  no_such_conversation: "You are not in this room any more.",
  bad_recipient: "Nobody of this name is in the room.",
};

/** Makes a room. */
export class NewRoom {
  /** `rooms` as of room-requests.js; `onMade(room)`. */
  constructor(rooms, onMade) {
    $("new-room-open").addEventListener("click", () => {
      setText($("new-room-problem"), "");
      $("new-room").showModal();
    });
    closeByButton($("new-room"));
    onSubmit($("new-room-form"), $("new-room-problem"), async () => {
      const title = $("new-room-title").value.trim();
      const members = namesOf($("new-room-members").value);
      const problem = titleProblem(title) || members.map(nameProblem).find((each) => each !== "");
      if (problem) return problem;
      const isForAll = $("new-room-history").checked;
      const room = await rooms.create(title, members, isForAll ? "all" : "joined");
      $("new-room-form").reset();
      $("new-room").close();
      onMade(room);
      return "";
    }, "In this chat only the product makes rooms.");
  }
}

/** Shows the open room. */
export class RoomDialog {
  #chat;
  #room = null;
  #shownAt = null; // the offset of the last event when the members were asked for

  constructor(chat) {
    this.#chat = chat;
    const problem = $("room-problem");
    $("room-open").addEventListener("click", () => this.#open());
    closeByButton($("room"));
    onSubmit($("title-form"), problem, async () => {
      const title = $("room-title").value.trim();
      const wrong = titleProblem(title);
      if (wrong === "") await this.#chat.rooms.setTitle(this.#room, title);
      return wrong;
    });
    onSubmit($("member-form"), problem, async () => {
      const name = tidyName($("new-member").value);
      const wrong = nameProblem(name);
      if (wrong !== "") return wrong;
      await this.#chat.rooms.add(this.#room, name);
      $("new-member").value = "";
      return "";
    });
    $("members").addEventListener("click", ({ target }) => this.#act(target.closest("button")));
    $("leave-room").addEventListener("click", () => this.#leave());
  }

  /** Show the room as it is now. The title and the members may have changed. */
  show({ partner, title, last, ended }) {
    if (!$("room").open) return;
    if (ended || partner !== this.#room) return $("room").close();
    setText($("room-heading"), titleOf(partner, title));
    if (document.activeElement !== $("room-title")) $("room-title").value = title ?? "";
    if (last?.offset === this.#shownAt) return;
    this.#shownAt = last?.offset;
    this.#showMembers();
  }

  set room(room) {
    this.#room = room;
  }

  #open() {
    this.#shownAt = null;
    $("members").replaceChildren();
    setText($("room-problem"), "");
    setText($("member-count"), "");
    $("title-form").hidden = $("member-form").hidden = true;
    $("room").showModal();
    this.#chat.refresh();
  }

  async #showMembers() {
    const room = this.#room;
    const me = this.#chat.user;
    let members;
    try {
      members = await this.#chat.members(room);
    } catch (error) {
      return setText($("room-problem"), refusal(error));
    }
    if (room !== this.#room) return;
    const isAdmin = members.some(({ user, role }) => user === me && role === "admin");
    $("title-form").hidden = $("member-form").hidden = !isAdmin;
    setText($("member-count"), String(members.length));
    reconcile($("members"), members, {
      key: ({ user }) => user,
      make: ({ user }) => makeMember(user),
      fill: (row, { user, role }) => {
        const [about, right, away] = row.querySelectorAll("[data-part]");
        const notes = [user === me ? "you" : "", role === "admin" ? "admin" : ""];
        setText(about, notes.filter((note) => note !== "").join(", "));
        right.hidden = away.hidden = !isAdmin || user === me;
        right.dataset.role = role === "admin" ? "member" : "admin";
        setText(right, role === "admin" ? "Take admin back" : "Make admin");
        for (const button of [right, away]) button.ariaLabel = `${button.textContent}: ${user}`;
      },
    });
    // Whoever had the focus may be gone.
    if (!$("room").contains(document.activeElement)) $("members").focus();
  }

  #act(button) {
    const user = button?.closest("[data-key]")?.dataset.key;
    if (user === undefined) return;
    const { rooms } = this.#chat;
    const { part, role } = button.dataset;
    attempt(button, $("room-problem"), async () => {
      if (part === "away") await rooms.remove(this.#room, user);
      else await rooms.setRole(this.#room, user, role);
      return "";
    });
  }

  #leave() {
    attempt($("leave-room"), $("room-problem"), async () => {
      await this.#chat.rooms.remove(this.#room, this.#chat.user);
      $("room").close();
      return "";
    });
  }
}

function makeMember(user) {
  const avatar = element("span", { className: "avatar small", ariaHidden: "true" });
  fillAvatar(avatar, user);
  const button = (part, text) =>
    element("button", { type: "button", className: "quiet", data: { part } }, text);
  return element(
    "li",
    { data: { testid: "member" } },
    avatar,
    element("bdi", { className: "name" }, user),
    element("span", { className: "muted", data: { part: "about" } }),
    button("right", ""),
    button("away", "Remove"),
  );
}

/** Return the names in a text. One with a blank in it is none, and is not two either. */
function namesOf(text) {
  return text.split(/[,;\n]+/).map(tidyName).filter((name) => name !== "");
}

function titleProblem(title) {
  return byteLength(title) > TITLE_BYTES ? `A title has at most ${TITLE_BYTES} bytes.` : "";
}

/** `action()` returns, or resolves with, what is wrong with the form, or an empty string. */
function onSubmit(form, problem, action, forbidden) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form.querySelector("[type=submit]"), problem, action, forbidden);
  });
}

async function attempt(button, problem, action, forbidden = "Only admins may do that.") {
  button.disabled = true;
  setText(problem, "");
  try {
    setText(problem, await action());
  } catch (error) {
    setText(problem, error.code === "forbidden" ? forbidden : refusal(error));
  } finally {
    button.disabled = false;
  }
}

function refusal({ code, message }) {
  return REFUSALS[code] ?? `The server refused this: ${message}`;
}

function closeByButton(dialog) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
}

// The page: asks who the user is, then puts chat, list, transcript and composer together.

import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { fillAvatar, isComposing, setText } from "./dom.js";
import { Drafts, forgetAllButDrafts } from "./drafts.js";
import { askToKeep } from "./keeping.js";
import { nameProblem, tidyName } from "./names.js";
import { guard, showConnection, showNotice, showTrouble } from "./notices.js";
import { AUTH, findSignIn, PastedToken } from "./sign-in.js";
import { NewRoom, RoomDialog } from "./room-dialogs.js";
import { initialOf, isRoom, titleOf } from "./rooms.js";
import { Sidebar } from "./sidebar.js";
import { askForName, askForToken, onNameForm } from "./start.js";
import { forget, isBlocked, recall, remember } from "./tab.js";
import { dayKey } from "./times.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);

const TITLE = document.title;

// The computer may have slept over midnight: a timer for that moment would be late.
const DAY_CHECK_MS = 15_000;

const NO_TAB_STORAGE =
  "This browser does not let this page remember who you are. After a reload the page asks again.";
const NOT_KEPT_FOR_GOOD =
  "This browser may delete the messages on this device, unsent ones too, when its disk is full. " +
  "Bookmarking this page helps in some browsers.";

const TOKEN_REFUSED = "The server does not take this token. Paste another one.";
const SIGN_IN_ENDED = "Your sign-in has ended. Paste a new token; what you have written is kept.";

class Page {
  #signIn;
  #chat;
  #sidebar;
  #transcript;
  #composer;
  #room;
  #drafts = new Drafts();
  #partner = null;
  #isDrawing = false;
  #drawAgain = false;
  #day = dayKey(Date.now());

  /** Without a `user` nothing is shown before the server has said who it is. */
  constructor(user, signIn) {
    this.#signIn = signIn;
    this.#chat = new Chat(user, addressOf, signIn, {
      changed: () => this.#draw(),
      userChanged: (change) => this.#becameAnother(change),
      connectionChanged: (state) => this.#connectionChanged(state),
      signInEnded: (wasOpen) => this.#askForToken(wasOpen ? SIGN_IN_ENDED : TOKEN_REFUSED),
      trouble: showTrouble,
    });
    this.#sidebar = new Sidebar(user, {
      list: $("conversations"),
      hint: $("no-conversations"),
      onOpen: (partner) => this.open(partner),
    });
    this.#transcript = new Transcript(this.#chat, {
      scroller: $("transcript"),
      list: $("messages"),
      earlier: $("earlier"),
      newer: $("newer"),
      hint: $("no-messages"),
      onEnd: () => this.#draw(),
    });
    this.#composer = new Composer(
      {
        form: $("composer"),
        field: $("content"),
        button: $("send"),
        problem: $("content-problem"),
      },
      this.#drafts,
      {
        excessBytes: (content) => this.#chat.excessBytes(content),
        onSend: async (partner, content) => {
          this.#transcript.scrollToEnd();
          await this.#chat.send(partner, content);
        },
      },
    );
    this.#room = new RoomDialog(this.#chat);
    new NewRoom(this.#chat.rooms, (room) => this.open(room));
    this.#listen();
  }

  /** Resolves when the page can keep messages. */
  start() {
    $("connection").hidden = false;
    // Who has a token, or is known to a proxy, is nobody else in another window.
    $("be-both").hidden = AUTH !== "none";
    $("leave").hidden = AUTH !== "none" && !(this.#signIn instanceof PastedToken);
    const isReady = this.#chat.start();
    if (this.#chat.user !== "") this.#enter();
    return isReady;
  }

  #enter() {
    this.#showUser();
    $("me").hidden = $("desk").hidden = false;
    const partner = tidyName(recall("partner"));
    if (isRoom(partner) || nameProblem(partner) === "") this.open(partner);
    else $("partner").focus();
    this.#draw();
  }

  #connectionChanged(state) {
    showConnection(state);
    if (state.phase !== "online" || !$("desk").hidden) return;
    $("me").hidden = $("desk").hidden = false;
    if (this.#partner !== null) this.#composer.focus();
  }

  /** The token ends, or never was good. Whose the next one is, only the server can say. */
  #askForToken(problem) {
    forget("token");
    $("me").hidden = $("desk").hidden = true;
    askForToken(problem, (token) => {
      remember("token", token);
      this.#signIn.text = token;
      this.#chat.connectNow();
    });
  }

  async open(partner) {
    this.#partner = partner;
    remember("partner", partner);
    this.#room.room = partner;
    this.#showPartner();
    this.#showEnd(false);
    // The quickest way to see it work: be both of them.
    $("be-both").hidden = AUTH !== "none" || isRoom(partner);
    setText($("other-window"), `open a window as ${partner}`);
    this.#showUser();
    $("desk").dataset.screen = "conversation";
    $("conversation").hidden = false;
    $("nothing-open").hidden = true;
    this.#composer.open(this.#chat.user, partner);
    this.#composer.focus();
    await this.#showConversation();
  }

  async #showConversation() {
    const partner = this.#partner;
    this.#transcript.open(partner);
    await guard(() => this.#chat.open(partner));
    this.#draw();
  }

  /** A room is called by its title as soon as that is known. */
  #showPartner(title) {
    setText($("partner-name"), titleOf(this.#partner, title));
    fillAvatar($("partner-avatar"), this.#partner, initialOf(this.#partner, title));
  }

  /** Nobody writes into a room that they are not in any more. */
  #showEnd(hasEnded) {
    $("ended").hidden = !hasEnded;
    $("composer").hidden = hasEnded;
    $("room-open").hidden = hasEnded || !isRoom(this.#partner);
  }

  #showUser() {
    const { user } = this.#chat;
    setText($("my-name"), user);
    fillAvatar($("my-avatar"), user);
    $("other-window").href = `?${new URLSearchParams({ as: this.#partner ?? "", to: user })}`;
  }

  /** The server has another name for this user than the one that was typed. The server is right. */
  #becameAnother({ before, isFirst }) {
    const { user } = this.#chat;
    this.#sidebar.me = user;
    if (before === "") return this.#enter();
    // Before the first session the same person typed here; later it is another user.
    if (isFirst) this.#drafts.carry(before, user);
    if (AUTH === "none") remember("name", user);
    this.#showUser();
    showNotice("user", `The server knows you as ${user}.`);
    if (this.#partner === null) {
      this.#draw();
    } else {
      this.#composer.open(user, this.#partner);
      this.#showConversation();
    }
  }

  #listen() {
    onNameForm($("partner-form"), $("partner"), $("partner-problem"), (partner) => {
      $("partner").value = "";
      this.open(partner);
    });
    $("back").addEventListener("click", () => this.#showList());
    $("conversation").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !isComposing(event)) this.#showList();
    });
    $("connect-now").addEventListener("click", () => this.#chat.connectNow());
    $("leave").addEventListener("click", () => {
      forgetAllButDrafts();
      remember("left", this.#chat.user);
      location.assign(location.pathname);
    });
    setInterval(() => this.#noteDay(), DAY_CHECK_MS);
    document.addEventListener("visibilitychange", () => this.#draw());
  }

  #showList() {
    $("desk").dataset.screen = "list";
    this.#sidebar.focus();
  }

  /** Draw what is stored. Changes that come meanwhile are drawn together, once. */
  async #draw() {
    this.#drawAgain = true;
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    while (this.#drawAgain) {
      this.#drawAgain = false;
      await guard(() => this.#drawOnce());
    }
    this.#isDrawing = false;
  }

  async #drawOnce() {
    await this.#transcript.refresh();
    const conversations = await this.#chat.conversations();
    const open = conversations.find(({ partner }) => partner === this.#partner);
    if (open) {
      this.#showPartner(open.title);
      this.#showEnd(open.ended === true);
      this.#room.show(open);
    }
    if (open?.unread > 0 && this.#isReading()) await this.#markRead(open);
    this.#sidebar.show(conversations, this.#partner);
    const unread = conversations.reduce((sum, conversation) => sum + conversation.unread, 0);
    document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE;
  }

  async #markRead(conversation) {
    const { partner, marked = -Infinity, read = -Infinity, last } = conversation;
    const lastOffset = last?.offset ?? -Infinity;
    const seenTo = this.#transcript.seenTo(lastOffset);
    if (seenTo === -Infinity) return;
    if (seenTo >= lastOffset) conversation.unread = 0;
    else if (seenTo <= Math.max(marked, read)) return; // what is new is not drawn yet
    await this.#chat.markRead(partner, seenTo);
  }

  /** After midnight "today" is another day. */
  #noteDay() {
    const today = dayKey(Date.now());
    if (today === this.#day) return;
    this.#day = today;
    this.#draw();
  }

  #isReading() {
    const isOnScreen = $("transcript").getClientRects().length > 0; // a phone shows list or conversation
    return !document.hidden && isOnScreen && this.#transcript.isAtEnd;
  }
}

function addressOf(user, device) {
  const url = new URL("ws/chat", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ ...(AUTH === "none" && { username: user }), device });
  url.hash = "";
  return url.href;
}

/** Take the user and the partner from a link, `?as=alice&to=bob`, into the tab's memory. */
function takeLink() {
  const query = new URLSearchParams(location.search);
  if (AUTH === "none" && query.has("as")) {
    const name = tidyName(query.get("as"));
    if (name !== recall("name")) forgetAllButDrafts(); // the rest belongs to another user
    remember("name", name);
  }
  if (query.has("to")) remember("partner", tidyName(query.get("to")));
  // Users who pass the address on do not want to pass their name on.
  // The state counts the tries of a page that is incomplete (index.html).
  if (location.search !== "") history.replaceState(history.state, "", location.pathname);
}

async function begin(user, signIn) {
  $("start").hidden = true;
  remember("left", "");
  if (user !== "") remember("name", user);
  await new Page(user, signIn).start();
  if (!(await askToKeep())) showNotice("keeping", NOT_KEPT_FOR_GOOD);
}

function beginWithToken(token) {
  remember("token", token);
  begin("", new PastedToken(token));
}

/** A link with a token was opened in a window that has this page already. */
function onLink() {
  if (new URLSearchParams(location.hash.slice(1)).has("token")) {
    findSignIn();
    location.reload();
  }
}

const signIn = findSignIn();
takeLink();
addEventListener("hashchange", onLink);
if (isBlocked()) showNotice("tab", NO_TAB_STORAGE);
const remembered = recall("name");
if (signIn !== null || AUTH === "proxy") begin("", signIn);
else if (AUTH === "jwt") askForToken("", beginWithToken);
else if (nameProblem(remembered) === "") begin(remembered, null);
else askForName(remembered, (name) => begin(name, null));

// The page: asks for a name, then puts chat, list, transcript and composer together.

import { Chat, storageTrouble, tellOtherTabs } from "./chat.js";
import { Composer } from "./composer.js";
import { element, fillAvatar, isComposing, setText } from "./dom.js";
import { countDrafts, Drafts, forgetAllButDrafts, forgetDrafts } from "./drafts.js";
import { askToKeep } from "./keeping.js";
import { nameProblem, tidyName } from "./names.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { isBlocked, recall, remember } from "./tab.js";
import { dayKey } from "./times.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);

const TITLE = document.title;

// The computer may have slept over midnight: a timer for that moment would be late.
const DAY_CHECK_MS = 15_000;

const NO_TAB_STORAGE =
  "This browser does not let this page remember your name. After a reload the page asks again.";
const NOT_KEPT_FOR_GOOD =
  "This browser may delete the messages on this device, unsent ones too, when its disk is full. " +
  "Bookmarking this page helps in some browsers.";

class Page {
  #chat;
  #sidebar;
  #transcript;
  #composer;
  #drafts = new Drafts();
  #partner = null;
  #isDrawing = false;
  #drawAgain = false;
  #day = dayKey(Date.now());

  constructor(user) {
    this.#chat = new Chat(user, addressOf, {
      changed: () => this.#draw(),
      userChanged: (change) => this.#becameAnother(change),
      connectionChanged: showConnection,
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
    this.#listen();
  }

  /** Resolves when the page can keep messages. */
  start() {
    this.#showUser();
    $("me").hidden = $("connection").hidden = $("desk").hidden = false;
    const isReady = this.#chat.start();
    const partner = tidyName(recall("partner"));
    if (nameProblem(partner) === "") this.open(partner);
    else $("partner").focus();
    this.#draw();
    return isReady;
  }

  async open(partner) {
    this.#partner = partner;
    remember("partner", partner);
    setText($("partner-name"), partner);
    fillAvatar($("partner-avatar"), partner);
    // The quickest way to see it work: be both of them.
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
    await guard(async () => {
      await this.#transcript.open(partner);
      await this.#chat.open(partner);
    });
    this.#draw();
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
    // Before the first session the same person typed here; later it is another user.
    if (isFirst) this.#drafts.carry(before, user);
    remember("name", user);
    this.#sidebar.me = user;
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
    if (open?.unread > 0 && this.#isReading()) {
      open.unread = 0;
      await this.#chat.markRead(open.partner);
    }
    this.#sidebar.show(conversations, this.#partner);
    const unread = conversations.reduce((sum, conversation) => sum + conversation.unread, 0);
    document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE;
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

function addressOf(user) {
  const url = new URL("ws/chat", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ username: user });
  url.hash = "";
  return url.href;
}

async function guard(action) {
  try {
    await action();
  } catch (error) {
    showTrouble(storageTrouble(error));
  }
}

function showConnection({ phase, text }) {
  $("connection").dataset.phase = phase;
  setText($("connection-text"), text);
  $("connect-now").hidden = phase !== "offline";
}

function showTrouble(sentence) {
  setText($("trouble"), sentence);
  $("trouble").hidden = sentence === "";
}

/** Show a notice until the user has seen it. Unlike trouble it does not end by itself. */
function showNotice(name, sentence) {
  if (recall(`seen:${name}`) === sentence) return;
  const seen = element("button", { type: "button", className: "quiet" }, "OK");
  const notice = element("p", { className: "notice" }, element("span", {}, sentence), seen);
  notice.dataset.notice = name;
  seen.addEventListener("click", () => {
    remember(`seen:${name}`, sentence);
    notice.remove();
  });
  $("notices").querySelector(`[data-notice="${name}"]`)?.remove();
  $("notices").append(notice);
}

function onNameForm(form, field, problem, onName) {
  field.addEventListener("input", () => setText(problem, ""));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = tidyName(field.value);
    setText(problem, nameProblem(name));
    if (nameProblem(name) === "") onName(name);
    else field.focus();
  });
}

/** Take the user and the partner from a link, `?as=alice&to=bob`, into the tab's memory. */
function takeLink() {
  const query = new URLSearchParams(location.search);
  if (query.has("as")) {
    const name = tidyName(query.get("as"));
    if (name !== recall("name")) forgetAllButDrafts(); // the rest belongs to another user
    remember("name", name);
  }
  if (query.has("to")) remember("partner", tidyName(query.get("to")));
  // Users who pass the address on do not want to pass their name on.
  // The state counts the tries of a page that is incomplete (index.html).
  if (location.search !== "") history.replaceState(history.state, "", location.pathname);
}

async function begin(user) {
  $("start").hidden = true;
  remember("left", "");
  remember("name", user);
  await new Page(user).start();
  if (!(await askToKeep())) showNotice("keeping", NOT_KEPT_FOR_GOOD);
}

/** A user has left. Their messages are still on this device, which may not be their own. */
async function offerToForget(user) {
  const store = new Store(user);
  const drafts = countDrafts(user);
  const { all, unsent } = await store.count().catch((error) => {
    if (drafts === 0) throw error;
    return { all: 0, unsent: 0 }; // drafts are kept elsewhere
  });
  if (all + drafts === 0) return;
  const kept = [counted(all, "message"), counted(drafts, "draft")].filter(Boolean).join(" and ");
  const whose = `${kept} of ${user} ${all + drafts === 1 ? "is" : "are"} kept on this device.`;
  const lost = unsent === 0 ? "" : ` Not sent yet: ${unsent.toLocaleString()}. If you forget them, they never will be.`;
  setText($("kept-text"), whose.charAt(0).toUpperCase() + whose.slice(1) + lost);
  $("kept").hidden = false;
  const close = (sentence) => {
    remember("left", "");
    setText($("kept-text"), sentence);
    $("forget").hidden = $("keep").hidden = true;
  };
  $("keep").addEventListener("click", () => close("They stay here for the next time."));
  $("forget").addEventListener("click", () =>
    guard(async () => {
      forgetDrafts(user);
      await store.forget();
      tellOtherTabs(user);
      close("They are forgotten on this device.");
    }),
  );
}

function counted(count, what) {
  if (count === 0) return "";
  return count === 1 ? `one ${what}` : `${count.toLocaleString()} ${what}s`;
}

function askForName(given) {
  $("start").hidden = false;
  $("name").value = given;
  if (given !== "") setText($("name-problem"), nameProblem(given));
  $("name").focus();
  if (recall("left") !== "") guard(() => offerToForget(recall("left")));
  onNameForm($("start-form"), $("name"), $("name-problem"), begin);
}

takeLink();
if (isBlocked()) showNotice("tab", NO_TAB_STORAGE);
const remembered = recall("name");
if (nameProblem(remembered) === "") begin(remembered);
else askForName(remembered);

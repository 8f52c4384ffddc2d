// The page: asks for a name, then puts chat, list, transcript and composer together.

import { Chat, storageTrouble } from "./chat.js";
import { Composer } from "./composer.js";
import { fillAvatar, setText } from "./dom.js";
import { nameProblem, tidyName } from "./names.js";
import { Sidebar } from "./sidebar.js";
import { forgetAll, recall, remember } from "./tab.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);

const TITLE = document.title;

class Page {
  #chat;
  #sidebar;
  #transcript;
  #composer;
  #partner = null;
  #isDrawing = false;
  #drawAgain = false;

  constructor(user) {
    const url = new URL("ws/chat", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({ username: user });
    url.hash = "";
    this.#chat = new Chat(user, url.href, {
      changed: () => this.#draw(),
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

  start() {
    const { user } = this.#chat;
    setText($("my-name"), user);
    fillAvatar($("my-avatar"), user);
    $("me").hidden = $("connection").hidden = $("desk").hidden = false;
    this.#chat.start();
    const partner = tidyName(recall("partner"));
    if (nameProblem(partner) === "") this.open(partner);
    else $("partner").focus();
    this.#draw();
  }

  async open(partner) {
    this.#partner = partner;
    remember("partner", partner);
    const { user } = this.#chat;
    setText($("partner-name"), partner);
    fillAvatar($("partner-avatar"), partner);
    // The quickest way to see it work: be both of them.
    setText($("other-window"), `open a window as ${partner}`);
    $("other-window").href = `?${new URLSearchParams({ as: partner, to: user })}`;
    $("desk").dataset.screen = "conversation";
    $("conversation").hidden = false;
    $("nothing-open").hidden = true;
    this.#composer.open(partner);
    this.#composer.focus();
    await guard(async () => {
      await this.#transcript.open(partner);
      await this.#chat.open(partner);
    });
    this.#draw();
  }

  #listen() {
    onNameForm($("partner-form"), $("partner"), $("partner-problem"), (partner) => {
      $("partner").value = "";
      this.open(partner);
    });
    $("back").addEventListener("click", () => this.#showList());
    $("conversation").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) this.#showList();
    });
    $("connect-now").addEventListener("click", () => this.#chat.connectNow());
    $("leave").addEventListener("click", () => {
      forgetAll();
      location.assign(location.pathname);
    });
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

  #isReading() {
    const isOnScreen = $("transcript").getClientRects().length > 0; // a phone shows one of the two
    return !document.hidden && isOnScreen && this.#transcript.isAtEnd;
  }
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

/** A link may say who and to whom: `?as=alice&to=bob`. The tab remembers, the address need not. */
function takeLink() {
  const query = new URLSearchParams(location.search);
  if (query.has("as")) {
    const name = tidyName(query.get("as"));
    if (name !== recall("name")) forgetAll(); // drafts are somebody else's
    remember("name", name);
  }
  if (query.has("to")) remember("partner", tidyName(query.get("to")));
  // Somebody who passes the address on does not want to pass their name on.
  if (location.search !== "") history.replaceState(null, "", location.pathname);
}

function begin(user) {
  $("start").hidden = true;
  remember("name", user);
  new Page(user).start();
}

function askForName(given) {
  $("start").hidden = false;
  $("name").value = given;
  if (given !== "") setText($("name-problem"), nameProblem(given));
  $("name").focus();
  onNameForm($("start-form"), $("name"), $("name-problem"), begin);
}

takeLink();
const remembered = recall("name");
if (nameProblem(remembered) === "") begin(remembered);
else askForName(remembered);

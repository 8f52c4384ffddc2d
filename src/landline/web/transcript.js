// The messages of the open conversation, and where the user is in them.

import { element, reconcile, setText } from "./dom.js";
import { findLinks } from "./links.js";
import { isRoom, sentence } from "./rooms.js";
import { dayKey, dayName, exactTime, timeOfDay } from "./times.js";

// How many messages are drawn when a conversation opens, and with every "show earlier".
const PAGE = 100;
// A conversation may stay open for days: beyond this the screen starts again with the last page.
const DRAWN_LIMIT = 400;

// Nearer to the end than this counts as at the end: about two lines.
const AT_END_PIXELS = 48;
// Messages of one sender within this time stand together.
const TOGETHER_MS = 5 * 60_000;

// Of a room: how many names it says of those who have seen a message.
const SEEN_SHOWN = 3;

const STATES = {
  waiting: { symbol: "…", label: "not sent yet" },
  accepted: { symbol: "✓", label: "accepted: kept for good, not delivered yet" },
  kept: { symbol: "✓", label: "accepted: kept for good" },
  delivered: { symbol: "✓✓", label: "delivered" },
  failed: { symbol: "!", label: "not sent" },
};

export class Transcript {
  #chat;
  #parts;
  #partner = null;
  #history = null;
  #after = null; // the offset after which is drawn; null: not known yet
  #last = null; // the offset of the last message from somebody else that was drawn
  #seenTo = -Infinity;
  #completeTo = -Infinity;
  #isAtEnd = true;
  #isLoading = false;

  /**
   * `parts` are the elements `scroller`, `list`, `earlier`, `newer` and `hint`; `onEnd()`: the user
   * has come to the end and sees what is new.
   */
  constructor(chat, parts) {
    this.#chat = chat;
    this.#parts = parts;
    const { scroller, list, earlier, newer } = parts;
    scroller.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    // The window, the keyboard of a phone or a growing composer changes what is visible.
    new ResizeObserver(() => this.#isAtEnd && this.scrollToEnd()).observe(scroller);
    newer.addEventListener("click", () => this.scrollToEnd());
    earlier.addEventListener("click", () => this.#showEarlier());
    list.addEventListener("click", (event) => this.#act(event.target.closest("button")));
  }

  /** The user sees the last message. */
  get isAtEnd() {
    return this.#isAtEnd;
  }

  /** Return what the user sees who is at the end, as an offset, where the last one is `last`. */
  seenTo(last) {
    // There may be events that a page of this version does not know.
    return Math.max(this.#seenTo, Math.min(this.#completeTo, last));
  }

  /** Show a conversation from its end: the next `refresh` draws it. */
  open(partner) {
    this.#partner = partner;
    this.#history = this.#chat.historyOf(partner);
    this.#after = null;
    this.#isAtEnd = true;
    this.#last = null;
    this.#seenTo = this.#completeTo = -Infinity;
    this.#parts.list.replaceChildren();
    this.#parts.newer.hidden = true;
  }

  /** Draw what is stored now. */
  async refresh() {
    const history = this.#history;
    if (history === null) return;
    const { list, earlier, hint } = this.#parts;
    const isLong = list.childElementCount > DRAWN_LIMIT;
    if (this.#after === null || (this.#isAtEnd && (isLong || history.hasGaps(this.#after)))) {
      const after = await history.edge(PAGE);
      if (this.#history !== history) return; // the user was faster
      this.#after = after;
    }
    const { messages, entries } = await history.after(this.#after);
    if (this.#history !== history) return;
    const rows = this.#rows(messages, entries);
    this.#keepPlace(() => {
      reconcile(list, rows, { key: (row) => row.key, make: (row) => row.make(row), fill });
      earlier.hidden = this.#after === -Infinity && !history.hasMore(this.#after);
    });
    hint.hidden = rows.length > 0;
    this.#seenTo = messages.at(-1)?.offset ?? -Infinity;
    this.#completeTo = history.completeTo;
    this.#follow(messages);
  }

  scrollToEnd() {
    const { scroller } = this.#parts;
    scroller.scrollTop = scroller.scrollHeight;
    this.#arrive();
  }

  #rows(messages, entries) {
    const items = [
      ...messages.map((message) => ({
        ...message,
        isMine: message.sender === this.#chat.user,
        state: message.delivered ? "delivered" : isRoom(this.#partner) ? "kept" : "accepted",
      })),
      ...entries.map((entry) => ({
        ...entry,
        sender: this.#chat.user,
        isMine: true,
        time: entry.written,
        // The log has not said when, and the clock of this device may be behind the log's.
        day: later(entry.written, messages.at(-1)?.time),
        state: entry.failed === null ? "waiting" : "failed",
      })),
    ];
    const rows = [];
    let previous = null;
    let previousDay = null;
    for (const item of items) {
      const day = item.day ?? item.time;
      const isNewDay = !previous || dayKey(previousDay) !== dayKey(day);
      if (isNewDay) {
        // A wrong clock may make a day appear twice, and every row needs a key of its own.
        const key = `day:${item.ref ?? item.id}`;
        rows.push({ key, make: makeDay, time: day });
      }
      // The key is the `ref` as long as we know it: a message keeps its row when it is accepted.
      const key = item.ref ? `ref:${item.ref}` : `id:${item.id}`;
      if (item.event) {
        const words = sentence(item.sender, item.event, this.#chat.user);
        rows.push({ ...item, key, make: makeEvent, words });
      } else {
        const isTogether = !isNewDay && together(previous, item);
        rows.push({ ...item, key, make: makeMessage, isTogether, isInRoom: isRoom(this.#partner) });
      }
      previous = item;
      previousDay = day;
    }
    this.#noteSeen(rows);
    return rows;
  }

  /** Below the last message of the user that others have seen it says so. */
  #noteSeen(rows) {
    const seen = this.#chat.seenBy(this.#partner);
    const isSeen = (row) => row.isMine && !row.event && seen.some(([, offset]) => offset >= row.offset);
    const row = rows.findLast(isSeen);
    if (!row) return;
    const users = seen.filter(([, offset]) => offset >= row.offset).map(([user]) => user).sort();
    row.seen = isRoom(this.#partner) ? `Seen by ${shortened(users)}` : "Seen";
    row.seenBy = users.join(", ");
  }

  /** Stay at the end if the user is there; otherwise say that there is more. */
  #follow(messages) {
    const last = messages.findLast(({ sender }) => sender !== this.#chat.user)?.offset ?? -Infinity;
    const hasNews = this.#last !== null && last > this.#last;
    this.#last = last;
    if (this.#isAtEnd) this.scrollToEnd();
    else if (hasNews) this.#parts.newer.hidden = false;
  }

  #noteScroll() {
    const { scroller } = this.#parts;
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (below < AT_END_PIXELS) return this.#arrive();
    this.#isAtEnd = false;
    if (scroller.scrollTop < scroller.clientHeight) this.#showEarlier();
  }

  /** The user is at the end (again). */
  #arrive() {
    const wasAtEnd = this.#isAtEnd;
    this.#isAtEnd = true;
    this.#parts.newer.hidden = true;
    if (!wasAtEnd) this.#parts.onEnd();
  }

  async #showEarlier() {
    const { scroller, earlier } = this.#parts;
    const history = this.#history;
    if (this.#isLoading || history === null || this.#after === null || earlier.hidden) return;
    this.#isLoading = true;
    scroller.ariaBusy = "true";
    try {
      if (history.hasMore(this.#after)) await history.loadEarlier();
      const after = await history.edge(PAGE, this.#after);
      if (this.#history !== history) return;
      this.#after = Math.min(this.#after, after);
      const hadFocus = document.activeElement === earlier;
      this.#isAtEnd = false;
      await this.refresh();
      if (hadFocus && earlier.hidden) scroller.focus();
    } finally {
      this.#isLoading = false;
      scroller.ariaBusy = null;
    }
  }

  /** Change what is drawn. What the user looks at stays where it was. */
  #keepPlace(change) {
    const { scroller, list } = this.#parts;
    const { top } = scroller.getBoundingClientRect();
    const isVisible = (row) => !row.classList.contains("day") && row.getBoundingClientRect().bottom > top;
    const row = this.#isAtEnd ? undefined : [...list.children].find(isVisible);
    const before = row?.getBoundingClientRect().top;
    change();
    if (row?.isConnected) scroller.scrollTop += row.getBoundingClientRect().top - before;
  }

  #act(button) {
    const ref = button?.closest("[data-ref]")?.dataset.ref;
    if (!ref) return;
    if (button.dataset.action === "resend") this.#chat.resend(ref);
    else if (button.dataset.action === "discard") this.#chat.discard(ref);
  }
}

function together(previous, item) {
  const apart = Math.abs(Date.parse(item.time) - Date.parse(previous.time));
  return previous.sender === item.sender && !previous.event && apart < TOGETHER_MS;
}

function shortened(users) {
  const more = users.length - SEEN_SHOWN;
  return more > 0 ? `${users.slice(0, SEEN_SHOWN).join(", ")} and ${more} more` : users.join(", ");
}

function later(time, other) {
  return other && Date.parse(other) > Date.parse(time) ? other : time;
}

function makeDay() {
  return element("li", { className: "day" }, element("span"));
}

function makeEvent() {
  return element("li", { className: "event", data: { testid: "event" } }, element("bdi"), element("time"));
}

function makeMessage({ isMine, isInRoom, sender, content, ref = "" }) {
  // Of two people everybody knows who speaks; in a room it has to be said.
  const className = isInRoom && !isMine ? "author" : "unseen";
  const author = element("span", { className, dir: "auto" }, isMine ? "You: " : `${sender}: `);
  const state = element("span", { className: "state", role: "img", data: { testid: "state" } });
  const bubble = element(
    "div",
    { className: "bubble" },
    author,
    element("p", { className: "content", dir: "auto", data: { testid: "content" } }, ...linked(content)),
    element("span", { className: "stamp" }, element("time"), ...(isMine ? [state] : [])),
  );
  const sideName = isMine ? "message mine" : "message theirs";
  return element("li", { className: sideName, data: { testid: "message", ref } }, bubble);
}

/** Return a text as nodes. The title of each link says where it leads. */
function linked(text) {
  return findLinks(text).map((part) => {
    if (typeof part === "string") return part;
    const { text: shown, href } = part;
    const rel = "noopener noreferrer";
    return element("a", { href, rel, target: "_blank", title: href, dir: "ltr" }, shown);
  });
}

function fill(row, item) {
  if (item.make === makeDay) {
    setText(row.firstElementChild, dayName(item.time));
    return;
  }
  if (item.make === makeEvent) {
    setText(row.firstElementChild, item.words);
    fillTime(row, item);
    return;
  }
  row.classList.toggle("together", item.isTogether);
  if (item.id) row.dataset.id = item.id;
  row.dataset.state = item.isMine ? item.state : "";
  fillTime(row, item);
  if (item.isMine) fillState(row, item);
  if (item.isMine) fillSeen(row, item);
}

function fillSeen(row, { seen, seenBy }) {
  let node = row.querySelector(".seen");
  if (!seen) return node?.remove();
  if (!node) row.append((node = element("p", { className: "seen muted", data: { testid: "seen" } })));
  setText(node, seen);
  node.title = seenBy;
}

function fillTime(row, item) {
  const time = row.querySelector("time");
  if (time.dateTime === item.time) return;
  time.dateTime = item.time;
  time.title = exactTime(item.time);
  setText(time, timeOfDay(item.time));
}

function fillState(row, { state, failed }) {
  const { symbol, label } = STATES[state];
  const node = row.querySelector(".state");
  setText(node, symbol);
  node.ariaLabel = label;
  node.title = label;
  const failure = row.querySelector(".failure");
  if (state !== "failed") failure?.remove();
  else if (!failure) row.append(makeFailure(failed));
}

function makeFailure(sentence) {
  const button = (text, action) =>
    element("button", { type: "button", className: "quiet", data: { action } }, text);
  return element(
    "div",
    { className: "failure", data: { testid: "failure" } },
    element("p", {}, sentence),
    button("Try again", "resend"),
    button("Discard", "discard"),
  );
}

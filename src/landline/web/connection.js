// One connection to the server that comes back by itself when it is lost.
//
// It knows nothing about messages. Its listener hears of every new session by `opened(welcome)`, and
// must repeat there what an earlier session did not answer.

const SUBPROTOCOL = "landline.v1";

// The server pings after 20 s of silence too, but a page never sees a WebSocket ping.
const PING_AFTER_MS = 20_000;
const PONG_WITHIN_MS = 20_000;
// Browsers wait minutes for a peer that does not answer; people do not.
const WELCOME_WITHIN_MS = 15_000;
const TICK_MS = 1_000;

// Full jitter (Brooker, "Exponential backoff and jitter"): when a server comes back its clients
// return spread over the whole interval, not all at once.
const BACKOFF_FIRST_MS = 250;
const BACKOFF_CAP_MS = 10_000;
// A session that ends sooner did not work; the backoff goes on instead of starting again.
const STABLE_AFTER_MS = 5_000;
// We wait no longer than this, even if a server asks for more.
const RETRY_AFTER_CAP_MS = 60_000;

// Close codes after which an immediate reconnect would get the same answer.
const FAREWELLS = {
  1008: { waitMs: 60_000, text: "Closed by the server: this page broke its rules" },
  1013: { waitMs: 10_000, text: "The server is overloaded" },
  4401: { waitMs: Infinity, text: "The server asks for a sign-in that this page does not have" },
};

export class Connection {
  #url;
  #listener;
  #socket = null;
  #isOpen = false;
  #failures = 0;
  #reconnect = null;
  #startedAt = 0;
  #openedAt = 0;
  #heardAt = 0;
  #pingedAt = null;

  /**
   * `listener` has `opened(welcome)`, `received(frame)`, and `changed({ phase, text })`, where
   * `phase` is "connecting", "online" or "offline".
   */
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
  }

  /** Set where the next session connects. */
  set url(url) {
    this.#url = url;
  }

  get isOpen() {
    return this.#isOpen;
  }

  start() {
    setInterval(() => this.#tick(), TICK_MS);
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    });
    this.connect();
  }

  /** Connect now, without waiting for the backoff. */
  connect() {
    clearTimeout(this.#reconnect);
    this.#reconnect = null;
    if (this.#socket) return;
    this.#startedAt = performance.now();
    if (this.#failures === 0) this.#tell("connecting", "Connecting…");
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    // A socket that was given up may still fire events; they are ignored.
    const ours = (handle) => (event) => this.#socket === socket && handle(event);
    socket.onmessage = ours((event) => this.#hear(event.data));
    socket.onclose = ours((event) => this.#lost(event.code, event.reason));
  }

  /** Hand a frame to the browser; say whether there was a session to take it. */
  send(frame) {
    if (!this.#isOpen || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Give up this session; a new one follows. */
  drop(reason) {
    const socket = this.#socket;
    if (!socket) return;
    // Do not wait for `onclose`: a dead peer never answers, and the browser waits for it.
    this.#lost(1006, reason);
    socket.close();
  }

  #hear(text) {
    this.#heardAt = performance.now();
    this.#pingedAt = null;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.drop("not our protocol");
      return;
    }
    if (frame.type === "welcome") {
      this.#isOpen = true;
      this.#openedAt = performance.now();
      this.#tell("online", "Connected");
      this.#listener.opened(frame);
    } else if (frame.type !== "pong") {
      this.#listener.received(frame);
    }
  }

  #lost(code, reason) {
    const wasStable = this.#isOpen && performance.now() - this.#openedAt > STABLE_AFTER_MS;
    this.#socket = null;
    this.#isOpen = false;
    this.#pingedAt = null;
    const farewell = FAREWELLS[code];
    const waitMs = farewell?.waitMs ?? retryAfterMs(reason) ?? this.#backoffMs(wasStable);
    this.#failures = wasStable ? 1 : this.#failures + 1;
    if (waitMs !== Infinity) this.#reconnect = setTimeout(() => this.connect(), waitMs);
    // The first loss is mostly a restart, over before anybody can read "offline".
    if (farewell) this.#tell("offline", farewell.text);
    else if (this.#failures > 1) this.#tell("offline", "Offline, trying again");
    else this.#tell("connecting", "Connecting…");
  }

  #backoffMs(wasStable) {
    const failures = wasStable ? 0 : this.#failures;
    return Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** failures);
  }

  /** The network is back, or the user looks at the page: do not wait for the backoff. */
  #hurry() {
    if (this.#reconnect !== null) this.connect();
  }

  #tick() {
    const now = performance.now();
    if (!this.#socket) return;
    if (!this.#isOpen) {
      if (now - this.#startedAt > WELCOME_WITHIN_MS) this.drop("no welcome");
    } else if (this.#pingedAt !== null) {
      if (now - this.#pingedAt > PONG_WITHIN_MS) this.drop("no pong");
    } else if (now - this.#heardAt > PING_AFTER_MS) {
      this.#pingedAt = now;
      this.send({ type: "ping" });
    }
  }

  #tell(phase, text) {
    this.#listener.changed({ phase, text });
  }
}

function retryAfterMs(reason) {
  const match = /retry_after_ms=(\d{1,9})/.exec(reason);
  return match ? Math.min(Number(match[1]), RETRY_AFTER_CAP_MS) : null;
}

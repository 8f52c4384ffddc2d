// One connection to the server that comes back by itself when it is lost.
//
// It knows nothing about messages. Its listener hears of every new session by `opened(welcome)`, and
// must repeat there what an earlier session did not answer.

import { renewAfterMs } from "./sign-in.js";

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

// The page that gives tokens could not give a fresh one.
const RENEW_AGAIN_MS = 5_000;

const OVERLOADED = 1013;
const OVERLOADED_MS = 10_000;
// Who is sent away together is told the same time, and would return together. At most so much more.
const OVERLOADED_JITTER = 0.5;

const NOT_AUTHENTICATED = 4401;
// Close codes after which an immediate reconnect would get the same answer.
const FAREWELLS = {
  1008: { waitMs: 60_000, text: "Closed by the server: this page broke its rules" },
  4403: { waitMs: Infinity, text: "Closed by an administrator" },
};
// The server says when to come back only where it is this user's own connections that are too many.
const OVERLOADED_TEXT = "The server is overloaded, trying again";
const TOO_MANY_TEXT = "Connected in too many places, trying again";
const FAREWELL_WITHOUT_SIGN_IN = {
  waitMs: Infinity,
  text: "The server asks for a sign-in that this page does not have",
};
const FAREWELL_TO_A_PASTED_TOKEN = { waitMs: Infinity, text: "Not signed in" };

const OFFLINE = "Offline, trying again";
const NO_TOKEN = "No sign-in from the page around this one, trying again";
const TOKEN_REFUSED = "The server does not take the sign-in, trying again";

export class Connection {
  #url = null;
  #signIn;
  #listener;
  #socket = null;
  #isAwaitingToken = false;
  #isOpen = false;
  #failures = 0;
  #reconnect = null;
  #askedUntil = 0;
  #startedAt = 0;
  #openedAt = 0;
  #heardAt = 0;
  #pingedAt = null;
  #renewAt = Infinity;
  #isRenewing = false;

  /**
   * `signIn` gives the tokens (sign-in.js); null: the server wants none from this page.
   *
   * `listener` has `opened(welcome)`, `received(frame)`, and `changed({ phase, text })`, where
   * `phase` is "connecting", "online" or "offline". It has `signInEnded(wasOpen)`: the server does
   * not take the token, or no longer, and there is no other.
   */
  constructor(signIn, listener) {
    this.#signIn = signIn;
    this.#listener = listener;
  }

  /** Set where the next session connects; call it before `start`. */
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
    if (this.#socket || this.#isAwaitingToken) return;
    if (this.#failures === 0) this.#tell("connecting", "Connecting…");
    if (this.#signIn === null) this.#dial(null);
    else this.#dialWithToken();
  }

  /** The server waits a few seconds only for the token. So it comes before the connection. */
  async #dialWithToken() {
    this.#isAwaitingToken = true;
    const token = await this.#signIn.token().catch(() => null);
    this.#isAwaitingToken = false;
    if (token === null) this.#lost(1006, "", NO_TOKEN);
    else this.#dial(token);
  }

  #dial(token) {
    this.#startedAt = performance.now();
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    // A socket that was given up may still fire events; they are ignored.
    const ours = (handle) => (event) => this.#socket === socket && handle(event);
    if (token !== null) socket.onopen = ours(() => this.#authenticate(token));
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
      this.#listener.opened(frame); // first: it may turn out to be another user's session
      this.#tell("online", "Connected");
    } else if (this.#isRenewing && isAboutToken(frame)) {
      this.#renewed(frame);
    } else if (frame.type !== "pong") {
      this.#listener.received(frame);
    }
  }

  #lost(code, reason, trouble = code === NOT_AUTHENTICATED ? TOKEN_REFUSED : OFFLINE) {
    const wasOpen = this.#isOpen;
    const wasStable = wasOpen && performance.now() - this.#openedAt > STABLE_AFTER_MS;
    this.#socket = null;
    this.#isOpen = this.#isRenewing = false;
    this.#pingedAt = null;
    this.#renewAt = Infinity;
    const askedMs = retryAfterMs(reason);
    const farewell = this.#farewell(code, askedMs);
    const waitMs = farewell?.waitMs ?? askedMs ?? this.#backoffMs(wasStable);
    this.#askedUntil = performance.now() + (askedMs ?? 0);
    this.#failures = wasStable ? 1 : this.#failures + 1;
    if (waitMs !== Infinity) this.#reconnect = setTimeout(() => this.connect(), waitMs);
    // The first loss is mostly a restart, over before anybody can read "offline".
    if (farewell === FAREWELL_TO_A_PASTED_TOKEN) this.#tell("", farewell.text);
    else if (farewell) this.#tell("offline", farewell.text);
    else if (this.#failures > 1) this.#tell("offline", trouble);
    else this.#tell("connecting", "Connecting…");
    if (farewell === FAREWELL_TO_A_PASTED_TOKEN) this.#listener.signInEnded(wasOpen);
  }

  #farewell(code, askedMs) {
    if (code === OVERLOADED) return overloaded(askedMs);
    if (code !== NOT_AUTHENTICATED) return FAREWELLS[code];
    if (this.#signIn === null) return FAREWELL_WITHOUT_SIGN_IN;
    return this.#signIn.isRenewable ? undefined : FAREWELL_TO_A_PASTED_TOKEN;
  }

  #backoffMs(wasStable) {
    const failures = wasStable ? 0 : this.#failures;
    return Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** failures);
  }

  /**
   * The network is back, or the user looks at the page: do not wait for the backoff, but as long as
   * the server has asked for.
   */
  #hurry() {
    if (this.#reconnect !== null && performance.now() >= this.#askedUntil) this.connect();
  }

  // Signing in -----------------------------------------------------------------------------

  #authenticate(token) {
    this.#socket.send(JSON.stringify({ type: "auth", token }));
    if (this.#signIn.isRenewable) this.#renewAt = performance.now() + renewAfterMs(token);
  }

  /** The token ends soon. A session that gets a fresh one goes on. */
  async #renew() {
    const socket = this.#socket;
    this.#renewAt = Infinity;
    const token = await this.#signIn.token().catch(() => null);
    if (this.#socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    if (token === null) {
      this.#renewAt = performance.now() + RENEW_AGAIN_MS;
    } else {
      this.#isRenewing = true;
      this.#authenticate(token);
    }
  }

  #renewed({ type, code }) {
    this.#isRenewing = false;
    if (type === "authenticated") return;
    // "Busy": the server could not check the token now. Otherwise it does not take it.
    if (code === "busy") this.#renewAt = performance.now() + RENEW_AGAIN_MS;
    else this.drop("the fresh token was refused");
  }

  // Inside ---------------------------------------------------------------------------------

  #tick() {
    const now = performance.now();
    if (!this.#socket) return;
    if (this.#isOpen && now >= this.#renewAt) this.#renew();
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

function overloaded(askedMs) {
  const waitMs = (askedMs ?? OVERLOADED_MS) * (1 + Math.random() * OVERLOADED_JITTER);
  return { waitMs, text: askedMs === null ? OVERLOADED_TEXT : TOO_MANY_TEXT };
}

function retryAfterMs(reason) {
  const match = /retry_after_ms=(\d{1,9})/.exec(reason);
  return match ? Math.min(Number(match[1]), RETRY_AFTER_CAP_MS) : null;
}

/** Say whether a frame answers `auth`. An error about anything else has a name, or an outcome. */
function isAboutToken({ type, code, outcome, ref, request }) {
  if (type === "authenticated") return true;
  if (type !== "error" || outcome !== undefined || (ref ?? request) !== undefined) return false;
  return code === "forbidden" || code === "busy";
}

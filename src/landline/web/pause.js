// When sends have to wait: the server is busy, or it wants fewer of them.

const FIRST_MS = 500;
const CAP_MS = 10_000;
// We wait no longer than this, even if a server asks for more.
const ASKED_CAP_MS = 60_000;

export class Pause {
  #onEnd;
  #until = 0;
  #inARow = 0;

  /** `onEnd()` is called when a pause may be over. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
  }

  get isOn() {
    return performance.now() < this.#until;
  }

  /** Wait because the server did not take a message: longer each time. */
  backOff() {
    const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** this.#inARow);
    this.#inARow += 1;
    this.#wait(ceiling * (0.5 + Math.random() / 2));
  }

  /** Wait as long as the server has asked for; return for how long that is. */
  obey(askedMs) {
    const waitMs = Math.min(askedMs, ASKED_CAP_MS);
    this.#wait(waitMs);
    return waitMs;
  }

  /** The server takes messages. */
  relax() {
    this.#inARow = 0;
  }

  /** A new session: what was asked for in another one does not count. */
  end() {
    this.#until = 0;
  }

  #wait(waitMs) {
    this.#until = Math.max(this.#until, performance.now() + waitMs);
    setTimeout(this.#onEnd, waitMs + 1);
  }
}

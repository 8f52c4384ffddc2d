// The field for a message. Its text survives a reload (drafts.js).

import { isComposing } from "./dom.js";

export class Composer {
  #parts;
  #drafts;
  #user = null;
  #partner = null;
  #onSend;
  #excessBytes;

  /**
   * `parts` are the elements `form`, `field`, `button` and `problem`; `drafts` keeps unfinished
   * texts; `onSend(partner, content)` rejects when the message was not taken;
   * `excessBytes(content)` is positive when it is too long.
   */
  constructor(parts, drafts, { onSend, excessBytes }) {
    this.#parts = parts;
    this.#drafts = drafts;
    this.#onSend = onSend;
    this.#excessBytes = excessBytes;
    const { form, field } = parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    field.addEventListener("input", () => this.#changed());
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      this.#send();
    });
  }

  /** Write to this partner, in this user's name. */
  open(user, partner) {
    this.#user = user;
    this.#partner = partner;
    this.#parts.field.value = this.#drafts.read(user, partner);
    this.#changed();
  }

  focus() {
    this.#parts.field.focus();
  }

  async #send() {
    const { field, problem } = this.#parts;
    const [user, partner] = [this.#user, this.#partner];
    const content = field.value.trim();
    if (content === "" || this.#excessBytes(content) > 0) return;
    const sending = this.#drafts.handOver(user, partner, content, () =>
      this.#onSend(partner, content),
    );
    this.#show();
    let trouble = "";
    try {
      await sending;
    } catch (error) {
      trouble = `Not sent. ${error.message}`;
    }
    if (this.#partner !== partner) return;
    this.#show();
    if (trouble !== "") problem.textContent = trouble;
  }

  /** Show the draft. If the field has it already, the cursor stays in its place. */
  #show() {
    const { field } = this.#parts;
    const draft = this.#drafts.read(this.#user, this.#partner);
    if (field.value === draft) return;
    field.value = draft;
    this.#changed();
  }

  #changed() {
    const { field, button, problem } = this.#parts;
    const excess = this.#excessBytes(field.value.trim());
    problem.textContent = excess > 0 ? `Too long by ${excess.toLocaleString()} bytes.` : "";
    button.disabled = excess > 0 || field.value.trim() === "";
    // As high as its text, up to the style sheet's limit. (`field-sizing: content` is too young.)
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
    if (this.#partner !== null) this.#drafts.write(this.#user, this.#partner, field.value);
  }
}

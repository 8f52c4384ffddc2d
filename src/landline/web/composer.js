// Where a message is written. What is being written survives a reload too, per conversation.

import { isComposing } from "./dom.js";
import { recall, remember } from "./tab.js";

export class Composer {
  #parts;
  #partner = null;
  #onSend;
  #excessBytes;

  /**
   * `parts` are the elements `form`, `field`, `button` and `problem`; `onSend(partner, content)`
   * rejects when the message was not taken; `excessBytes(content)` is positive when it is too long.
   */
  constructor(parts, { onSend, excessBytes }) {
    this.#parts = parts;
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

  open(partner) {
    this.#partner = partner;
    this.#parts.field.value = recall(`draft:${partner}`);
    this.#changed();
  }

  focus() {
    this.#parts.field.focus();
  }

  async #send() {
    const { field, problem } = this.#parts;
    const partner = this.#partner;
    const content = field.value.trim();
    if (content === "" || this.#excessBytes(content) > 0) return;
    field.value = "";
    this.#changed();
    try {
      await this.#onSend(partner, content);
    } catch (error) {
      // Nothing is lost: back into the field, unless the user writes to somebody else by now.
      remember(`draft:${partner}`, content);
      if (this.#partner !== partner) return;
      field.value = field.value === "" ? content : `${content}\n${field.value}`;
      this.#changed();
      problem.textContent = `Not sent. ${error.message}`;
    }
  }

  #changed() {
    const { field, button, problem } = this.#parts;
    const excess = this.#excessBytes(field.value.trim());
    problem.textContent = excess > 0 ? `Too long by ${excess.toLocaleString()} bytes.` : "";
    button.disabled = excess > 0 || field.value.trim() === "";
    // As high as its text, up to the style sheet's limit. (`field-sizing: content` is too young.)
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
    if (this.#partner !== null) remember(`draft:${this.#partner}`, field.value);
  }
}

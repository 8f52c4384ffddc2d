// Unfinished texts, per user and partner. They survive a reload.
//
// A message that was sent is part of its draft until the outbox has it, which may take long or fail.
// So at each moment it is in the draft, in the outbox, or for an instant in both.

import { forget, names, recall, remember } from "./tab.js";

const PREFIX = "writing:";

export class Drafts {
  #drafts = new Map(); // key -> { key, text, leaving, isNew }

  read(user, partner) {
    return this.#draft(user, partner).text;
  }

  write(user, partner, text) {
    const draft = this.#draft(user, partner);
    draft.text = text;
    keep(draft);
  }

  /**
   * Empty the draft: `content` is kept elsewhere when `keepElsewhere()` resolves. If it rejects,
   * `content` is in the draft again, before any text that was written meanwhile.
   */
  async handOver(user, partner, content, keepElsewhere) {
    const draft = this.#draft(user, partner);
    const leaving = { content, isBack: false };
    draft.leaving.push(leaving);
    draft.text = "";
    keep(draft);
    try {
      await keepElsewhere();
      draft.leaving.splice(draft.leaving.indexOf(leaving), 1);
    } catch (error) {
      leaving.isBack = true;
      throw error;
    } finally {
      // Together, so that several that come back keep the order in which they were written.
      if (draft.leaving.every(({ isBack }) => isBack)) {
        draft.text = whole(draft);
        draft.leaving = [];
      }
      keep(draft);
    }
  }

  /** Move drafts that were begun in this page to another user. Older drafts of the tab stay. */
  carry(from, to) {
    for (const draft of [...this.#drafts.values()]) {
      const [user, partner] = parse(draft.key);
      if (user !== from || !draft.isNew) continue;
      this.#drafts.delete(draft.key);
      remember(draft.key, "");
      const other = this.#draft(to, partner);
      draft.key = other.key;
      draft.text = joined([other.text, draft.text]);
      this.#drafts.set(draft.key, draft);
      keep(draft);
    }
  }

  #draft(user, partner) {
    const key = PREFIX + JSON.stringify([user, partner]);
    if (!this.#drafts.has(key)) {
      const text = recall(key);
      this.#drafts.set(key, { key, text, leaving: [], isNew: text === "" });
    }
    return this.#drafts.get(key);
  }
}

/** Return how many conversations have a draft of this user in this tab. */
export function countDrafts(user) {
  return draftsOf(user).length;
}

export function forgetDrafts(user) {
  draftsOf(user).forEach(forget);
}

/** Forget everything that the tab remembers, except drafts. */
export function forgetAllButDrafts() {
  names().filter((name) => !name.startsWith(PREFIX)).forEach(forget);
}

function draftsOf(user) {
  return names().filter((name) => name.startsWith(PREFIX) && parse(name)[0] === user);
}

/** Return user and partner of a draft. */
function parse(key) {
  return JSON.parse(key.slice(PREFIX.length));
}

function keep(draft) {
  remember(draft.key, whole(draft));
}

function whole({ leaving, text }) {
  return joined([...leaving.map(({ content }) => content), text]);
}

function joined(texts) {
  return texts.filter((text) => text !== "").join("\n");
}

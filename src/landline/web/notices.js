// What the page has to say besides messages: the connection, trouble, and notices.

import { storageTrouble } from "./chat.js";
import { element, setText } from "./dom.js";
import { recall, remember } from "./tab.js";

const $ = (id) => document.getElementById(id);

/** Run something that needs the storage; tell the user if it does not work. */
export async function guard(action) {
  try {
    await action();
  } catch (error) {
    showTrouble(storageTrouble(error));
  }
}

export function showConnection({ phase, text }) {
  $("connection").dataset.phase = phase;
  setText($("connection-text"), text);
  $("connect-now").hidden = phase !== "offline";
}

export function showTrouble(sentence) {
  setText($("trouble"), sentence);
  $("trouble").hidden = sentence === "";
}

/** Show a notice until the user has seen it. Unlike trouble it does not end by itself. */
export function showNotice(name, sentence) {
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

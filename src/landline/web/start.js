// The card at the start: asks for a name or for a token, and offers to forget what is kept here.

import { tellOtherTabs } from "./chat.js";
import { setText } from "./dom.js";
import { countDrafts, forgetDrafts } from "./drafts.js";
import { nameProblem, tidyName } from "./names.js";
import { guard } from "./notices.js";
import { tidyToken, tokenProblem } from "./sign-in.js";
import { Store } from "./store.js";
import { recall, remember } from "./tab.js";

const $ = (id) => document.getElementById(id);

/** Call `onName(name)` with each name that is typed into the form and could be one. */
export function onNameForm(form, field, problem, onName) {
  onForm(form, field, problem, { tidy: tidyName, problemOf: nameProblem, onValue: onName });
}

/** Ask for a name, and call `onName(name)` with it. */
export function askForName(given, onName) {
  $("start").hidden = $("start-form").hidden = false;
  $("name").value = given;
  if (given !== "") setText($("name-problem"), nameProblem(given));
  $("name").focus();
  if (recall("left") !== "") guard(() => offerToForget(recall("left")));
  onNameForm($("start-form"), $("name"), $("name-problem"), onName);
}

/** Ask for a token, and call `onToken(token)` once with it. `problem`: why another one is needed. */
export function askForToken(problem, onToken) {
  $("start").hidden = $("token-form").hidden = false;
  setText($("token-problem"), problem);
  $("token").focus();
  if (recall("left") !== "") guard(() => offerToForget(recall("left")));
  const answered = new AbortController();
  onForm($("token-form"), $("token"), $("token-problem"), {
    tidy: tidyToken,
    problemOf: tokenProblem,
    signal: answered.signal,
    onValue: (token) => {
      answered.abort();
      $("token").value = "";
      $("start").hidden = true;
      onToken(token);
    },
  });
}

function onForm(form, field, problem, { tidy, problemOf, onValue, signal }) {
  field.addEventListener("input", () => setText(problem, ""), { signal });
  const submitted = (event) => {
    event.preventDefault();
    const value = tidy(field.value);
    setText(problem, problemOf(value));
    if (problemOf(value) === "") onValue(value);
    else field.focus();
  };
  form.addEventListener("submit", submitted, { signal });
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

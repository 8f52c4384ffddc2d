// How this page proves who its user is: not at all, by a token that somebody has pasted, or by tokens
// that the page around this one gives.
//
// A token is never part of an address that is sent. A browser sends no fragment (RFC 9110, section
// 4.2.3), and the token goes to the server as the first frame of a session.

import { forgetAllButDrafts } from "./drafts.js";
import { isEmbedded } from "./place.js";
import { recall, remember } from "./tab.js";

// The page around this one may have to ask its own server first.
const GIVEN_WITHIN_MS = 10_000;
// No server takes a longer one.
const TOKEN_BYTES = 8_000;
// A fresh token is asked for while the old one is still good for a tenth of its life, and for this
// long at least: browsers run the timers of a hidden page once a minute.
const SPARE_MS = 30_000;

const TOO_LONG = `A token has at most ${TOKEN_BYTES.toLocaleString("en")} characters.`;

/** How the server learns who somebody is: "none", "jwt" or "proxy". */
export const AUTH = document.querySelector('meta[name="landline-auth"]').content;

/** A token that somebody has pasted. When it ends there is no other. */
export class PastedToken {
  isRenewable = false;

  constructor(text) {
    this.text = text;
  }

  async token() {
    return this.text;
  }
}

/** Tokens from the `token` function of the page around this one (embed.js). */
export class GivenTokens {
  isRenewable = true;

  /** Return a fresh token. Rejects when the other page gives none. */
  async token() {
    const { port1: here, port2: there } = new MessageChannel();
    const given = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("no answer")), GIVEN_WITHIN_MS);
      here.onmessage = ({ data }) => resolve(data);
    });
    // There is nothing secret in it, and the server's policy says who can be around this page.
    parent.postMessage("landline:token", "*", [there]);
    try {
      const token = await given;
      if (typeof token !== "string" || tokenProblem(token) !== "") throw new Error("no token");
      return token;
    } finally {
      here.close();
    }
  }
}

/**
 * Return where this page gets its tokens from, or null if there is nothing yet. The token of a link,
 * `#token=…`, is gone from the address bar and the history when this returns.
 */
export function findSignIn() {
  const given = takeFragment();
  if (AUTH !== "jwt") return null;
  // The page around this one knows who is signed in. This tab may remember somebody else's token.
  if (isEmbedded) return new GivenTokens();
  if (given !== "") keep(given);
  const kept = recall("token");
  return kept === "" ? null : new PastedToken(kept);
}

/** Return a token as it was copied, without what is often copied with it. */
export function tidyToken(text) {
  return text.trim().replace(/^Bearer\s+/i, "");
}

/** Return why `token` is certainly none, as a sentence, or an empty string. */
export function tokenProblem(token) {
  if (token === "") return "Please paste a token.";
  if (token.length > TOKEN_BYTES) return TOO_LONG;
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return "";
  return "This is no token. A token has three parts with dots between them.";
}

/**
 * Return in how many milliseconds to ask for the next token; Infinity if this one does not say.
 *
 * Nothing is verified here: that is the server's affair. The other page may have had the token for a
 * while, so what counts is the time that is left. The device's clock may be wrong by days: nothing
 * lasts longer than from the token's own `iat` to its `exp`, and a token that the server is about to
 * take has not expired.
 */
export function renewAfterMs(token) {
  const { iat, exp } = payload(token);
  const lives = [exp - Date.now() / 1000, exp - iat].filter((seconds) => seconds > 0);
  if (lives.length === 0) return Infinity;
  const leftMs = Math.min(...lives) * 1000;
  return leftMs - Math.min(Math.max(leftMs / 10, SPARE_MS), leftMs / 2);
}

function payload(token) {
  try {
    const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(base64)) ?? {};
  } catch {
    return {};
  }
}

function takeFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return "";
  history.replaceState(history.state, "", location.pathname + location.search);
  return tidyToken(token);
}

/** Keep a token for reloads of this tab. All else that the tab knows belongs to another user. */
function keep(token) {
  if (token !== recall("token")) forgetAllButDrafts();
  remember("token", token);
}

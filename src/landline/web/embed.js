// Shows the chat within a page of another site. That page imports this file from the chat's server:
//
//   import { start } from "https://chat.example.org/embed.js";
//   start(document.querySelector("#chat"), { token: () => ask("/token") });
//
// The server lets pages of its --allowed-origins do so.

/**
 * Put the chat into the element `place`, and return its frame. Removing the frame ends it.
 *
 * `token()` returns a fresh token for the user who is signed in, or a promise of one. It is called
 * for each session, and before a token ends. `to` is whom to write to at first. `url` is where the
 * chat is, by default where this file came from.
 */
export function start(place, { token, to = "", url = new URL(".", import.meta.url) }) {
  const address = new URL(url, location.href);
  if (to !== "") address.searchParams.set("to", to);
  const frame = document.createElement("iframe");
  Object.assign(frame, { src: address.href, title: "Chat", allow: "clipboard-write" });
  Object.assign(frame.style, { width: "100%", height: "100%", border: "0" });

  const answer = async ({ source, origin, data, ports }) => {
    if (!frame.isConnected) return removeEventListener("message", answer);
    if (source !== frame.contentWindow || origin !== address.origin) return;
    if (data !== "landline:token") return;
    let given = null;
    try {
      given = await token();
    } finally {
      ports[0].postMessage(given);
    }
  };
  addEventListener("message", answer);
  place.append(frame);
  return frame;
}

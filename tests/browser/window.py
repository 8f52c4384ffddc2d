"""A browser window with the chat page, in the words of somebody who uses it."""

import re
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect

# Generous: these are deadlines against hanging, never measurements.
PATIENCE_MS = 30_000

# The browser's own line about a server that is not there; pages cannot keep it from saying so.
NETWORK_NOISE = re.compile(r"WebSocket connection to '[^']*' failed")


class Window:
    """One page. `complaints` collects whatever the browser has to say against it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.is_server_allowed_to_go = False
        self.page.on(
            "console",
            lambda message: (
                self.complaints.append(f"console: {message.text} ({message.location['url']})")
                if message.type in ("error", "warning")
                else None
            ),
        )
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))

    def visit(self, query: str = "") -> None:
        """Open the page; `query` is such as `?as=alice&to=bob`."""
        self.page.goto(f"{self.url}/{query}")

    def check_no_complaints(self) -> None:
        """Fail if the console shows anything that the page is to blame for."""
        complaints = [
            complaint
            for complaint in self.complaints
            if not (self.is_server_allowed_to_go and NETWORK_NOISE.search(complaint))
        ]
        assert not complaints, complaints

    # What the user does ----------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write a message and press Enter."""
        field = self.page.get_by_label("Message", exact=True)
        field.fill(text)
        field.press("Enter")

    def open_conversation(self, partner: str) -> None:
        """Pick somebody from the list."""
        self.conversation(partner).click()

    def open_conversation_with(self, name: str) -> None:
        """Begin a conversation by a name."""
        self.page.get_by_label("Write to").fill(name)
        self.page.get_by_label("Write to").press("Enter")

    def make_room(self, title: str, members: str) -> None:
        """Make a room by the dialog for it."""
        self.page.get_by_role("button", name="New room").click()
        dialog = self.page.get_by_role("dialog", name="New room")
        dialog.get_by_label("Title").fill(title)
        dialog.get_by_label("Members", exact=True).fill(members)
        dialog.get_by_role("button", name="Make the room").click()
        expect(dialog).to_be_hidden()

    def open_room(self) -> Locator:
        """Open the dialog of the open room."""
        self.page.get_by_role("button", name="Members").click()
        return self.page.get_by_role("dialog")

    def scroll_to_the_beginning(self) -> None:
        """Scroll up until there is nothing more."""
        self.page.wait_for_function(
            """() => {
                document.querySelector("#transcript").scrollTop = 0;
                return document.querySelector("#earlier").hidden;
            }"""
        )

    def find_network(self) -> None:
        """Have the browser say that the network is back: the page does not wait any longer."""
        self.page.evaluate("dispatchEvent(new Event('online'))")

    # What the user sees ----------------------------------------------------------------------

    def message(self, text: str) -> Locator:
        """Return the message that says exactly this."""
        content = self.page.get_by_test_id("content").filter(
            has_text=re.compile(f"^{re.escape(text)}$")
        )
        return self.page.get_by_test_id("message").filter(has=content)

    def conversation(self, partner: str) -> Locator:
        """Return somebody's line in the list."""
        return self.page.locator(f'[data-testid="conversation"][data-partner="{partner}"]')

    def conversation_called(self, name: str) -> Locator:
        """Return the line of this name in the list."""
        return self.page.get_by_test_id("conversation").filter(
            has=self.page.locator("[data-part=name]", has_text=re.compile(f"^{re.escape(name)}$"))
        )

    def expect_unread(self, name: str, count: str | None) -> None:
        """Wait until so many are unread in the conversation of this name; None: all are read."""
        expect(self.conversation_called(name)).to_be_visible()
        unread = self.conversation_called(name).get_by_test_id("unread")
        if count is None:
            expect(unread).to_be_hidden()
        else:
            expect(unread).to_have_text(count)

    def expect_all_once(self, count: int) -> None:
        """Wait until so many messages are shown, none of them twice."""
        shown = self.page.get_by_test_id("message")
        expect(shown).to_have_count(count)
        ids = shown.evaluate_all("(rows) => rows.map((row) => row.dataset.id)")
        assert len(set(ids)) == count

    def expect_state(self, text: str, symbol: str) -> None:
        """Wait until the message shows this symbol: … ✓ ✓✓ or !"""
        expect(self.message(text).get_by_test_id("state")).to_have_text(symbol)

    def expect_messages(self, *texts: str) -> None:
        """Wait until the open conversation consists of exactly these, in this order."""
        expect(self.page.get_by_test_id("content")).to_have_text(list(texts))

    def expect_connection(self, text: str) -> None:
        """Wait for a word about the connection."""
        expect(self.page.get_by_role("status")).to_have_text(text)

    def kept(self) -> list[dict[str, Any]]:
        """Return everything that the browser keeps for its users."""
        rows: list[dict[str, Any]] = self.page.evaluate(
            """async () => {
                const answer = (request) => new Promise((resolve) => {
                    request.onsuccess = () => resolve(request.result);
                });
                const database = await answer(indexedDB.open("landline"));
                const names = [...database.objectStoreNames];
                const tx = database.transaction(names);
                const get = (name) => answer(tx.objectStore(name).getAll());
                const all = await Promise.all(names.map(get));
                database.close();
                return all[names.indexOf("messages")].concat(all[names.indexOf("outbox")])
                    .filter(({ user }) => user !== ":browser");
            }"""
        )
        return rows

    def has_horizontal_scroll(self) -> bool:
        """Say whether anything is wider than the window."""
        # Not only the document's own width: what sticks out of a clipped box is lost, not scrolled.
        return bool(
            self.page.evaluate(
                """() => document.documentElement.scrollWidth > innerWidth
                    || [...document.querySelectorAll("body *")].some((node) => {
                        const { left, right } = node.getBoundingClientRect();
                        return left < -1 || right > innerWidth + 1;
                    })"""
            )
        )

    def colours(self, selector: str) -> Mapping[str, tuple[int, int, int]]:
        """Return text and background colour of an element as the browser computed them."""
        style: dict[str, str] = self.page.locator(selector).first.evaluate(
            """(node) => {
                const style = getComputedStyle(node);
                return { color: style.color, background: style.backgroundColor };
            }"""
        )
        return {name: _rgb(value) for name, value in style.items()}


def _rgb(css: str) -> tuple[int, int, int]:
    red, green, blue = re.findall(r"[\d.]+", css)[:3]
    return int(red), int(green), int(blue)

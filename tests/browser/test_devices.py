"""A browser is one device of each of its users, and shows what they send from their others."""

import re

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, accepted, delivered, message, talking
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# A layout of the database is for ever too: pages of earlier builds have to be able to open it.
VERSION = (
    "(async () => (await indexedDB.databases()).map(({ name, version }) => [name, version]))()"
)


def _tab(
    open_window: OpenWindow, beside: Window, user: str = "alice"
) -> tuple[Window, ScriptedServer]:
    window = open_window(None, beside=beside)
    server = ScriptedServer(window.page)
    server.user = user
    window.visit(f"?as={user}&to=bob")
    window.expect_connection("Connected")
    return window, server


# Which device this is --------------------------------------------------------------------------


def test_a_browser_is_one_device_in_all_its_tabs_and_for_ever(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    device = server.query["device"]
    assert UUID.fullmatch(device)
    window.page.reload()
    server.wait_for(lambda: server.sessions == 2)
    assert server.query["device"] == device
    server.close(1012, "retry_after_ms=0")  # and each session of a page
    server.wait_for(lambda: server.sessions == 3)
    assert server.query["device"] == device
    for user in ("alice", "zoe"):
        _other, talk = _tab(open_window, window, user)
        assert talk.query == {"username": user, "device": device}
    _elsewhere, elsewhere = talking(open_window)
    assert elsewhere.query["device"] != device
    assert window.page.evaluate(VERSION) == [["landline", 1]]


def test_on_plain_http_a_browser_makes_one_too(open_window: OpenWindow) -> None:
    _window, server = talking(open_window, "Crypto.prototype.randomUUID = undefined")
    assert UUID.fullmatch(server.query["device"])


def test_pages_that_begin_at_the_same_moment_make_one_device(open_window: OpenWindow) -> None:
    window = open_window()
    devices = window.page.evaluate(
        """async () => {
            const app = document.querySelector("script[src]").src;
            const { Store } = await import(new URL("store.js", app));
            const stores = ["alice", "alice", "zoe", ""].map((user) => new Store(user));
            return Promise.all(stores.map((store) => store.device()));
        }"""
    )
    assert len(devices) == 4
    assert len(set(devices)) == 1


def test_a_server_that_knows_the_user_by_another_name_hears_of_the_same_device(
    open_window: OpenWindow,
) -> None:
    window, server = talking(open_window)
    device = server.query["device"]
    server.user = "alice.miller"
    server.close(1012, "retry_after_ms=0")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice.miller")
    server.close(1012, "retry_after_ms=0")
    server.wait_for(lambda: server.sessions == 3)
    assert server.query == {"username": "alice.miller", "device": device}


def test_who_forgets_the_messages_stays_the_same_device(open_window: OpenWindow) -> None:
    """What comes until the user is back waits for this device."""
    window, server = talking(open_window)
    device = server.query["device"]
    server.push(message("a secret", 1))
    window.expect_messages("a secret")
    window.page.get_by_role("button", name="Leave").click()
    window.page.get_by_role("button", name="Forget them").click()
    expect(window.page.locator("#kept")).to_contain_text("They are forgotten on this device.")
    assert window.kept() == []
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    assert server.query["device"] == device


def test_without_room_for_a_device_the_page_waits_for_it(open_window: OpenWindow) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.clock.install()
    window.page.add_init_script(
        """const put = IDBObjectStore.prototype.put;
        window.isFull = true;
        IDBObjectStore.prototype.put = function (...values) {
            if (window.isFull) throw new DOMException("full", "QuotaExceededError");
            return put.apply(this, values);
        }"""
    )
    window.visit("?as=alice")
    expect(window.page.locator("#trouble")).to_contain_text("storage is full")
    window.page.clock.run_for(30_000)
    assert server.sessions == 0, "it would be another device next time"
    window.page.evaluate("window.isFull = false")
    window.page.clock.run_for(6_000)
    window.expect_connection("Connected")
    expect(window.page.locator("#trouble")).to_be_hidden()
    assert UUID.fullmatch(server.query["device"])


# Tabs ------------------------------------------------------------------------------------------


def test_what_one_tab_has_received_and_acknowledged_is_in_all(open_window: OpenWindow) -> None:
    """The server owes it to the device, so it does not come again to a tab that was away."""
    first, server = talking(open_window)
    second, other = _tab(open_window, first)
    live = message("to both", 1)
    for talk in (server, other):
        talk.push(live)
    other.close(1008)  # this tab stays away for a minute
    server.push(message("to the first one", 2))
    server.wait_for(lambda: len(server.acknowledged()) == 2)
    for window in (first, second):
        window.expect_messages("to both", "to the first one")
    # Two tabs of this user were told of it, and it counts once.
    first.open_conversation("bob")
    assert len(first.kept()) == 2


# What is sent from another device --------------------------------------------------------------


def test_what_i_sent_from_another_device_is_mine_here_and_no_news(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    mine = message("from my phone", 1, sender="alice", to="carol")
    server.push(mine)
    server.wait_for(lambda: server.acknowledged() == [mine["id"]])
    item = window.conversation("carol")
    expect(item.locator("[data-part=preview]")).to_have_text("You: from my phone")
    expect(item.get_by_test_id("unread")).to_be_hidden()
    expect(window.page).to_have_title("Landline")
    window.open_conversation("carol")
    window.expect_state("from my phone", "✓")
    expect(window.message("from my phone")).to_have_class("message mine")

    server.push(message("news", 2, sender="carol"))
    window.open_conversation("bob")
    server.push(message("more news", 3, sender="carol"))
    expect(item.get_by_test_id("unread")).to_have_text("1")
    expect(window.page).to_have_title("(1) Landline")
    # To write elsewhere is not to read here.
    server.push(message("an answer", 4, sender="alice", to="carol"))
    expect(item.locator("[data-part=preview]")).to_have_text("You: an answer")
    expect(item.get_by_test_id("unread")).to_have_text("1")


def test_what_i_sent_from_another_device_stands_in_the_order_of_the_log(
    open_window: OpenWindow,
) -> None:
    window, server = talking(open_window)
    window.say("from here")
    server.wait_for(lambda: len(server.of_type("send")) == 1)
    server.push(message("answer", 3), message("from my phone", 1, sender="alice", to="bob"))
    server.push(accepted(server.of_type("send")[0], 2))
    window.expect_messages("from my phone", "from here", "answer")
    window.page.reload()
    window.expect_messages("from my phone", "from here", "answer")


@pytest.mark.parametrize("is_early", [True, False])
def test_its_delivery_is_shown_here_too(open_window: OpenWindow, is_early: bool) -> None:
    """A delivery is told to all sessions of the sender, and may come before the message."""
    window, server = talking(open_window)
    mine = message("from my phone", 1, sender="alice", to="bob")
    frames = [mine, delivered(mine["id"])]
    server.push(*(reversed(frames) if is_early else frames))
    window.expect_state("from my phone", "✓✓")
    window.page.reload()
    window.expect_state("from my phone", "✓✓")

"""What the browser keeps: where it may not, not for good, and until somebody leaves."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, message, talking

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

# How browsers deny a page its storage, by setting, by private window, or by mistake.
THROWS = """Object.defineProperty(window, {!r}, {{
    get() {{ throw new DOMException("denied", "SecurityError") }}
}})"""

UNDEFINED = "Object.defineProperty(window, {!r}, {{ value: undefined }})"

NULL = "Object.defineProperty(window, {!r}, {{ value: null }})"

METHOD = "{}.prototype.{} = () => {{ throw new DOMException('denied', '{}') }}"

NO_DATABASE = {
    "its name throws": THROWS.format("indexedDB"),
    "undefined": UNDEFINED.format("indexedDB"),
    "null": NULL.format("indexedDB"),
    "open throws": METHOD.format("IDBFactory", "open", "SecurityError"),
    "open fails": """{
        const open = IDBFactory.prototype.open;
        IDBFactory.prototype.open = function (name) {
            open.call(this, name, 5).onsuccess = ({ target }) => target.result.close();
            return open.call(this, name, 1); // an older version than that is refused
        };
    }""",
    "open never answers": "IDBFactory.prototype.open = () => ({})",
    "no transaction": METHOD.format("IDBDatabase", "transaction", "InvalidStateError"),
}

NO_TAB_STORAGE = {
    "its name throws": THROWS.format("sessionStorage"),
    "undefined": UNDEFINED.format("sessionStorage"),
    "null": NULL.format("sessionStorage"),
    "everything throws": ";".join(
        METHOD.format("Storage", name, "SecurityError")
        for name in ("getItem", "setItem", "removeItem")
    ),
    "everything is blocked": ";".join(
        THROWS.format(name) for name in ("sessionStorage", "localStorage", "caches", "cookieStore")
    ),
}

NOT_ESSENTIAL = {
    "no channel": UNDEFINED.format("BroadcastChannel"),
    "the channel throws": """window.BroadcastChannel = class {
        constructor() { throw new DOMException("denied", "SecurityError") }
    }""",
    "no storage manager": "Object.defineProperty(navigator, 'storage', { value: undefined })",
    "the storage manager throws": METHOD.format("StorageManager", "persisted", "SecurityError"),
    "the storage manager rejects": (
        "StorageManager.prototype.persist = () => Promise.reject(Error())"
    ),
}


@pytest.mark.parametrize("script", NO_DATABASE.values(), ids=NO_DATABASE)
def test_without_a_database_there_is_a_sentence_and_no_session(
    open_window: OpenWindow, script: str
) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.clock.install()
    window.page.add_init_script(script)
    window.visit()
    window.page.get_by_label("Your name").fill("alice")
    window.page.get_by_role("button", name="Start").click()
    window.page.clock.run_for(60_000)
    trouble = window.page.locator("#trouble")
    expect(trouble).to_contain_text("This browser")
    expect(trouble).to_contain_text("store")
    expect(window.page.locator("#notices")).to_be_empty()
    window.expect_connection("Not connected")
    # The page is alive: a conversation opens, and what is written stays in its field.
    window.page.get_by_label("Write to").fill("bob")
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_test_id("partner-name")).to_have_text("bob")
    window.say("not lost")
    window.page.clock.run_for(60_000)
    expect(window.page.locator("#content-problem")).to_contain_text("Not sent")
    expect(window.page.get_by_label("Message", exact=True)).to_have_value("not lost")
    assert server.sessions == 0, "what is pushed could not be acknowledged"


def test_a_database_that_comes_back_is_used(open_window: OpenWindow) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.clock.install()
    window.page.add_init_script(
        """const open = IDBFactory.prototype.open;
        window.isBlocked = true;
        IDBFactory.prototype.open = function (...values) {
            if (window.isBlocked) throw new DOMException("denied", "SecurityError");
            return open.apply(this, values);
        }"""
    )
    window.visit("?as=alice&to=bob")
    expect(window.page.locator("#trouble")).to_be_visible()
    window.page.evaluate("window.isBlocked = false")
    window.page.clock.run_for(6_000)
    window.expect_connection("Connected")
    expect(window.page.locator("#trouble")).to_be_hidden()
    server.push(message("hello", 1))
    window.expect_messages("hello")


@pytest.mark.parametrize("script", NO_TAB_STORAGE.values(), ids=NO_TAB_STORAGE)
def test_a_page_that_cannot_remember_the_tab_says_so_and_works(
    open_window: OpenWindow, script: str
) -> None:
    window, server = talking(open_window, script)
    expect(window.page.locator("#notices")).to_contain_text("does not let this page remember")
    server.push(message("hello", 1))
    window.expect_messages("hello")
    # Within the page drafts are kept all the same.
    window.page.get_by_label("Message", exact=True).fill("half a sen")
    window.page.get_by_label("Write to").fill("carol")
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_label("Message", exact=True)).to_have_value("")
    window.open_conversation("bob")
    expect(window.page.get_by_label("Message", exact=True)).to_have_value("half a sen")
    window.page.get_by_role("button", name="Leave").click()
    expect(window.page.get_by_label("Your name")).to_have_value("")


@pytest.mark.parametrize("script", NOT_ESSENTIAL.values(), ids=NOT_ESSENTIAL)
def test_what_is_only_nice_to_have_may_be_missing(open_window: OpenWindow, script: str) -> None:
    window, server = talking(open_window, script)
    server.push(message("hello", 1))
    window.expect_messages("hello")


PERSIST = """
window.asked = 0;
StorageManager.prototype.persisted = async () => {before};
StorageManager.prototype.persist = async () => {{ window.asked += 1; return {answer} }};
"""


@pytest.mark.parametrize(
    ("before", "answer", "asked", "is_told"),
    [("false", "false", 1, True), ("false", "true", 1, False), ("true", "false", 0, False)],
)
def test_the_browser_is_asked_to_keep_everything_and_a_refusal_is_shown(
    open_window: OpenWindow, before: str, answer: str, asked: int, is_told: bool
) -> None:
    window, _server = talking(open_window, PERSIST.format(before=before, answer=answer))
    window.page.wait_for_function("asked => window.asked === asked", arg=asked)
    notice = window.page.locator("#notices").get_by_text("may delete the messages")
    expect(notice).to_have_count(int(is_told))
    if is_told:
        window.page.locator("#notices").get_by_role("button", name="OK").click()
        expect(notice).to_have_count(0)
        window.page.reload()  # who has read it need not read it again
        window.expect_connection("Connected")
        window.page.wait_for_function("window.asked === 1")
        expect(notice).to_have_count(0)


def test_a_user_who_leaves_may_have_the_messages_forgotten(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    server.push(message("a secret", 1))
    window.expect_messages("a secret")
    window.say("not sent yet")
    window.expect_state("not sent yet", "…")
    # Somebody else's are nobody's business.
    server.user = "zoe"
    window.visit("?as=zoe&to=bob")
    window.expect_connection("Connected")
    server.push(message("for zoe", 2, to="zoe"))
    window.expect_messages("for zoe")

    server.user = "alice"
    window.visit("?as=alice&to=bob")
    window.expect_messages("a secret", "not sent yet")
    tab = open_window(None, beside=window)
    other = ScriptedServer(tab.page)
    other.user = "alice"
    tab.visit("?as=alice&to=bob")
    tab.expect_messages("a secret", "not sent yet")
    window.page.get_by_role("button", name="Leave").click()
    offer = window.page.locator("#kept")
    expect(offer).to_contain_text("2 messages of alice are kept on this device.")
    expect(offer).to_contain_text("Not sent yet: 1.")
    offer.get_by_role("button", name="Forget them").click()
    expect(offer).to_contain_text("They are forgotten on this device.")
    tab.expect_messages()
    tab.page.close()
    assert [row["user"] for row in window.kept()] == ["zoe"]
    window.page.reload()
    expect(offer).to_be_hidden()

    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    window.expect_messages()


def test_a_user_who_leaves_may_keep_the_messages(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    server.push(message("kept", 1))
    window.expect_messages("kept")
    window.page.get_by_role("button", name="Leave").click()
    offer = window.page.locator("#kept")
    expect(offer).to_contain_text("One message of alice is kept on this device.")
    offer.get_by_role("button", name="Keep them").click()
    window.page.get_by_label("Your name").fill("alice")
    window.page.keyboard.press("Enter")
    window.open_conversation("bob")
    window.expect_messages("kept")

"""What the browser keeps: blocked, not for good, and with a clock that is wrong by days."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, accepted, message
from browser.window import Window

pytestmark = pytest.mark.browser

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

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
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.add_init_script(script)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
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
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.add_init_script(script)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    server.push(message("hello", 1))
    window.expect_messages("hello")


PERSIST = """
window.asked = 0;
StorageManager.prototype.persisted = async () => {before};
StorageManager.prototype.persist = async () => {{ window.asked += 1; return {answer} }};
"""


@pytest.mark.parametrize(
    ("before", "answer", "asked", "is_told"),
    [
        ("false", "false", 1, True),
        ("false", "true", 1, False),
        ("true", "false", 0, False),
    ],
)
def test_the_browser_is_asked_to_keep_everything_and_a_refusal_is_shown(
    open_window: OpenWindow, before: str, answer: str, asked: int, is_told: bool
) -> None:
    window = open_window(None)
    ScriptedServer(window.page)
    window.page.add_init_script(PERSIST.format(before=before, answer=answer))
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
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


def test_who_leaves_may_have_the_messages_forgotten(open_window: OpenWindow) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
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
    assert [row["user"] for row in _rows(window)] == ["zoe"]
    window.page.reload()
    expect(offer).to_be_hidden()

    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    window.expect_messages()


def test_who_leaves_may_keep_the_messages(open_window: OpenWindow) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
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


@pytest.mark.parametrize("days", [-400, -6, 0, 6, 400])
def test_the_list_is_in_the_order_of_the_log_whatever_the_clock_says(
    open_window: OpenWindow, days: int
) -> None:
    window, server = _window_with_clock(open_window, days)
    window.say("written first")  # by a clock that is wrong
    server.wait_for(lambda: len(server.of_type("send")) == 1)
    _expect_list(window, ["bob"])
    server.push(accepted(server.of_type("send")[0], 1, _at(0)))
    window.expect_state("written first", "✓")
    server.push(message("later", 2, "carol", time=_at(1)))
    _expect_list(window, ["carol", "bob"])
    window.page.get_by_label("Write to").fill("dave")
    window.page.keyboard.press("Enter")
    _expect_list(window, ["dave", "carol", "bob"])
    server.push(message("later still", 3, "bob", time=_at(2)))
    _expect_list(window, ["bob", "dave", "carol"])
    server.push(message("an old one that comes late", 4, "erin", time=_at(-1)))
    _expect_list(window, ["bob", "dave", "carol", "erin"])

    # The clock is put right: nothing moves, and what comes then is the first.
    window.page.clock.set_system_time(NOW)
    server.push(message("now", 5, "carol", time=_at(3)))
    _expect_list(window, ["carol", "bob", "dave", "erin"])
    window.page.reload()
    _expect_list(window, ["carol", "bob", "dave", "erin"])


@pytest.mark.parametrize("days", [-6, 6])
def test_messages_stand_in_the_order_of_their_offsets_under_their_own_days(
    open_window: OpenWindow, days: int
) -> None:
    window, server = _window_with_clock(open_window, days)
    server.push(message("one", 1, time=_at(0)), message("two", 2, time=_at(1)))
    window.say("three")
    server.wait_for(lambda: len(server.of_type("send")) == 1)
    window.expect_messages("one", "two", "three")
    if days < 0:  # not before what was there when it was written
        expect(window.page.locator(".day")).to_have_count(1)
    server.push(accepted(server.of_type("send")[0], 3, _at(2)), message("four", 4, time=_at(3)))
    window.expect_messages("one", "two", "three", "four")
    expect(window.page.locator(".day")).to_have_count(1)
    expect(window.page.locator(".day")).to_contain_text("1 March 2026")


# Fewer than a browser keeps, or the test would take minutes.
FEW = 40


@pytest.mark.parametrize("days", [-400, -6, 6, 400])
def test_the_oldest_by_the_log_go_first_whatever_the_clock_said(
    open_window: OpenWindow, days: int
) -> None:
    """A clock that was ahead would make everything that comes later the first to be dropped."""
    window, server = _window_with_clock(open_window, days, keeps=FEW)
    _receive(window, server, range(1, 31))
    window.page.clock.set_system_time(NOW)
    _receive(window, server, range(31, 61))
    window.page.reload()  # it looks for too many once when it starts, and now and then
    _receive(window, server, [61])
    assert _offsets(window) == list(range(22, 62))


def test_times_of_an_earlier_release_are_corrected(open_window: OpenWindow) -> None:
    window, server = _window_with_clock(open_window, 0, keeps=FEW)
    _receive(window, server, range(1, 31))
    window.page.evaluate(
        """async (kept) => {
            const database = await new Promise((resolve) => {
                indexedDB.open("landline").onsuccess = ({ target }) => resolve(target.result);
            });
            const tx = database.transaction(["messages", "conversations"], "readwrite");
            for (const [name, change] of Object.entries({
                messages: (row) => ({ ...row, kept }),
                conversations: ({ at, ...row }) => ({ ...row, active: kept }),
            })) {
                tx.objectStore(name).openCursor().onsuccess = ({ target: { result: cursor } }) => {
                    cursor?.update(change(cursor.value));
                    cursor?.continue();
                };
            }
            await new Promise((resolve) => (tx.oncomplete = resolve));
            database.close();
        }""",
        (NOW + timedelta(days=400)).timestamp() * 1000,
    )
    window.page.reload()
    _receive(window, server, range(31, 61))
    server.push(message("newer", 62, "carol", time=_at(100)))
    _expect_list(window, ["carol", "bob"])
    window.page.reload()
    _receive(window, server, [63], "carol")
    assert _offsets(window) == [*range(23, 61), 62, 63]


@pytest.mark.parametrize("is_hidden", [False, True])
def test_today_is_yesterday_after_midnight(open_window: OpenWindow, is_hidden: bool) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.clock.install(time=datetime(2026, 3, 1, 22, 58, tzinfo=UTC))  # 23:58 in Berlin
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    server.push(
        message("the day before", 1, time="2026-02-28T12:00:00.000Z"),
        message("before midnight", 2, time="2026-03-01T22:57:00.000Z"),
    )
    days = window.page.locator(".day")
    expect(days).to_have_text(["Yesterday", "Today"])
    when = window.conversation("bob").locator(".when")
    expect(when).to_have_text("23:57")
    if is_hidden:  # the computer sleeps; no timer runs
        window.page.clock.set_system_time(datetime(2026, 3, 2, 6, tzinfo=UTC))
    window.page.clock.run_for(4 * 60_000)
    expect(days).to_have_text(["Saturday, 28 February 2026", "Yesterday"])
    expect(when).to_have_text("Yesterday")
    window.expect_connection("Connected")  # in minutes without a pong it may have connected again
    server.push(message("after midnight", 3, time="2026-03-01T23:02:00.000Z"))
    expect(days).to_have_text(["Saturday, 28 February 2026", "Yesterday", "Today"])


def _window_with_clock(
    open_window: OpenWindow, days: int, keeps: int | None = None
) -> tuple[Window, ScriptedServer]:
    """Return a window whose clock is wrong by `days`, and that keeps few messages."""
    window = open_window(None)
    server = ScriptedServer(window.page)
    if keeps is not None:

        def fewer(route: Any) -> None:
            response = route.fetch()
            route.fulfill(response=response, body=response.text().replace("10_000", str(keeps)))

        window.page.route("**/store.js", fewer)
    window.page.clock.set_system_time(NOW + timedelta(days=days))
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    return window, server


def _at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _receive(
    window: Window, server: ScriptedServer, offsets: Sequence[int], sender: str = "bob"
) -> None:
    window.expect_connection("Connected")
    before = len(server.acknowledged())
    server.push(*(message(f"number {one}", one, sender, time=_at(one)) for one in offsets))
    server.wait_for(lambda: len(server.acknowledged()) == before + len(offsets))


def _expect_list(window: Window, partners: list[str]) -> None:
    items = window.page.get_by_test_id("conversations").locator(".name")
    expect(items).to_have_text(partners)


def _rows(window: Window) -> list[dict[str, Any]]:
    """Return everything that the browser keeps."""
    rows: list[dict[str, Any]] = window.page.evaluate(
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
            return all[names.indexOf("messages")].concat(all[names.indexOf("outbox")]);
        }"""
    )
    return rows


def _offsets(window: Window) -> list[int]:
    return sorted(row["offset"] for row in _rows(window))

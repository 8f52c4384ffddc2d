"""The order of what the browser keeps, with a clock that is wrong by days."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, accepted, message
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("days", [-400, -6, 0, 6, 400])
def test_the_list_is_in_the_order_of_the_log_whatever_the_clock_says(
    open_window: OpenWindow, days: int
) -> None:
    window, server = _window_with_clock(open_window, days)
    window.say("written first")  # by a clock that is wrong
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
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
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
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


def _offsets(window: Window) -> list[int]:
    return sorted(row["offset"] for row in window.kept())

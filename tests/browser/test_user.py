"""The server says who the user is; what was typed is a wish."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, accepted, message
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]


def test_the_name_is_the_one_of_the_welcome(open_window: OpenWindow) -> None:
    window, server = _window(open_window, "alice.miller")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice.miller")
    expect(window.page.locator("#notices")).to_contain_text("The server knows you as alice.miller.")
    # Whose messages are whose follows from it.
    mine = message("said on my phone", 1, sender="alice.miller", to="bob")
    server.push(mine, message("from bob", 2, to="alice.miller"))
    window.expect_messages("said on my phone", "from bob")
    expect(window.message("said on my phone")).to_have_class("message mine")
    server.wait_for(lambda: len(server.acknowledged()) == 2)

    window.page.reload()
    server.wait_for(lambda: server.sessions >= 2)
    assert server.query["username"] == "alice.miller"
    window.expect_messages("said on my phone", "from bob")


def test_what_was_written_before_the_welcome_is_sent_under_the_right_name(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window, None)
    for text in ("one", "two"):
        window.say(text)
        window.expect_state(text, "…")
    server.user = "alice.miller"
    server.welcome()
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    server.push(accepted(server.of_type("send")[0], 1))
    server.wait_for(lambda: len(server.of_type("send")) >= 2)
    server.push(accepted(server.of_type("send")[1], 2))
    for text in ("one", "two"):
        window.expect_state(text, "✓")
    assert all("retry" not in send for send in server.of_type("send"))
    # Nothing of it is left with the other name, to be sent once more.
    server.user = "alice"
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    window.expect_messages()


def test_somebody_else_in_the_next_session_gets_nothing_of_the_one_before(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window, "alice")
    window.say("alice's own")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    server.push(message("to alice", 1))
    window.expect_messages("to alice", "alice's own")
    server.user = "mallory"
    server.close(1012, "retry_after_ms=1")
    expect(window.page.get_by_test_id("my-name")).to_have_text("mallory")
    window.expect_messages()
    server.push(message("to mallory", 2, to="mallory"))
    window.expect_messages("to mallory")
    assert len(server.of_type("send")) == 1, "nobody sends in another's name"

    server.user = "alice"
    server.close(1012, "retry_after_ms=1")
    server.wait_for(lambda: len(server.of_type("send")) >= 2)
    assert server.of_type("send")[1]["retry"] is True
    window.expect_messages("to alice", "alice's own")


def _window(open_window: OpenWindow, user: str | None) -> tuple[Window, ScriptedServer]:
    """Return a window of somebody who said "alice", and a server that says who that is."""
    window = open_window(None)
    server = ScriptedServer(window.page)
    server.user = user
    window.visit("?as=alice&to=bob")
    if user is not None:
        window.expect_connection("Connected")
    return window, server

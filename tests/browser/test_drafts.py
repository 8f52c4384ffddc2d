"""What is being written: it is the writer's alone, and at no moment nowhere."""

import pytest
from playwright.sync_api import Locator, expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, message, talking
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

NO_ANSWER = "IDBFactory.prototype.open = () => ({})"
PATIENCE_MS = 20_000  # how long the page waits for a database that does not answer
SECRET = "alice's secret draft"


def test_nobody_else_gets_a_draft_when_the_session_becomes_theirs(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    _field(window).fill(SECRET)
    server.user = "mallory"
    server.close(1012, "retry_after_ms=1")
    expect(window.page.get_by_test_id("my-name")).to_have_text("mallory")
    expect(_field(window)).to_have_value("")
    _field(window).press("Enter")
    window.say("mallory's own")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    _field(window).fill("another")

    server.user = "alice"
    server.close(1012, "retry_after_ms=1")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice")
    expect(_field(window)).to_have_value(SECRET)
    assert {send["content"] for send in server.of_type("send")} == {"mallory's own"}


@pytest.mark.parametrize("more", ["", " and more"])
def test_nobody_else_gets_a_draft_by_a_reload(open_window: OpenWindow, more: str) -> None:
    window, server = talking(open_window)
    _field(window).fill(SECRET)
    server.user = None
    window.page.reload()
    expect(_field(window)).to_have_value(SECRET)
    _field(window).fill(SECRET + more)
    server.wait_for(lambda: server.sessions >= 2)
    server.user = "mallory"
    server.welcome()
    expect(window.page.get_by_test_id("my-name")).to_have_text("mallory")
    expect(_field(window)).to_have_value("")
    window.page.reload()
    window.expect_connection("Connected")
    expect(_field(window)).to_have_value("")


def test_a_draft_from_before_the_first_welcome_goes_to_the_user_it_names(
    open_window: OpenWindow,
) -> None:
    window = open_window(None)
    server = ScriptedServer(window.page)
    server.user = None
    window.visit("?as=alice&to=bob")
    _field(window).fill("half a sen")
    server.wait_for(lambda: server.sessions >= 1)
    server.user = "alice.miller"
    server.welcome()
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice.miller")
    expect(_field(window)).to_have_value("half a sen")
    window.page.reload()
    window.expect_connection("Connected")
    expect(_field(window)).to_have_value("half a sen")


def test_what_is_sent_is_in_its_draft_until_it_is_on_the_disk(open_window: OpenWindow) -> None:
    window = _without_database(open_window)
    window.say("A")
    expect(_field(window)).to_have_value("")
    window.say("B")
    _field(window).fill("C")
    window.page.reload()
    expect(_field(window)).to_have_value("A\nB\nC")


def test_what_was_not_sent_comes_back_in_order_and_takes_the_place_of_nothing(
    open_window: OpenWindow,
) -> None:
    window = _without_database(open_window)
    window.say("A")
    window.say("B")
    _field(window).fill("C, longer")
    _write_to(window, "carol")
    expect(_field(window)).to_have_value("")
    window.page.clock.run_for(2 * PATIENCE_MS)
    expect(_field(window)).to_have_value("")
    _write_to(window, "bob")
    expect(_field(window)).to_have_value("A\nB\nC, longer")
    window.say("D")
    window.page.clock.run_for(2 * PATIENCE_MS)
    expect(window.page.locator("#content-problem")).to_contain_text("Not sent")
    expect(_field(window)).to_have_value("D")
    window.page.reload()
    expect(_field(window)).to_have_value("D")


def test_a_draft_ends_when_it_is_sent(open_window: OpenWindow) -> None:
    window, _server = talking(open_window)
    window.say("sent")
    window.expect_state("sent", "…")
    expect(_field(window)).to_have_value("")
    window.page.reload()
    window.expect_messages("sent")
    expect(_field(window)).to_have_value("")


@pytest.mark.parametrize("choice", ["Keep them", "Forget them"])
def test_a_user_who_leaves_is_asked_about_drafts(open_window: OpenWindow, choice: str) -> None:
    window, _server = talking(open_window)
    _field(window).fill(SECRET)
    window.page.get_by_role("button", name="Leave").click()
    offer = window.page.locator("#kept")
    expect(offer).to_contain_text("One draft of alice is kept on this device.")
    offer.get_by_role("button", name=choice).click()
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    expect(_field(window)).to_have_value(SECRET if choice == "Keep them" else "")


def test_a_user_who_leaves_is_told_how_much_there_is(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    server.push(message("kept", 1))
    window.expect_messages("kept")
    for partner in ("bob", "carol"):
        _write_to(window, partner)
        _field(window).fill("half a sen")
    window.page.get_by_role("button", name="Leave").click()
    expect(window.page.locator("#kept")).to_contain_text(
        "One message and 2 drafts of alice are kept on this device."
    )


def test_a_link_for_somebody_else_leaves_drafts_where_they_are(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    _field(window).fill(SECRET)
    server.user = "zoe"
    window.visit("?as=zoe&to=bob")
    window.expect_connection("Connected")
    expect(_field(window)).to_have_value("")
    server.user = "alice"
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    expect(_field(window)).to_have_value(SECRET)


def _without_database(open_window: OpenWindow) -> Window:
    window = open_window(None)
    ScriptedServer(window.page)
    window.page.clock.install()
    window.page.add_init_script(NO_ANSWER)
    window.visit("?as=alice&to=bob")
    expect(window.page.get_by_test_id("partner-name")).to_have_text("bob")
    return window


def _field(window: Window) -> Locator:
    return window.page.get_by_label("Message", exact=True)


def _write_to(window: Window, partner: str) -> None:
    window.page.get_by_label("Write to").fill(partner)
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_test_id("partner-name")).to_have_text(partner)

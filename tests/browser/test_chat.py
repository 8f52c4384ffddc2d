"""Two people chat in two windows, and the server dies on them."""

import signal

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.window import Window
from support.server import ServerProcess

pytestmark = pytest.mark.browser


def test_two_windows_chat_both_ways(open_window: OpenWindow) -> None:
    alice = open_window()
    alice.page.get_by_label("Your name").fill("alice")
    alice.page.get_by_role("button", name="Start").click()
    alice.expect_connection("Connected")
    alice.page.get_by_label("Write to").fill("bob")
    alice.page.keyboard.press("Enter")
    alice.say("Is anybody there?")
    alice.expect_state("Is anybody there?", "✓")  # nobody is: accepted, not delivered

    bob = open_window("?as=bob")
    expect(bob.conversation("alice").get_by_test_id("unread")).to_have_text("1")
    alice.expect_state("Is anybody there?", "✓✓")
    bob.open_conversation("alice")
    expect(bob.conversation("alice").get_by_test_id("unread")).to_be_hidden()
    bob.say("Loud and clear.")
    bob.expect_state("Loud and clear.", "✓✓")
    alice.say("Good.")
    alice.expect_state("Good.", "✓✓")

    for window in (alice, bob):
        window.expect_messages("Is anybody there?", "Loud and clear.", "Good.")


def test_a_message_that_waits_for_a_killed_server_goes_out_once(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    alice.say("before")
    alice.expect_state("before", "✓✓")

    server.kill()
    for window in (alice, bob):
        window.expect_connection("Offline, trying again")
    alice.say("while it was dead")
    alice.expect_state("while it was dead", "…")
    server.start()

    alice.expect_state("while it was dead", "✓✓")
    alice.say("after")
    alice.expect_state("after", "✓✓")
    for window in (alice, bob):
        window.expect_messages("before", "while it was dead", "after")
        window.expect_connection("Connected")


def test_a_send_whose_answer_was_lost_is_repeated_and_stored_once(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    alice.say("before")
    alice.expect_state("before", "✓✓")

    # A stopped process still takes bytes: the send leaves the page, and no answer ever comes.
    server.signal(signal.SIGSTOP)
    alice.say("into the void")
    alice.expect_state("into the void", "…")
    server.kill()
    _restart(server, alice, bob)

    alice.expect_state("into the void", "✓✓")
    alice.say("after")
    alice.expect_state("after", "✓✓")
    bob.expect_messages("before", "into the void", "after")


def test_a_reload_keeps_what_was_said_and_what_was_not_sent(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    alice.say("one")
    alice.expect_state("one", "✓✓")  # before the other one speaks
    bob.say("two")
    alice.expect_messages("one", "two")
    alice.expect_state("one", "✓✓")
    alice.page.get_by_label("Message", exact=True).fill("half a sen")
    alice.page.reload()
    alice.expect_messages("one", "two")
    alice.expect_state("one", "✓✓")
    expect(alice.page.get_by_label("Message", exact=True)).to_have_value("half a sen")

    server.kill()
    alice.expect_connection("Offline, trying again")
    alice.say("three")
    alice.expect_state("three", "…")
    alice.page.goto("about:blank")  # the window is gone while nobody could take the message
    _restart(server, bob)
    alice.visit()
    alice.expect_state("three", "✓✓")
    for window in (alice, bob):
        window.expect_messages("one", "two", "three")


def test_the_recipients_window_may_be_gone_too(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    bob.expect_connection("Connected")
    bob.page.goto("about:blank")
    texts = [f"line {number}" for number in range(12)]
    for text in texts:
        alice.say(text)
    alice.expect_state(texts[-1], "✓")
    server.kill()
    alice.expect_connection("Offline, trying again")
    _restart(server, alice)
    alice.expect_connection("Connected")  # deliveries are told to those who are there
    bob.visit()
    bob.expect_messages(*texts)
    alice.expect_state(texts[-1], "✓✓")
    bob.page.reload()
    bob.expect_messages(*texts)


def test_two_tabs_of_one_user_show_the_same_and_send_once(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    second = open_window("?as=alice&to=bob", beside=alice)
    second.is_server_allowed_to_go = True
    alice.expect_connection("Connected")
    second.expect_connection("Connected")
    alice.say("from the first tab")
    second.expect_state("from the first tab", "✓✓")
    bob.say("to both")
    for window in (alice, second):
        window.expect_messages("from the first tab", "to both")

    server.kill()
    for window in (alice, second):
        window.expect_connection("Offline, trying again")
    alice.say("waiting in the first")
    alice.expect_state("waiting in the first", "…")  # it is kept, so the other tab's comes after it
    second.say("waiting in the second")
    waiting = ("waiting in the first", "waiting in the second")
    for window in (alice, second):
        window.expect_messages("from the first tab", "to both", *waiting)
    _restart(server, alice, second, bob)

    alice.expect_state("waiting in the second", "✓✓")
    alice.say("the end")
    alice.expect_state("the end", "✓✓")
    for window in (alice, second, bob):
        window.expect_messages("from the first tab", "to both", *waiting, "the end")


def test_what_a_closed_tab_left_behind_is_sent_by_the_next_one(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    alice, bob = _pair(open_window)
    server.kill()
    alice.expect_connection("Offline, trying again")
    alice.say("my last words")
    alice.expect_state("my last words", "…")
    alice.page.close()
    _restart(server, bob)

    other = open_window("?as=alice&to=bob", beside=alice)
    other.expect_state("my last words", "✓✓")
    bob.expect_messages("my last words")


def test_a_message_to_oneself_is_shown_once(open_window: OpenWindow) -> None:
    alice = open_window("?as=alice&to=alice")
    for text in ("milk", "bread"):
        alice.say(text)
        alice.expect_state(text, "✓✓")
    alice.expect_messages("milk", "bread")
    expect(alice.conversation("alice")).to_contain_text("alice (you)")
    alice.page.reload()
    alice.expect_messages("milk", "bread")


def test_whatever_is_written_is_shown_as_text(open_window: OpenWindow) -> None:
    alice, bob = _pair(open_window)
    texts = [
        "<img src=x onerror=document.title='owned'>",
        "<script>document.title='owned'</script>",
        "&lt;b&gt; ${1} {{2}} \\u0041",
        "שלום and 你好 and \N{GRINNING FACE}",
    ]
    for text in texts:
        alice.say(text)
    alice.expect_state(texts[-1], "✓✓")
    for window in (alice, bob):
        window.expect_messages(*texts)
        expect(window.page.get_by_test_id("messages").locator("img, script, b")).to_have_count(0)
        expect(window.page).to_have_title("Landline")


def test_names_that_the_server_would_refuse_are_explained(open_window: OpenWindow) -> None:
    window = open_window()
    name = window.page.get_by_label("Your name")
    problem = window.page.locator("#name-problem")
    for wrong, sentence in {
        "two words": "A name has no spaces.",
        "a/b": "A name has no “:” and no “/”.",
        "ü" * 33: "A name has at most 64 bytes.",
    }.items():
        name.fill(wrong)
        name.press("Enter")
        expect(problem).to_have_text(sentence)
    # One spelling, however it was typed: here the two dots are a character of their own.
    name.fill(" ju\N{LATIN SMALL LETTER U}\N{COMBINING DIAERESIS}rgen ")
    name.press("Enter")
    window.expect_connection("Connected")
    expect(window.page.get_by_test_id("my-name")).to_have_text(
        "ju\N{LATIN SMALL LETTER U WITH DIAERESIS}rgen"
    )


def test_leaving_gives_the_tab_back(open_window: OpenWindow) -> None:
    window = open_window("?as=alice&to=bob")
    window.expect_connection("Connected")
    assert "alice" not in window.page.url  # an address is passed on easily
    window.page.get_by_role("button", name="Leave").click()
    expect(window.page.get_by_label("Your name")).to_have_value("")
    window.page.reload()
    expect(window.page.get_by_label("Your name")).to_be_focused()


def _restart(server: ServerProcess, *windows: Window) -> None:
    """Start the server again; the windows need not wait for their next try."""
    server.start()
    for window in windows:
        window.find_network()


def _pair(open_window: OpenWindow) -> tuple[Window, Window]:
    alice = open_window("?as=alice&to=bob")
    bob = open_window("?as=bob&to=alice")
    alice.is_server_allowed_to_go = bob.is_server_allowed_to_go = True
    for window in (alice, bob):
        window.expect_connection("Connected")
    return alice, bob

"""The page keeps its side of the protocol, whatever the server answers."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import Frame, ScriptedServer, accepted, delivered, message
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

# Makes the browser's storage refuse to write while `window.isStorageFull` is set.
FULL_STORAGE = """
for (const name of ["put", "add"]) {
  const original = IDBObjectStore.prototype[name];
  IDBObjectStore.prototype[name] = function (...values) {
    if (window.isStorageFull) throw new DOMException("no room", "QuotaExceededError");
    return original.apply(this, values);
  };
}
"""


def test_messages_are_acknowledged_shown_once_and_in_the_order_of_their_offsets(
    open_window: OpenWindow,
) -> None:
    alice, server = _alice(open_window)
    first, second, third = (message(text, offset) for offset, text in enumerate("abc", 1))
    server.push(third, first, second, first)
    alice.expect_messages("a", "b", "c")
    server.wait_for(lambda: len(server.acknowledged()) == 4)

    server.close(1012, "retry_after_ms=1")
    server.wait_for(lambda: server.sessions >= 2)
    server.push({**second, "replay": True}, {"type": "caught_up", "replayed": 1})
    server.wait_for(lambda: len(server.acknowledged()) == 5)
    assert server.acknowledged()[-1] == second["id"]
    alice.page.reload()
    alice.expect_messages("a", "b", "c")


def test_a_message_that_could_not_be_stored_is_not_acknowledged(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window, has_own_clock=True)
    trouble = alice.page.get_by_role("alert").filter(has_text="storage is full")
    alice.page.evaluate("window.isStorageFull = true")
    server.push(message("too much", 1))
    expect(trouble).to_be_visible()
    alice.say("mine")  # cannot be kept either: it goes back into the field, and not to the server
    expect(alice.page.get_by_label("Message", exact=True)).to_have_value("mine")
    expect(alice.page.locator("#content-problem")).to_contain_text("Not sent")
    assert server.acknowledged() == []
    assert server.of_type("send") == []

    alice.page.evaluate("window.isStorageFull = false")
    alice.page.clock.run_for(6_000)
    alice.expect_messages("too much")
    server.wait_for(lambda: len(server.acknowledged()) == 1)
    expect(trouble).to_be_hidden()


def test_a_delivery_that_overtakes_its_answer_counts(open_window: OpenWindow) -> None:
    def answer(send: Frame) -> None:
        frame = accepted(send, 1)
        server.push(delivered(frame["id"]), frame)

    alice, server = _alice(open_window, answer)
    alice.say("quick")
    alice.expect_state("quick", "✓✓")
    alice.page.reload()
    alice.expect_state("quick", "✓✓")


def test_the_first_try_is_none_and_every_other_is_a_retry(open_window: OpenWindow) -> None:
    def answer(send: Frame) -> None:
        tries = len(server.of_type("send"))
        if tries == 1:
            server.push(_error(send, "busy", "rejected"))
        elif tries == 2:
            server.push(_error(send, "unavailable", "unknown"))
        elif tries == 3:
            server.close(1011)
        else:
            server.accept(send, 1)

    alice, server = _alice(open_window, answer)
    alice.say("again and again")
    alice.expect_state("again and again", "✓")
    sends = server.of_type("send")
    assert [send.get("retry", False) for send in sends] == [False, True, True, True]
    assert len({send["ref"] for send in sends}) == 1


def test_a_repeat_that_is_refused_for_good_is_given_up_in_the_end(open_window: OpenWindow) -> None:
    """Though nobody can say that its first try is not in the log."""

    def answer(send: Frame) -> None:
        if len(server.of_type("send")) == 1:
            server.close(1011)
        else:
            server.push(_error(send, "forbidden", "unknown"))

    alice, server = _alice(open_window, answer)
    alice.say("is it there?")
    alice.expect_state("is it there?", "!")
    failure = alice.message("is it there?").get_by_test_id("failure")
    expect(failure).to_contain_text("An earlier try may have been sent.")
    assert len(server.of_type("send")) == 4


def test_a_message_that_never_left_the_page_is_no_retry(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window, lambda send: None)
    server.close(4401)
    alice.expect_connection("The server asks for a sign-in that this page does not have")
    alice.say("written offline")
    alice.expect_state("written offline", "…")
    assert server.sessions == 1
    alice.page.reload()
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    assert "retry" not in server.of_type("send")[0]
    # Now it has left, and nobody answered: from here on it is one.
    alice.page.reload()
    server.wait_for(lambda: len(server.of_type("send")) >= 2)
    assert server.of_type("send")[1]["retry"] is True


def test_messages_of_a_conversation_leave_one_after_the_other(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    texts = ["first", "second", "third"]
    for text in texts:
        alice.say(text)
    for number, text in enumerate(texts, 1):
        server.wait_for(lambda text=text: text in _contents(server))  # type: ignore[misc]
        assert list(dict.fromkeys(_contents(server))) == texts[:number]
        alice.expect_state(text, "…")
        server.accept(server.of_type("send")[-1], number)
        alice.expect_state(text, "✓")
    alice.expect_messages(*texts)


def test_a_rejected_message_can_be_sent_again_or_discarded(open_window: OpenWindow) -> None:
    is_strict = True

    def answer(send: Frame) -> None:
        if is_strict:
            server.push(_error(send, "bad_recipient", "rejected"))
        else:
            server.accept(send, len(server.received))

    alice, server = _alice(open_window, answer)
    for text in ("one", "two"):
        alice.say(text)
        alice.expect_state(text, "!")
    failure = alice.message("one").get_by_test_id("failure")
    expect(failure).to_contain_text("The server does not take this name as a recipient.")
    alice.page.reload()
    alice.expect_state("one", "!")

    is_strict = False
    failure.get_by_role("button", name="Try again").click()
    alice.expect_state("one", "✓")
    alice.message("two").get_by_role("button", name="Discard").click()
    alice.expect_messages("one")
    alice.page.reload()
    alice.expect_messages("one")


def test_what_no_frame_can_hold_never_leaves_the_page(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    field = alice.page.get_by_label("Message", exact=True)
    field.fill("ä" * (8 * 1024 + 1))
    expect(alice.page.locator("#content-problem")).to_have_text("Too long by 2 bytes.")
    expect(alice.page.get_by_role("button", name="Send")).to_be_disabled()
    field.press("Enter")
    # 16 KiB of control characters: allowed as content, but a frame of 96 KiB once escaped.
    field.fill("x" + "\x01" * (16 * 1024 - 2) + "x")
    field.press("Enter")
    expect(alice.page.get_by_test_id("failure")).to_contain_text("too long for the server")
    assert server.of_type("send") == []


def test_it_comes_back_when_the_server_said(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    server.close(1012, "retry_after_ms=60")
    server.wait_for(lambda: server.sessions >= 2)
    alice.expect_connection("Connected")


def test_it_stays_away_when_coming_back_is_no_use_and_says_why(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    server.close(1008, "too many bad frames in a row")
    alice.expect_connection("Closed by the server: this page broke its rules")
    alice.page.get_by_role("button", name="Try now").click()
    alice.expect_connection("Connected")
    assert server.sessions == 2


def test_a_silent_server_is_pinged_and_then_given_up(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window, has_own_clock=True)
    alice.page.clock.run_for(22_000)
    server.wait_for(lambda: len(server.of_type("ping")) >= 1)
    alice.page.clock.run_for(22_000)
    server.wait_for(lambda: len(server.of_type("ping")) >= 2)
    assert server.sessions == 1

    server.answers_pings = False
    alice.page.clock.run_for(22_000)
    server.wait_for(lambda: len(server.of_type("ping")) >= 3)
    alice.page.clock.run_for(35_000)
    # Or more: to this clock a busy machine is late with its welcome.
    server.wait_for(lambda: server.sessions >= 2)


def test_a_server_that_answers_pings_but_no_sends_is_left(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window, has_own_clock=True)
    alice.say("hello?")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    server.on_send = lambda send: server.push(accepted(send, 1))
    alice.page.clock.run_for(30_000)
    server.wait_for(lambda: len(server.of_type("send")) >= 2)
    assert server.sessions >= 2  # or more: to this clock a busy machine is late with its welcome
    assert server.of_type("send")[1]["retry"] is True
    alice.expect_state("hello?", "✓")


def test_a_reader_of_old_messages_is_not_moved(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    server.push(*(message(f"number {offset}", offset) for offset in range(1, 151)))
    server.wait_for(lambda: len(server.acknowledged()) == 150)
    last = alice.message("number 150")
    expect(last).to_be_in_viewport()
    alice.page.reload()
    expect(last).to_be_in_viewport()
    expect(alice.page.get_by_test_id("message")).to_have_count(100)

    alice.scroll_to_the_beginning()
    alice.expect_messages(*(f"number {offset}" for offset in range(1, 151)))
    alice.message("number 1").scroll_into_view_if_needed()
    newer = alice.page.get_by_role("button", name="New messages")
    expect(newer).to_be_hidden()
    server.push(message("number 151", 151))
    expect(newer).to_be_visible()
    expect(alice.message("number 1")).to_be_in_viewport()
    expect(alice.conversation("bob").get_by_test_id("unread")).to_have_text("1")
    newer.click()
    expect(alice.message("number 151")).to_be_in_viewport()
    expect(newer).to_be_hidden()
    expect(alice.conversation("bob").get_by_test_id("unread")).to_be_hidden()


def _alice(
    open_window: OpenWindow, on_send: object = None, *, has_own_clock: bool = False
) -> tuple[Window, ScriptedServer]:
    window = open_window(None)
    server = ScriptedServer(window.page, on_send)  # type: ignore[arg-type]
    window.page.add_init_script(FULL_STORAGE)
    if has_own_clock:
        window.page.clock.install()
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    return window, server


def _contents(server: ScriptedServer) -> list[str]:
    return [send["content"] for send in server.of_type("send")]


def _error(send: Frame, code: str, outcome: str) -> Frame:
    ref = send["ref"]
    return {"type": "error", "code": code, "message": "no", "outcome": outcome, "ref": ref}

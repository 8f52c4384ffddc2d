"""Enter that picks a word of an input method does not send; the next one does."""

from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import Frame, ScriptedServer, accepted
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

Event = dict[str, Any]

ENTER = {"type": "keydown", "key": "Enter", "code": "Enter"}
START: Event = {"type": "compositionstart"}
END: Event = {"type": "compositionend"}
# How browsers and input methods report the Enter that picks a word.
ORDERS: dict[str, list[Event]] = {
    "Chrome, Firefox": [START, {**ENTER, "keyCode": 229, "isComposing": True}, END],
    "composing, but with the code of Enter": [
        START,
        {**ENTER, "keyCode": 13, "isComposing": True},
        END,
    ],
    "Safari: the composition ends first": [START, END, {**ENTER, "keyCode": 229}],
    "no composition is reported": [{**ENTER, "keyCode": 229}],
    "twice": [
        START,
        {**ENTER, "keyCode": 229, "isComposing": True},
        {**ENTER, "keyCode": 229, "isComposing": True},
        END,
    ],
}

DISPATCH = """(field, events) => {
  for (const { type, ...rest } of events) {
    const Kind = type === "keydown" ? KeyboardEvent : CompositionEvent;
    field.dispatchEvent(new Kind(type, { bubbles: true, cancelable: true, ...rest }));
  }
}"""


@pytest.mark.parametrize("events", ORDERS.values(), ids=ORDERS)
def test_the_enter_of_an_input_method_does_not_send(
    open_window: OpenWindow, events: list[Event]
) -> None:
    alice, server = _alice(open_window)
    field = alice.page.get_by_label("Message", exact=True)
    field.fill("日本語")
    field.evaluate(DISPATCH, events)
    expect(field).to_have_value("日本語")
    field.press("Enter")
    alice.expect_state("日本語", "✓")
    assert [frame["content"] for frame in server.of_type("send")] == ["日本語"]


def test_a_phone_that_ends_the_composition_with_the_enter_key_sends(
    open_window: OpenWindow,
) -> None:
    """Android composes every word; its Enter comes with its own code, at once."""
    alice, server = _alice(open_window)
    field = alice.page.get_by_label("Message", exact=True)
    field.fill("hello")
    field.evaluate(DISPATCH, [START, END, {**ENTER, "keyCode": 13}])
    alice.expect_state("hello", "✓")
    assert len(server.of_type("send")) == 1


def test_a_composition_of_the_browser_itself(open_window: OpenWindow) -> None:
    alice, server = _alice(open_window)
    field = alice.page.get_by_label("Message", exact=True)
    field.focus()
    devtools = alice.context.new_cdp_session(alice.page)
    composed = {"selectionStart": 2, "selectionEnd": 2, "text": "にほ"}
    devtools.send("Input.imeSetComposition", composed)
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    devtools.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    devtools.send("Input.insertText", {"text": "日本"})
    devtools.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    expect(field).to_have_value("日本")
    field.press("Enter")
    alice.expect_state("日本", "✓")
    assert [frame["content"] for frame in server.of_type("send")] == ["日本"]


@pytest.mark.parametrize("event", [{"keyCode": 229}, {"keyCode": 27, "isComposing": True}])
def test_escape_that_gives_up_a_word_does_not_leave_the_conversation(
    open_window: OpenWindow, event: Event
) -> None:
    alice, _ = _alice(open_window)
    field = alice.page.get_by_label("Message", exact=True)
    field.focus()
    field.evaluate(DISPATCH, [{**ENTER, "key": "Escape", "code": "Escape", **event}])
    expect(field).to_be_focused()
    expect(alice.page.locator("#desk")).to_have_attribute("data-screen", "conversation")


def _alice(open_window: OpenWindow) -> tuple[Window, ScriptedServer]:
    window = open_window(None)
    server = ScriptedServer(window.page)

    def answer(send: Frame) -> None:
        server.push(accepted(send, len(server.received)))

    server.on_send = answer
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    return window, server

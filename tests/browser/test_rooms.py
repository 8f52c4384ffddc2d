"""A room is a conversation of its own on the page: messages, what happens in it, answers."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import DAY, Frame, talking

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"


def in_room(kind: str, offset: int, **more: object) -> Frame:
    """Return what is pushed to members of the room."""
    return {
        "type": kind,
        "id": f"2214be8f-d5fb-8ff7-adf5-{offset:012x}",
        "conversation": ROOM,
        "sender": "bob",
        "time": f"{DAY}T09:00:00.000Z",
        "offset": offset,
        **more,
    }


def test_a_room_is_a_conversation_with_its_events(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    frames = [
        in_room("message", 1, content="hi all"),
        in_room("room", 2, title="Lunch"),
        in_room("member", 3, user="zoe", change="add", role="member"),
        in_room("message", 4, sender="zoe", content="hello"),
    ]
    server.push(frames[0])
    expect(window.conversation(ROOM)).to_contain_text(ROOM)
    server.push(*frames[1:])
    expect(window.conversation(ROOM)).to_contain_text("Lunch")
    server.wait_for(lambda: server.acknowledged() == [frame["id"] for frame in frames])
    window.conversation(ROOM).click()
    window.expect_messages("hi all", "hello")
    expect(window.page.get_by_test_id("partner-name")).to_have_text("Lunch")
    expect(window.page.get_by_test_id("event").locator("bdi")).to_have_text(
        ["bob called this room “Lunch”", "bob added zoe"]
    )
    window.page.reload()
    expect(window.page.get_by_test_id("partner-name")).to_have_text("Lunch")


def test_what_is_sent_into_a_room_names_the_conversation(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    server.push(in_room("message", 1, content="hi all"))
    window.conversation(ROOM).click()
    window.say("hi bob")
    server.wait_for(lambda: len(server.of_type("send")) == 1)
    [send] = server.of_type("send")
    assert (send["conversation"], send["content"], "to" in send) == (ROOM, "hi bob", False)
    accepted = in_room("accepted", 5, ref=send["ref"])
    server.push(accepted)
    window.expect_state("hi bob", "✓")

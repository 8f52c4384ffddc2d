"""What the page asks a server, and what it does with answers that come late, or never."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import DAY, Frame, ScriptedServer, message, talking
from browser.window import Window

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
WITH_BOB = "dm:alice:bob"


def listed(conversation: str, offset: int, **more: object) -> Frame:
    """Return a line of the server's list."""
    return {
        "conversation": conversation, "kind": "direct", "title": None, "role": None,
        "offset": offset, "time": f"{DAY}T09:00:00.000Z", "preview": "the last words",
        "read_offset": 0, "unread": 0, **more,
    }  # fmt: skip


def answer_list(server: ScriptedServer, *items: Frame, number: int = 0) -> None:
    """Answer a question for the list, once it has come."""
    server.wait_for(lambda: len(server.of_type("list")) > number)
    request = server.of_type("list")[number]["request"]
    server.push({"type": "conversations", "request": request, "items": list(items)})


def with_own_clock(open_window: OpenWindow) -> tuple[Window, ScriptedServer]:
    """Return a window in which alice talks to bob, and whose time the test makes."""
    window = open_window(None)
    server = ScriptedServer(window.page)
    window.page.clock.install()
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    return window, server


def was_read(offset: int, user: str = "alice") -> Frame:
    """Return what the server says of a mark."""
    return {"type": "read", "conversation": WITH_BOB, "entries": [[user, offset]]}


# The list ----------------------------------------------------------------------------------------


def test_what_has_come_since_the_list_counts_as_well_and_nothing_twice(
    open_window: OpenWindow,
) -> None:
    window, server = talking(open_window)
    unread = window.conversation("carol").get_by_test_id("unread")
    # Of these the list has the first two; the third has come meanwhile, before the answer.
    for offset in (1, 2, 3):
        server.push(message(f"number {offset}", offset, sender="carol"))
    expect(unread).to_have_text("3")
    answer_list(server, listed("dm:alice:carol", 2, unread=7))
    expect(unread).to_have_text("8")
    server.push(message("an old one", 1, sender="carol"), message("number 4", 4, sender="carol"))
    expect(unread).to_have_text("9")
    expect(window.page).to_have_title("(9) Landline")
    expect(window.conversation("carol")).to_contain_text("number 4")


def test_the_words_of_the_list_are_shown_until_there_are_later_ones(
    open_window: OpenWindow,
) -> None:
    window, server = talking(open_window)
    room = listed(ROOM, 5, kind="room", title="Lunch", role="member", unread=100)
    answer_list(server, listed("dm:alice:carol", 2), room)
    expect(window.conversation("carol")).to_contain_text("the last words")
    expect(window.conversation("carol").get_by_test_id("unread")).to_be_hidden()
    window.expect_unread("Lunch", "99+")
    expect(window.conversation(ROOM)).to_contain_text("the last words")
    server.push(message("later", 3, sender="carol"))
    expect(window.conversation("carol")).to_contain_text("later")


def test_a_list_of_several_pages_is_asked_for_to_its_end(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    server.wait_for(lambda: len(server.of_type("list")) == 1)
    [first] = server.of_type("list")
    items = [listed("dm:alice:carol", 2)]
    server.push(
        {"type": "conversations", "request": first["request"], "items": items, "next": "here"}
    )
    answer_list(server, listed("dm:alice:dave", 1), number=1)
    assert server.of_type("list")[1]["after"] == "here"
    expect(window.conversation("dave")).to_be_visible()
    expect(window.conversation("carol")).to_be_visible()


def test_a_conversation_is_named_in_the_order_of_code_points(open_window: OpenWindow) -> None:
    """In that of UTF-16 units, which is JavaScript's, the two would stand the other way round."""
    window = open_window(None)
    server = ScriptedServer(window.page)
    server.user = "\U0001d11e"
    window.visit("?as=\U0001d11e&to=\ua4d0")
    server.wait_for(lambda: bool(server.of_type("history")))
    assert server.of_type("history")[0]["conversation"] == "dm:\ua4d0:\U0001d11e"
    window.page.close()
    window = open_window(None)
    server = ScriptedServer(window.page)
    server.user = "\U0001d11e"
    window.visit("?as=\U0001d11e&to=\uff5e")
    server.wait_for(lambda: bool(server.of_type("history")))
    assert server.of_type("history")[0]["conversation"] == "dm:\uff5e:\U0001d11e"


def test_a_server_of_an_earlier_version_is_not_asked_again(open_window: OpenWindow) -> None:
    window, server = with_own_clock(open_window)
    server.wait_for(lambda: bool(server.of_type("list") and server.of_type("history")))
    refusal = {"type": "error", "code": "unknown_type", "message": "unknown frame type"}
    server.push(refusal, refusal, message("hello", 1))
    window.expect_messages("hello")
    server.push(message("news", 2, sender="carol"))
    expect(window.conversation("carol").get_by_test_id("unread")).to_have_text("1")
    before = len(server.of_type("read") + server.of_type("list") + server.of_type("history"))
    window.page.clock.run_for(15_000)
    window.say("still here")
    server.wait_for(lambda: bool(server.of_type("send")))
    after = len(server.of_type("read") + server.of_type("list") + server.of_type("history"))
    assert after == before
    expect(window.page.locator("#trouble")).to_be_hidden()


# Marks -------------------------------------------------------------------------------------------


def test_a_mark_is_repeated_until_it_comes_back(open_window: OpenWindow) -> None:
    window, server = with_own_clock(open_window)
    server.push(message("hello", 5))
    server.wait_for(lambda: len(server.of_type("read")) == 1)
    assert server.of_type("read") == [{"type": "read", "conversation": WITH_BOB, "offset": 5}]
    window.page.clock.run_for(7_000)
    server.wait_for(lambda: len(server.of_type("read")) == 2)
    window.page.reload()  # the store remembers
    server.wait_for(lambda: len(server.of_type("read")) == 3)
    assert {frame["offset"] for frame in server.of_type("read")} == {5}
    server.push(was_read(5))
    window.page.clock.run_for(120_000)
    window.page.reload()
    window.expect_messages("hello")
    window.say("the last frame")
    server.wait_for(lambda: bool(server.of_type("send")))
    assert len(server.of_type("read")) == 3


def test_what_another_device_has_read_is_read_here(open_window: OpenWindow) -> None:
    window, server = talking(open_window)
    window.open_conversation_with("carol")
    unread = window.conversation("bob").get_by_test_id("unread")
    server.push(message("one", 1), message("two", 2), message("three", 3))
    expect(unread).to_have_text("3")
    lists = len(server.of_type("list"))
    # How much of the rest is unread, only the server can say.
    server.push(was_read(2))
    answer_list(server, number=lists - 1)
    answer_list(server, listed(WITH_BOB, 3, unread=1, read_offset=2), number=lists)
    expect(unread).to_have_text("1")
    server.push(was_read(3))
    expect(unread).to_be_hidden()
    server.push(was_read(3), was_read(9, user="bob"), message("four", 4))
    expect(unread).to_have_text("1")
    assert not server.of_type("read")


# Changes of rooms --------------------------------------------------------------------------------


def test_a_room_without_an_answer_is_asked_for_again_and_made_once(
    open_window: OpenWindow,
) -> None:
    window, server = talking(open_window)
    window.page.get_by_role("button", name="New room").click()
    dialog = window.page.get_by_role("dialog", name="New room")
    dialog.get_by_label("Title").fill("Lunch")
    dialog.get_by_label("Members", exact=True).fill("bob,carol")
    dialog.get_by_label("Members may read").uncheck()
    dialog.get_by_role("button", name="Make the room").click()
    server.wait_for(lambda: len(server.of_type("create")) == 1)
    server.close(1012, "retry_after_ms=0")
    server.wait_for(lambda: len(server.of_type("create")) == 2)
    first, second = server.of_type("create")
    assert second == {**first, "retry": True}
    assert (first["title"], first["members"], first["history"]) == (
        "Lunch", ["bob", "carol"], "joined",
    )  # fmt: skip
    refusal = {"type": "error", "message": "", "ref": first["ref"]}
    server.push({**refusal, "code": "unavailable", "outcome": "unknown"})
    server.wait_for(lambda: len(server.of_type("create")) == 3)
    expect(dialog).to_be_visible()
    accepted = {
        "type": "accepted", "ref": first["ref"], "id": ROOM.removeprefix("room:"),
        "conversation": ROOM, "offset": 1, "time": f"{DAY}T09:00:00.000Z",
    }  # fmt: skip
    server.push(accepted)
    expect(dialog).to_be_hidden()
    expect(window.page.get_by_test_id("partner-name")).to_have_text("Lunch")
    expect(window.page.get_by_test_id("event").locator("bdi")).to_have_text(
        ["You called this room “Lunch”"]
    )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("room_full", "The room has as many members as one may have."),
        ("forbidden", "In this chat only the product makes rooms."),
        ("bad_frame", "The server refused this: because"),
    ],
)
def test_a_room_that_is_refused_says_why(open_window: OpenWindow, code: str, sentence: str) -> None:
    window, server = talking(open_window)
    window.page.get_by_role("button", name="New room").click()
    dialog = window.page.get_by_role("dialog", name="New room")
    dialog.get_by_role("button", name="Make the room").click()
    server.wait_for(lambda: len(server.of_type("create")) == 1)
    [create] = server.of_type("create")
    assert "title" not in create
    refusal = {"type": "error", "code": code, "message": "because", "outcome": "rejected"}
    server.push({**refusal, "ref": create["ref"]})
    expect(dialog.get_by_role("alert")).to_have_text(sentence)
    expect(dialog.get_by_role("button", name="Make the room")).to_be_enabled()

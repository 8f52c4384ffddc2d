"""Two people with two browsers each, and what one expects of a chat: rooms, history, unread."""

import re

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from landline_stack.proxy import Proxy
from support.server import ServerProcess

pytestmark = pytest.mark.browser

MANY = 130  # more than a page of history


def test_two_people_with_two_browsers_each_share_a_room(
    open_window: OpenWindow, server: ServerProcess
) -> None:
    """One of the browsers loses the network, comes back, and reads what it has missed."""
    with Proxy("train", server.port) as line:
        laptop, phone = (open_window("?as=alice") for _ in range(2))
        desk, train = open_window("?as=bob"), open_window(None)
        train.url = f"http://127.0.0.1:{line.port}"
        train.is_server_allowed_to_go = True
        train.visit("?as=bob")
        for window in (laptop, phone, desk, train):
            window.expect_connection("Connected")

        laptop.make_room("Lunch", "bob")
        expect(laptop.page.get_by_test_id("partner-name")).to_have_text("Lunch")
        laptop.say("where do we go?")
        laptop.expect_state("where do we go?", "✓")
        for bob in (desk, train):  # that she has made the room is news as well
            bob.expect_unread("Lunch", "2")
        phone.expect_unread("Lunch", None)
        phone.conversation_called("Lunch").click()
        phone.expect_messages("where do we go?")
        expect(phone.message("where do we go?")).to_have_class("message mine")

        # Bob reads on one of his browsers, and everybody knows.
        desk.conversation_called("Lunch").click()
        desk.expect_messages("where do we go?")
        for bob in (desk, train):
            bob.expect_unread("Lunch", None)
        for alice in (laptop, phone):
            expect(alice.page.get_by_test_id("seen")).to_have_text("Seen by bob")

        # What he says on one of them is his on the other, and no news there.
        desk.say("the place at the river")
        expect(train.conversation_called("Lunch")).to_contain_text("You: the place at the river")
        train.expect_unread("Lunch", None)
        desk.open_conversation_with("carol")

        # One of them loses the network while alice goes on.
        line.silence()
        for number in range(MANY):
            laptop.say(f"number {number}")
        laptop.expect_state(f"number {MANY - 1}", "✓")
        desk.expect_unread("Lunch", "99+")
        train.expect_unread("Lunch", None)
        line.cut()
        train.expect_unread("Lunch", "99+")
        train.conversation_called("Lunch").click()
        expect(train.message(f"number {MANY - 1}")).to_be_visible()
        for bob in (desk, train):
            bob.expect_unread("Lunch", None)
        train.scroll_to_the_beginning()
        expect(train.message("where do we go?")).to_be_visible()
        train.expect_all_once(MANY + 2)


def test_a_new_browser_has_the_list_and_pages_of_history(open_window: OpenWindow) -> None:
    alice = open_window("?as=alice&to=bob")
    for number in range(MANY):
        alice.say(f"number {number}")
    bob = open_window("?as=bob&to=alice")
    expect(bob.message(f"number {MANY - 1}")).to_be_visible()
    alice.expect_state("number 0", "✓✓")

    new = open_window("?as=bob")
    line = new.conversation("alice")
    expect(line.locator("[data-part=preview]")).to_have_text(f"number {MANY - 1}")
    expect(line.get_by_test_id("unread")).to_be_hidden()
    line.click()
    expect(new.message(f"number {MANY - 1}")).to_be_visible()
    expect(new.page.get_by_test_id("content")).to_have_count(100)
    alice.say("and one more")
    expect(new.message("and one more")).to_be_visible()
    new.scroll_to_the_beginning()
    new.expect_all_once(MANY + 1)
    texts = [f"number {number}" for number in range(MANY)]
    new.expect_messages(*texts, "and one more")

    # What was delivered is told only once, so a new browser of the sender's has to ask.
    elsewhere = open_window("?as=alice&to=bob")
    elsewhere.expect_state("number 120", "✓✓")
    expect(elsewhere.page.get_by_test_id("seen")).to_have_text("Seen")


def test_scrolling_up_keeps_what_one_looks_at_in_its_place(open_window: OpenWindow) -> None:
    alice = open_window("?as=alice&to=bob")
    for number in range(MANY):
        alice.say(f"number {number}")
    alice.expect_state(f"number {MANY - 1}", "✓")
    new = open_window("?as=alice&to=bob")
    expect(new.page.get_by_test_id("content")).to_have_count(100)
    row = new.message("number 32")
    transcript = new.page.get_by_role("log")
    transcript.evaluate("(node) => (node.scrollTop = 40)")
    expect(new.page.get_by_test_id("content")).to_have_count(MANY)
    transcript.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    box, frame = row.bounding_box(), transcript.bounding_box()
    assert box is not None
    assert frame is not None
    assert abs(box["y"] - frame["y"]) < 150, "it was two rows below the upper edge"


def test_unread_of_a_new_browser_comes_from_the_server(open_window: OpenWindow) -> None:
    bob = open_window("?as=bob")
    alice = open_window("?as=alice&to=bob")
    for number in range(3):
        alice.say(f"number {number}")
    expect(bob.conversation("alice").get_by_test_id("unread")).to_have_text("3")
    new = open_window("?as=bob")
    for window in (bob, new):
        expect(window.conversation("alice").get_by_test_id("unread")).to_have_text("3")
    new.conversation("alice").click()
    new.expect_messages("number 0", "number 1", "number 2")
    expect(bob.conversation("alice").get_by_test_id("unread")).to_be_hidden()
    bob.page.reload()
    expect(bob.conversation("alice")).to_be_visible()
    bob.expect_connection("Connected")
    expect(bob.conversation("alice").get_by_test_id("unread")).to_be_hidden()
    # What nobody looks at counts again, on both.
    new.open_conversation_with("carol")
    alice.say("number 3")
    for window in (bob, new):
        expect(window.conversation("alice").get_by_test_id("unread")).to_have_text("1")


def test_a_name_with_a_space_is_not_two_people(open_window: OpenWindow) -> None:
    alice = open_window("?as=alice")
    alice.expect_connection("Connected")
    alice.page.get_by_role("button", name="New room").click()
    dialog = alice.page.get_by_role("dialog", name="New room")
    dialog.get_by_label("Members", exact=True).fill("mary ann, bob")
    dialog.get_by_role("button", name="Make the room").click()
    expect(dialog.get_by_role("alert")).to_have_text("A name has no spaces.")
    dialog.get_by_label("Members", exact=True).fill("mary-ann, bob")
    dialog.get_by_role("button", name="Make the room").click()
    expect(dialog).to_be_hidden()
    expect(alice.open_room().get_by_test_id("member")).to_have_count(3)


def test_admins_change_a_room_and_the_others_see_it(open_window: OpenWindow) -> None:
    alice, bob = open_window("?as=alice"), open_window("?as=bob")
    for window in (alice, bob):
        window.expect_connection("Connected")
    alice.make_room("Lunch", "bob")
    bob.conversation_called("Lunch").click()

    dialog = alice.open_room()
    dialog.get_by_label("Title").fill("Dinner")
    dialog.get_by_role("button", name="Save").click()
    expect(bob.page.get_by_test_id("partner-name")).to_have_text("Dinner")
    expect(dialog.get_by_role("heading", name="Dinner")).to_be_visible()
    dialog.get_by_label("Add somebody").fill("not a name")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_have_text("A name has no spaces.")
    dialog.get_by_label("Add somebody").fill("carol")
    dialog.get_by_role("button", name="Add").click()
    members = dialog.get_by_test_id("member")
    expect(members).to_have_count(3)
    expect(dialog.get_by_role("alert")).to_be_hidden()

    # Bob is no admin, until alice makes him one.
    his = bob.open_room()
    expect(his.get_by_test_id("member")).to_have_count(3)
    expect(his.get_by_label("Add somebody")).to_be_hidden()
    members.filter(has_text="bob").get_by_role("button", name="Make admin").click()
    expect(members.filter(has_text="bob")).to_contain_text("admin")
    expect(his.get_by_label("Add somebody")).to_be_visible()

    carol = open_window("?as=carol")
    carol.conversation_called("Dinner").click()
    carol.say("thank you")
    carol.expect_state("thank you", "✓")
    members.filter(has_text="carol").get_by_role("button", name="Remove").click()
    expect(members).to_have_count(2)
    expect(carol.page.locator("#ended")).to_be_visible()
    expect(carol.page.get_by_label("Message", exact=True)).to_be_hidden()
    expect(carol.page.get_by_role("button", name="Members")).to_be_hidden()
    carol.expect_messages("thank you")

    his.get_by_role("button", name="Leave the room").click()
    expect(bob.page.locator("#ended")).to_be_visible()
    expect(alice.page.get_by_test_id("event").last).to_contain_text("bob left")


def test_who_was_removed_while_away_finds_the_room_ended(open_window: OpenWindow) -> None:
    alice, bob = open_window("?as=alice"), open_window("?as=bob")
    for window in (alice, bob):
        window.expect_connection("Connected")
    alice.make_room("Lunch", "bob")
    bob.conversation_called("Lunch").click()
    expect(bob.page.get_by_label("Message", exact=True)).to_be_visible()
    bob.page.close()
    dialog = alice.open_room()
    dialog.get_by_test_id("member").filter(has_text="bob").get_by_role(
        "button", name="Remove"
    ).click()
    expect(dialog.get_by_test_id("member")).to_have_count(1)
    back = open_window("?as=bob", beside=bob)
    expect(back.conversation_called("Lunch")).to_contain_text("You are not in this room any more")
    back.conversation_called("Lunch").click()
    expect(back.page.locator("#ended")).to_be_visible()
    # And back in again.
    dialog.get_by_label("Add somebody").fill("bob")
    dialog.get_by_role("button", name="Add").click()
    expect(back.page.get_by_label("Message", exact=True)).to_be_visible()
    back.say("here I am")
    back.expect_state("here I am", "✓")


def test_a_room_can_be_made_without_a_mouse_and_on_a_phone(open_window: OpenWindow) -> None:
    window = open_window("?as=alice", viewport={"width": 360, "height": 640})
    window.expect_connection("Connected")
    window.page.get_by_role("button", name="New room").focus()
    keyboard = window.page.keyboard
    keyboard.press("Enter")
    dialog = window.page.get_by_role("dialog", name="New room")
    expect(dialog.get_by_label("Title")).to_be_focused()
    assert not window.has_horizontal_scroll()
    keyboard.type("Lunch")
    keyboard.press("Tab")
    keyboard.type("bob, not/a/name")
    keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(re.compile("no “:”"))
    keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    keyboard.press("Enter")
    dialog.get_by_label("Members", exact=True).fill("bob, carol")
    keyboard.press("Enter")
    expect(window.page.get_by_test_id("partner-name")).to_have_text("Lunch")
    window.page.get_by_role("button", name="Members").focus()
    keyboard.press("Enter")
    room = window.page.get_by_role("dialog", name="Lunch")
    expect(room.get_by_test_id("member")).to_have_count(3)
    assert not window.has_horizontal_scroll()
    keyboard.press("Escape")
    expect(room).to_be_hidden()

"""The page is readable: on a phone, in the dark, without a mouse. And it has its picture taken."""

import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.window import Window
from support.server import ServerProcess

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SHOT: dict[str, object] = {"viewport": {"width": 760, "height": 560}, "device_scale_factor": 2}
PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}

# WCAG 2.2, success criterion 1.4.3 (level AA).
CONTRAST = 4.5
WAITING = "[data-state=waiting] .bubble"

TEXTS = [
    "Did the line just drop?",
    "The server was killed. I kept typing.",
    "And your message?",
    "Waited here with a … and went out by itself.",
    "✓ means kept for good, ✓✓ means you have it.",
]


def test_nothing_is_wider_than_a_phone(open_window: OpenWindow) -> None:
    phone = open_window(**PHONE)
    assert not phone.has_horizontal_scroll()
    phone.visit(f"?as={'w' * 64}&to={'m' * 64}")
    phone.expect_connection("Connected")
    for text in ("short", "w" * 400, "https://example.org/" + "path/" * 60, "line\n" * 5 + "end"):
        phone.say(text)
    phone.expect_state("short", "✓")
    expect(phone.page.get_by_test_id("message")).to_have_count(4)
    assert not phone.has_horizontal_scroll()
    phone.page.get_by_role("button", name="Back to the conversations").tap()
    expect(phone.conversation("m" * 64)).to_be_visible()
    expect(phone.page.get_by_label("Message", exact=True)).to_be_hidden()
    assert not phone.has_horizontal_scroll()
    phone.conversation("m" * 64).tap()
    expect(phone.page.get_by_label("Message", exact=True)).to_be_visible()


def test_on_a_phone_the_list_counts_what_is_not_on_the_screen(open_window: OpenWindow) -> None:
    phone = open_window("?as=alice&to=bob", **PHONE)
    bob = open_window("?as=bob&to=alice")
    phone.page.get_by_role("button", name="Back to the conversations").tap()
    bob.say("are you there?")
    expect(phone.conversation("bob").get_by_test_id("unread")).to_have_text("1")
    expect(phone.page).to_have_title("(1) Landline")
    phone.conversation("bob").tap()
    phone.expect_messages("are you there?")
    expect(phone.page).to_have_title("Landline")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(
    open_window: OpenWindow, server: ServerProcess, scheme: str
) -> None:
    alice, bob = _talk(open_window, color_scheme=scheme)
    server.kill()
    for window in (alice, bob):
        window.is_server_allowed_to_go = True
        window.expect_connection("Offline, trying again")
        window.say("waiting")
        window.expect_state("waiting", "…")
    for window in (alice, bob):
        paper = _luminance(window.colours("body")["background"])
        assert paper < 0.1 if scheme == "dark" else paper > 0.8
        for selector in ("body", ".mine .bubble", "#send", ".badge", ".me .avatar", WAITING):
            assert _contrast(window.colours(selector)) >= CONTRAST, selector
        for inner, outer in {
            ".mine .stamp": ".mine .bubble",
            ".message[data-state=delivered] .state": ".mine .bubble",
            ".theirs .content": ".theirs .bubble",
            ".theirs .stamp": ".theirs .bubble",
            "#connection": ".topbar",
            ".preview": ".sidebar",
            ".conversations .when": ".sidebar",
            ".day span": "body",
            "#composer-keys": ".composer",
        }.items():
            colour = window.colours(inner)["color"]
            background = window.colours(outer)["background"]
            assert _contrast({"color": colour, "background": background}) >= CONTRAST, inner


def test_it_can_be_used_without_a_mouse(open_window: OpenWindow) -> None:
    window = open_window()
    keyboard = window.page.keyboard
    keyboard.type("alice")
    keyboard.press("Enter")
    window.expect_connection("Connected")
    for partner in ("carol", "bob"):
        window.page.get_by_label("Write to").focus()
        keyboard.type(partner)
        keyboard.press("Enter")
        expect(window.page.get_by_label("Message", exact=True)).to_be_focused()
        keyboard.type(f"hello {partner}")
        keyboard.press("Shift+Enter")
        keyboard.type("how are you?")
        keyboard.press("Enter")
        window.expect_messages(f"hello {partner}\nhow are you?")
        # The list is in the order of the acceptances.
        expect(window.page.get_by_test_id("state").last).to_have_text("✓")

    keyboard.press("Escape")
    expect(window.conversation("bob")).to_be_focused()
    keyboard.press("ArrowDown")
    expect(window.conversation("carol")).to_be_focused()
    outline = window.conversation("carol").evaluate("(node) => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    keyboard.press("Enter")
    expect(window.page.get_by_test_id("partner-name")).to_have_text("carol")
    window.expect_messages("hello carol\nhow are you?")
    expect(window.page.get_by_label("Message", exact=True)).to_be_focused()


def test_the_picture_for_the_readme_can_be_taken(open_window: OpenWindow, tmp_path: Path) -> None:
    alice, bob = _talk(open_window, **SHOT)
    bob.page.emulate_media(color_scheme="dark")
    _take_picture(open_window, [alice, bob], "chat.png", tmp_path)


def test_the_picture_of_a_room_can_be_taken(open_window: OpenWindow, tmp_path: Path) -> None:
    alice, bob, carol = (open_window(f"?as={name}", **SHOT) for name in ("alice", "bob", "carol"))
    for window in (alice, bob, carol):
        window.expect_connection("Connected")
    alice.make_room("Lunch", "bob, carol")
    for window, text in ((alice, "Where do we go?"), (bob, "The place at the river?")):
        window.conversation_called("Lunch").click()
        window.say(text)
        window.expect_state(text, "\u2713")
    carol.conversation_called("Lunch").click()
    carol.expect_messages("Where do we go?", "The place at the river?")
    carol.say("I bring the umbrella.")
    expect(alice.message("I bring the umbrella.")).to_be_visible()
    alice.say("At noon, then.")
    expect(alice.page.get_by_test_id("seen")).to_have_text("Seen by bob, carol")
    carol.page.close()
    bob.open_conversation_with("alice")
    bob.say("Do they take cards?")
    bob.conversation_called("Lunch").click()
    alice.expect_unread("bob", "1")
    dialog = alice.open_room()
    expect(dialog.get_by_test_id("member")).to_have_count(3)
    bob.expect_messages(
        "Where do we go?", "The place at the river?", "I bring the umbrella.", "At noon, then."
    )
    bob.page.emulate_media(color_scheme="dark")
    assert not alice.has_horizontal_scroll()
    _take_picture(open_window, [bob, alice], "room.png", tmp_path)


def _take_picture(
    open_window: OpenWindow, windows: Sequence[Window], name: str, tmp_path: Path
) -> None:
    """`LANDLINE_UPDATE_SCREENSHOT=1` puts it where the pages show it."""
    is_wanted = os.environ.get("LANDLINE_UPDATE_SCREENSHOT") == "1"
    picture = PICTURES / name if is_wanted else tmp_path / name
    for window in windows:  # what this browser does not promise is no part of the picture
        window.page.locator("#notices").evaluate("(notices) => notices.hidden = true")

    # Two windows side by side, put together by the browser itself.
    sheet = open_window(None, viewport={"width": 1600, "height": 640})
    shots = [b64encode(window.page.screenshot()).decode() for window in windows]
    sheet.page.set_content(
        """<style>
            body { margin: 0; height: 640px; display: flex; gap: 26px; align-items: center;
                   justify-content: center; background: #d9d5c8 }
            img { width: 760px; border-radius: 14px; box-shadow: 0 8px 30px rgb(0 0 0 / 28%) }
        </style>"""
        + "".join(f'<img src="data:image/png;base64,{shot}">' for shot in shots)
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.page.wait_for_function("[...document.images].every((image) => image.naturalWidth > 0)")
    sheet.page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000


def _talk(open_window: OpenWindow, **options: object) -> tuple[Window, Window]:
    """Return two windows in the middle of a conversation, and a third person in alice's list."""
    alice = open_window("?as=alice&to=bob", **options)
    bob = open_window("?as=bob&to=alice", **options)
    for number, text in enumerate(TEXTS):
        speaker = alice if number in (0, 2) else bob
        speaker.say(text)
        speaker.expect_state(text, "✓✓")
    for window in (alice, bob):
        window.expect_messages(*TEXTS)
    for name in ("carol", "dave"):
        visitor = open_window(f"?as={name}&to=alice")
        visitor.say("Lunch at noon?" if name == "carol" else "Call me when you can.")
        expect(alice.conversation(name).get_by_test_id("unread")).to_have_text("1")
        visitor.visit(f"?as={name}&to=bob")
        visitor.say("See you tomorrow!" if name == "carol" else "Thanks for the picture")
        expect(bob.conversation(name).get_by_test_id("unread")).to_have_text("1")
        visitor.page.close()
    return alice, bob


def _contrast(colours: Mapping[str, tuple[int, int, int]]) -> float:
    dark, light = sorted((_luminance(colours["color"]), _luminance(colours["background"])))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: tuple[int, int, int]) -> float:
    """Return the relative luminance as WCAG 2.2 defines it."""
    channels = [value / 255 for value in colour]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

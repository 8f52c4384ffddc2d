"""The report is readable: in a browser, in the dark, on a phone, with nothing in the console."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.window import Window
from landline_verify.checker.judge import judge
from landline_verify.history.events import (
    Connect,
    Disconnect,
    Event,
    FaultEvent,
    Invoke,
    Live,
    Ok,
    Phase,
    Recv,
    Rejected,
    Run,
)
from landline_verify.report.figures import figures
from landline_verify.report.page import page
from landline_verify.report.text import counted

pytest_plugins = ["browser.conftest"]

URL = "ws://127.0.0.1:1/ws/chat"
PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
EVIL = "<script>document.title = 'mine'</script>"


def history(*, lost: bool) -> list[Event]:
    """Return a run of 30 s in which alice writes to bob, once while a fault is on."""
    events: list[Event] = [
        Run(0.0, 2, 1, (URL,), {"duration": 30, "users": 2, "rate": 1}, "2026-01-02T03:04:05Z",
            10.0, 15.0),
        Phase(0.0, "load"),
    ]  # fmt: skip
    for user in ("alice", "bob"):
        events.append(Connect(0.1, user, user, URL, "ws-1", user, EVIL, "client", "steady"))
        events.append(Live(0.1, user, user, 0))
    for number in range(29):
        at, id = 1.0 + number, f"id-{number}"
        if number == 10:
            events.append(FaultEvent(at, "redis-kill", "start", EVIL))
        events.append(Invoke(at, "alice", "alice", "bob", id, "aa", retry=False))
        events.append(Ok(at + 0.01, "alice", "alice", id, id, "dm:alice:bob", number, "t"))
        if not (lost and number == 10):
            events.append(
                Recv(at + 0.02, "bob", "bob", number, id, "dm:alice:bob", "alice", "bob", "aa",
                     number, "t", replay=False)
            )  # fmt: skip
        if number == 12:
            events.append(FaultEvent(at + 0.1, "redis-kill", "stop", EVIL))
    events += [Phase(30.0, "heal"), Phase(30.5, "final")]
    events.append(Connect(30.6, "bob", "bob2", URL, "ws-1", "bob2", EVIL, "client", "final"))
    events.append(Live(30.7, "bob", "bob2", 0))
    events += [Disconnect(31.0, user, user, None, "client") for user in ("alice", "bob")]
    events.append(Disconnect(31.0, "bob", "bob2", 1012, "server"))
    events.append(Phase(31.0, "end"))
    return events


@pytest.mark.browser
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE])
@pytest.mark.parametrize("lost", [False, True])
def test_a_report_is_readable(
    browser: Browser, tmp_path: Path, options: dict[str, object], lost: bool
) -> None:
    events = history(lost=lost)
    verdict = judge(events)
    file = tmp_path / "report.html"
    file.write_text(page(events, verdict), encoding="utf-8")
    context = browser.new_context(**options)  # type: ignore[arg-type]
    window = Window(context, "")
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    window.page.goto(file.as_uri())
    heading = window.page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("FAIL" if lost else "UNKNOWN")
    expect(window.page).to_have_title(f"landline verify: {verdict.outcome}")
    expect(window.page.locator("svg")).to_have_count(3)
    expect(window.page.locator("svg .band")).to_have_count(3)
    stories = window.page.locator("pre")
    expect(stories).to_have_count(len({each.invariant for each in verdict.violations}))
    if lost:
        expect(stories.first).to_contain_text("id-10")
        expect(window.page.get_by_text("I2 Delivered").locator("..")).to_contain_text("VIOLATED")
    assert asked == [file.as_uri()], "it asks nobody for anything"
    assert not _is_wide(window)
    context.close()
    window.check_no_complaints()


def _is_wide(window: Window) -> bool:
    # Stories scroll in their own box; the page itself does not.
    return bool(window.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_what_was_rejected_is_counted_by_its_code_and_what_had_to_be_is_said() -> None:
    codes = ["content_too_large", "too_fast", "content_too_large"]
    refused = [Rejected(40.0, "alice", "c", f"ref-{n}", code) for n, code in enumerate(codes)]
    answered = dict(counted(figures([*history(lost=False), *refused])))["answered"]
    said = "3 rejected (content_too_large 2, too large on purpose; too_fast 1)"
    assert said in answered

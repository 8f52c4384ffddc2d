"""examples/browser_client.html in a real browser, served as its head says."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from support.pages import ROOT
from support.server import ServerProcess

pytestmark = pytest.mark.browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """Say nothing of requests."""


@pytest.fixture
def pages() -> Iterator[str]:
    """Serve examples/ as a static site; its address."""
    handler = partial(Quiet, directory=str(ROOT / "examples"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


@pytest.fixture
def server(pages: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that lets this site in."""
    server = ServerProcess(tmp_path / "data", args=["--allowed-origins", pages])
    server.start()
    yield server
    server.kill()


def visit(browser: Browser, pages: str, server: ServerProcess, user: str) -> Page:
    """Open the page as somebody, in a storage of their own, and wait for the session."""
    page = browser.new_context().new_page()
    page.goto(f"{pages}/browser_client.html?as={user}&server={quote(server.ws_url)}")
    expect(page.get_by_role("status")).to_contain_text("connected")
    return page


def say(page: Page, to: str, text: str) -> None:
    """Fill in the form."""
    page.get_by_label("To").fill(to)
    page.get_by_label("Message").fill(text)
    page.get_by_role("button").click()


def test_two_people_chat_and_nothing_is_lost_or_shown_twice(
    browser: Browser, pages: str, server: ServerProcess
) -> None:
    """Through a server that is killed, a page that is loaded again, and a refused name."""
    alice, bob = (visit(browser, pages, server, user) for user in ("alice", "bob"))
    say(alice, "bob", "hello <b>bob</b>")
    for page in (alice, bob):
        expect(page.locator("li")).to_have_text(["alice to bob: hello <b>bob</b> ✓"])
    server.kill()
    say(alice, "bob", "are you there?")
    expect(alice.locator("li").last).to_have_text("alice to bob: are you there? …")
    alice.reload()
    expect(alice.locator("li").last).to_have_text("alice to bob: are you there? …")
    server.start()
    for page in (alice, bob):
        expect(page.locator("li")).to_have_text(
            ["alice to bob: hello <b>bob</b> ✓", "alice to bob: are you there? ✓"]
        )
    say(alice, "no name", "hm")
    expect(alice.get_by_role("status")).to_contain_text("not sent")
    say(bob, "alice", "yes")
    for page in (alice, bob):
        expect(page.locator("li").last).to_have_text("bob to alice: yes ✓")
        expect(page.locator("li")).to_have_count(3)
        page.context.close()

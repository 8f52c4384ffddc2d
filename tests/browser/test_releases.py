"""A page never mixes modules of two releases, and finds its files below a prefix too."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, message
from browser.window import Window
from support.server import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

# What the browser itself says about a file that is not there.
NOT_THERE = ("Failed to load resource", "its MIME type ('text/plain')")


def test_while_servers_of_two_releases_answer_the_page_asks_again(open_window: OpenWindow) -> None:
    """The first page comes from another release than the files: it never runs a mixture."""
    window = open_window(None)
    pages = []

    def old_page(route: Route) -> None:
        html = route.fetch().text()
        pages.append(html)
        if len(pages) == 1:
            html = re.sub("web/[0-9a-f]{16}/", "web/0123456789abcdef/", html)
        route.fulfill(body=html, content_type="text/html")

    window.page.route(re.compile(r":\d+/(\?.*)?$"), old_page)
    ScriptedServer(window.page)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice")
    assert len(pages) == 2
    _forgive(window)


@pytest.mark.parametrize("lost", ["app.js", "store.js", "names.js", "style.css"])
def test_a_file_that_never_comes_ends_in_a_sentence(open_window: OpenWindow, lost: str) -> None:
    window = open_window(None)
    asked: list[str] = []
    window.page.route(f"**/{lost}", _refused_into(asked))
    window.page.clock.install()
    window.visit()
    incomplete = window.page.locator("#incomplete")
    expect(incomplete).to_be_visible()  # after the second try
    expect(incomplete).to_contain_text("Some files of this page did not load")
    for tries in range(3, 7):
        # Or more: the page's clock also goes on by itself.
        _wait(window.page, lambda tries=tries: len(asked) >= tries, passes_ms=9_000)  # type: ignore[misc]
        expect(incomplete).to_be_visible()
    window.page.clock.run_for(120_000)
    assert len(asked) == 6, "a page that cannot work does not ask for ever"

    window.page.unroute(f"**/{lost}")
    window.page.get_by_role("link", name="Load it again").click()
    expect(window.page.get_by_label("Your name")).to_be_focused()
    expect(incomplete).to_be_hidden()
    _forgive(window)


@pytest.mark.parametrize("entrance", ["/team/chat/", "/team/chat"])
def test_it_works_below_a_prefix(
    open_window: OpenWindow, server: ServerProcess, entrance: str
) -> None:
    window = open_window(None)

    def behind_a_proxy(route: Route) -> None:
        path = route.request.url.removeprefix(server.url).removeprefix("/team/chat")
        response = route.fetch(url=f"{server.url}/{path.removeprefix('/')}")
        route.fulfill(response=response)

    window.page.route(f"{server.url}/**", behind_a_proxy)
    talk = ScriptedServer(window.page)
    window.page.goto(f"{server.url}{entrance}?as=alice&to=bob")
    window.expect_connection("Connected")
    assert talk.asked_for.partition("?")[0].endswith("/team/chat/ws/chat")
    assert talk.query["username"] == "alice"
    talk.push(message("below a prefix", 1))
    window.expect_messages("below a prefix")

    _forgive(window)  # without its slash the first page looks for its files elsewhere

    # Another server of the same host is somebody else's: nothing of it is here.
    window.page.unroute(f"{server.url}/**")
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    expect(window.page.locator("#no-messages")).to_be_visible()
    window.expect_messages()


def _refused_into(asked: list[str]) -> Callable[[Route], None]:
    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=404, body="another release")

    return refuse


def _wait(page: Page, condition: Callable[[], bool], passes_ms: int) -> None:
    """Wait for the page to do something, while its own clock goes on."""
    page.clock.run_for(passes_ms)
    while not condition():
        page.wait_for_timeout(10)


def _forgive(window: Window) -> None:
    window.complaints = [
        line for line in window.complaints if not any(noise in line for noise in NOT_THERE)
    ]

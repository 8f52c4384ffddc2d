"""A real browser, a real server, and windows that report what the console says."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser.window import PATIENCE_MS, Window
from support.server import ServerProcess

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # root in a container has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenWindow = Callable[..., Window]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the browser; without one the tests are skipped."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser on PATH ({', '.join(BROWSERS)}); Debian: apt install chromium")


# One browser per module: Playwright's synchronous interface runs a loop of its own in this thread,
# which must be gone before a module with asynchronous tests begins.
@pytest.fixture(scope="module")
def browser(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a running browser that leaves nothing in the user's home."""
    home = str(tmp_path_factory.mktemp("browser-home"))
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium_path,
            args=ARGUMENTS,
            env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home},
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server for pages that get nothing but their files from it."""
    running = ServerProcess(tmp_path_factory.mktemp("files") / "data")
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return a running server with a data directory of its own.

    Modules in which no page has a session with it use `files`, one for all.
    """
    if "files" in request.fixturenames:
        yield request.getfixturevalue("files")
        return
    running = ServerProcess(tmp_path / "data")
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture
def open_window(browser: Browser, server: ServerProcess) -> Iterator[OpenWindow]:
    """Return a function that opens a window, by default each with a storage of its own.

    `beside=window` opens another tab of the same storage. At the end no window may have complained.
    """
    windows: list[Window] = []

    def opened(query: str | None = "", *, beside: Window | None = None, **options: Any) -> Window:
        defaults: dict[str, Any] = {"locale": "en-GB", "timezone_id": "Europe/Berlin"}
        context = beside.context if beside else browser.new_context(**{**defaults, **options})
        window = Window(context, server.url)
        windows.append(window)
        if query is not None:
            window.visit(query)
        return window

    yield opened
    for context in {window.context for window in windows}:
        context.close()
    for window in windows:
        window.check_no_complaints()

"""examples/product.py in a real browser, beside a real server, as its head says."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import jwt
import pytest
from playwright.sync_api import FrameLocator, Page, expect
from websockets.sync.client import connect

from browser.conftest import OpenWindow
from browser.window import Window
from landline_stack.ports import free_port
from support.pages import ROOT
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "chat.secret"
    file.write_text(secrets.token_urlsafe(48) + "\n")
    return file


@pytest.fixture
def product_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def server(tmp_path: Path, secret_file: Path, product_url: str) -> Iterator[ServerProcess]:
    """Landline, for this product."""
    port = free_port()
    args = ["--auth", "jwt", "--jwt-secret-file", str(secret_file)]
    args += ["--public-url", f"http://127.0.0.1:{port}", "--allowed-origins", product_url]
    with ServerProcess(tmp_path / "data", port, args) as server:
        yield server


@pytest.fixture
def product(server: ServerProcess, secret_file: Path, product_url: str) -> Iterator[str]:
    """The product; its address."""
    with _product(server, secret_file, product_url):
        yield product_url


@contextmanager
def _product(server: ServerProcess, secret_file: Path, url: str) -> Iterator[None]:
    port = url.rpartition(":")[2]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples")]
    environment = {**os.environ, "CHAT_URL": server.url, "CHAT_SECRET_FILE": str(secret_file)}
    process = subprocess.Popen(
        [*command, "--port", port, "--log-level", "warning", "product:app"], env=environment
    )
    try:
        wait_until(lambda: _answers(url), "the product answers")
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def test_users_sign_in_are_welcomed_and_chat_in_the_products_own_page(
    open_window: OpenWindow, product: str, secret_file: Path
) -> None:
    alice, bob = (_sign_in(open_window(None), product, user) for user in ("alice", "bob"))
    expect(alice.get_by_test_id("my-name")).to_have_text("alice")
    _expect_messages(alice, "Welcome, alice!")
    _expect_messages(bob, "Welcome, bob!")

    _say(alice, "bob", "hello")
    bob.locator('[data-testid="conversation"][data-partner="alice"]').click()
    _expect_messages(bob, "hello")
    _expect_messages(alice, "hello")
    expect(alice.get_by_test_id("state")).to_have_text("✓✓")


def test_a_user_is_welcomed_once_and_a_stranger_gets_no_token(
    open_window: OpenWindow, product: str, server: ServerProcess, secret_file: Path
) -> None:
    assert httpx.get(f"{product}/token").status_code == 401
    window = open_window(None)
    chat = _sign_in(window, product, "alice")
    _expect_messages(chat, "Welcome, alice!")
    window.context.clear_cookies()
    chat = _sign_in(window, product, "alice")
    _expect_messages(chat, "Welcome, alice!")
    # What is sent after the second welcome arrives after it.
    _tell(server, secret_file, "news")
    _expect_messages(chat, "Welcome, alice!", "news")

    # Its session is over: where the product gives no token, the chat says so.
    window.context.clear_cookies()
    window.is_server_allowed_to_go = True
    server.kill()
    server.start()
    expect(chat.get_by_role("status")).to_have_text(
        "No sign-in from the page around this one, trying again"
    )
    window.page.goto("about:blank")  # nothing comes after this
    window.complaints = [line for line in window.complaints if "/token" not in line]


def test_a_user_who_signs_in_while_the_chat_is_away_is_welcomed_later(
    product: str, server: ServerProcess, secret_file: Path
) -> None:
    server.kill()
    answer = httpx.post(f"{product}/sign-in", data={"name": "alice"})
    assert answer.status_code == 303
    server.start()
    claims = {"sub": "alice", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, secret_file.read_bytes().strip(), "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    with connect(server.ws_url, additional_headers=headers, open_timeout=WAIT_SECONDS) as alice:
        frames = (json.loads(alice.recv(timeout=WAIT_SECONDS)) for _ in range(3))
        assert "Welcome, alice!" in [frame.get("content") for frame in frames]


@pytest.mark.parametrize("form", [{}, {"name": ""}, {"name": "shop"}, {"name": "a b"}])
def test_nobody_signs_in_as_the_shop_or_by_a_name_that_is_none(
    product: str, form: dict[str, str]
) -> None:
    answer = httpx.post(f"{product}/sign-in", data=form)
    assert answer.status_code == 400
    assert "Your name" in answer.text
    assert "session" not in answer.cookies


def _sign_in(window: Window, product: str, user: str) -> FrameLocator:
    """Sign in at the product; return the chat within its page."""
    page: Page = window.page
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))  # it has none
    page.goto(product)
    page.get_by_label("Your name").fill(user)
    page.get_by_role("button", name="Sign in").click()
    chat = page.frame_locator("iframe")
    expect(chat.get_by_role("status")).to_have_text("Connected")
    return chat


def _say(chat: FrameLocator, to: str, text: str) -> None:
    chat.get_by_label("Write to").fill(to)
    chat.get_by_role("button", name="Open the conversation").click()
    chat.get_by_label("Message", exact=True).fill(text)
    chat.get_by_role("button", name="Send").click()


def _tell(server: ServerProcess, secret_file: Path, text: str) -> None:
    """Write to alice as the shop."""
    claims = {"sub": "shop", "role": "service", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, secret_file.read_bytes().strip(), "HS256")
    answer = httpx.post(
        f"{server.url}/v1/messages",
        json={"to": "alice", "content": text, "ref": "news"},
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.raise_for_status()


def _expect_messages(chat: FrameLocator, *texts: str) -> None:
    expect(chat.get_by_test_id("content")).to_have_text(list(texts))

"""The page signs in with a token: from a form, a link, or the page around it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
from playwright.sync_api import FrameLocator, Page, Request, WebSocket, expect

from browser.conftest import OpenWindow
from browser.scripted import Frame, ScriptedServer, accepted, message
from browser.site import Site, site
from browser.window import Window
from landline_stack.ports import free_port
from support.server import ServerProcess

pytestmark = pytest.mark.browser

SECRET = "a secret of the tests, long enough for HS256"
ENDED = "Your sign-in has ended. Paste a new token; what you have written is kept."


@pytest.fixture(scope="module")
def product() -> Iterator[Site]:
    """The site that Landline is part of."""
    with site() as serving:
        yield serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, product: Site) -> Iterator[ServerProcess]:
    """A server that wants tokens, and lets the product's pages show its own."""
    folder = tmp_path_factory.mktemp("jwt")
    (folder / "secret").write_text(SECRET)
    port = free_port()
    args = ["--auth", "jwt", "--jwt-secret-file", str(folder / "secret")]
    args += ["--public-url", f"http://127.0.0.1:{port}", "--allowed-origins", product.url]
    with ServerProcess(folder / "data", port, args) as server:
        yield server


# A token that was pasted, or is part of a link ------------------------------------------------


def test_a_pasted_token_signs_in_and_outlives_a_reload_in_this_tab_alone(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window)
    window.visit("?as=mallory&to=bob")
    field = window.page.get_by_label("Your token")
    expect(field).to_be_focused()
    token = _token()
    _paste(window, f" Bearer {token}\n")
    window.expect_connection("Connected")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice")
    assert server.received[0] == {"type": "auth", "token": token}
    server.push(message("for alice", 1))
    window.expect_messages("for alice")

    window.page.reload()
    server.wait_for(lambda: len(server.of_type("auth")) >= 2)
    assert server.of_type("auth")[1]["token"] == token
    window.expect_messages("for alice")
    assert token not in _kept_for_good(window.page)

    other = open_window(None, beside=window)
    other.visit()
    expect(other.page.get_by_label("Your token")).to_be_visible()


def test_what_is_no_token_is_not_sent(open_window: OpenWindow) -> None:
    window, server = _window(open_window)
    window.visit()
    for text, sentence in (
        ("alice", "three parts"),
        ("a.b", "three parts"),
        ("a.b.ü", "three parts"),
        (f"a.{'b' * 7997}.c", "at most 8,000 characters"),
    ):
        _paste(window, text)
        expect(window.page.locator("#token-problem")).to_contain_text(sentence)
    assert server.sessions == 0


def test_the_token_of_a_link_is_in_no_address_that_is_sent_or_kept(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window)
    asked = _requests(window.page)
    token = _token()
    window.visit(f"?to=bob#token={token}")
    window.expect_connection("Connected")
    expect(window.page.locator("#partner-name")).to_have_text("bob")
    assert server.of_type("auth")[0]["token"] == token
    assert window.page.url == f"{window.url}/"
    assert window.page.evaluate("[history.length, document.referrer]") == [2, ""]  # about:blank
    assert not any(token in address for address in [*asked, server.asked_for])
    assert set(server.query) == {"device"}
    assert any(address.endswith("/app.js") for address in asked)

    # Another link in the same tab: the browser does not load the page for it.
    server.user = "carol"
    second = _token("carol")
    window.page.evaluate("link => location.assign(link)", f"#token={second}")
    expect(window.page.get_by_test_id("my-name")).to_have_text("carol")
    assert window.page.url == f"{window.url}/"
    assert server.of_type("auth")[-1]["token"] == second
    expect(window.page.locator("#conversation")).to_be_hidden()


def test_a_token_that_the_server_does_not_take_is_asked_for_again(open_window: OpenWindow) -> None:
    window, server = _window(open_window)
    server.on_auth = lambda frame: server.close(4401, "no")
    window.visit()
    _paste(window, _token())
    expect(window.page.locator("#token-problem")).to_have_text(
        "The server does not take this token. Paste another one."
    )
    window.expect_connection("Not signed in")
    window.page.reload()
    expect(window.page.get_by_label("Your token")).to_be_visible()
    assert server.sessions == 1, "a token that was refused is not kept"
    server.on_auth = lambda frame: server.welcome()
    _paste(window, _token())
    window.expect_connection("Connected")


def test_after_the_end_of_a_pasted_token_another_one_sends_what_was_written(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window)
    server.on_send = lambda send: None
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    window.say("not answered")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    window.page.get_by_label("Message", exact=True).fill("half a sent")
    server.close(4401, "the token has expired")
    expect(window.page.locator("#token-problem")).to_have_text(ENDED)
    expect(window.message("not answered")).to_be_hidden()
    window.find_network()  # would bring back a page that waits for the network
    assert server.sessions == 1

    server.on_send = lambda send: server.push(accepted(send, 1))
    fresh = _token()
    _paste(window, fresh)
    window.expect_state("not answered", "✓")
    assert server.of_type("auth")[-1]["token"] == fresh
    expect(window.page.get_by_label("Message", exact=True)).to_have_value("half a sent")
    assert "token" not in json.dumps(server.of_type("send"))


def test_a_new_token_may_be_somebody_elses(open_window: OpenWindow) -> None:
    window, server = _window(open_window)
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    window.say("alice's own")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)
    server.close(4401)
    server.user = "mallory"
    _paste(window, _token("mallory"))
    expect(window.page.get_by_test_id("my-name")).to_have_text("mallory")
    window.expect_messages()
    assert len(server.of_type("send")) == 1


def test_a_server_ends_what_a_pasted_token_began(open_window: OpenWindow) -> None:
    window = open_window(None)
    window.visit(f"?to=bob#token={_token(seconds=4)}")
    window.expect_connection("Connected")
    expect(window.page.get_by_test_id("my-name")).to_have_text("alice")
    expect(window.page.locator("#token-problem")).to_have_text(ENDED)
    _paste(window, _token(secret="of somebody else, though just as long as ours"))
    expect(window.page.locator("#token-problem")).to_contain_text("does not take this token")
    _paste(window, _token())
    window.expect_connection("Connected")
    window.say("hello")
    window.expect_state("hello", "✓")


def test_leaving_forgets_the_token(open_window: OpenWindow) -> None:
    window, server = _window(open_window)
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    server.push(message("kept", 1))
    window.expect_messages("kept")
    window.page.get_by_role("button", name="Leave").click()
    expect(window.page.get_by_label("Your token")).to_be_visible()
    expect(window.page.locator("#kept-text")).to_contain_text("One message of alice is kept")
    window.page.get_by_role("button", name="Forget them").click()
    expect(window.page.locator("#kept-text")).to_contain_text("forgotten")
    assert window.kept() == []
    assert "ey" not in window.page.evaluate("JSON.stringify({ ...sessionStorage })")
    assert server.sessions == 1


# What a server says in the session ------------------------------------------------------------


def test_who_was_closed_by_an_administrator_comes_back_by_the_button_alone(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window)
    window.page.clock.install()
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    server.close(4403)
    window.expect_connection("Closed by an administrator")
    window.find_network()
    window.page.clock.run_for(600_000)
    assert server.sessions == 1
    window.say("kept meanwhile")
    window.expect_state("kept meanwhile", "…")
    window.page.get_by_role("button", name="Try now").click()
    window.expect_connection("Connected")
    server.wait_for(lambda: len(server.of_type("send")) >= 1)


def test_who_is_too_fast_waits_as_long_as_the_server_says(open_window: OpenWindow) -> None:
    window, server = _window(open_window)

    def slow_down(send: Frame) -> None:
        error = {"type": "error", "code": "too_fast", "message": "slow down"}
        server.push({**error, "outcome": "rejected", "ref": send["ref"], "retry_after_ms": 20_000})

    server.on_send = slow_down
    window.page.clock.install()
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    window.say("quick")
    window.expect_connection("Too fast for the server, sending again in 20 s")
    window.expect_state("quick", "…")
    window.say("quicker")
    window.expect_state("quicker", "…")
    server.on_send = lambda send: server.push(accepted(send, len(server.received)))
    window.page.clock.run_for(10_000)
    assert len(server.of_type("send")) == 1
    window.page.clock.run_for(11_000)
    for text in ("quick", "quicker"):
        window.expect_state(text, "✓")
    window.expect_connection("Connected")
    assert [send["content"] for send in server.of_type("send")] == ["quick", "quick", "quicker"]


def test_a_message_that_is_forbidden_is_shown_as_not_sent_and_why(open_window: OpenWindow) -> None:
    window, server = _window(open_window)

    def forbid(send: Frame) -> None:
        error = {"type": "error", "code": "forbidden", "message": "bob has blocked you"}
        server.push({**error, "outcome": "rejected", "ref": send["ref"]})

    server.on_send = forbid
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    window.say("hello")
    window.expect_state("hello", "!")
    failure = window.message("hello").get_by_test_id("failure")
    expect(failure).to_contain_text("bob has blocked you")
    assert server.sessions == 1


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("retry_after_ms=20000", "Connected in too many places, trying again"),
        ("", "The server is overloaded, trying again"),
    ],
)
def test_who_is_sent_away_for_a_while_stays_away_as_long_as_asked_and_somewhat_more(
    open_window: OpenWindow, reason: str, text: str
) -> None:
    window, server = _window(open_window)
    window.page.clock.install()
    window.visit(f"?to=bob#token={_token()}")
    window.expect_connection("Connected")
    window.page.evaluate("Math.random = () => 0.5")
    server.close(1013, reason)
    window.expect_connection(text)
    asked = 20_000 if reason else 10_000
    if reason:
        window.find_network()  # brings back only a page that chose its pause itself
    window.page.clock.run_for(asked * 12 // 10)
    assert server.sessions == 1
    window.page.clock.run_for(asked // 10)
    window.expect_connection("Connected")
    assert server.sessions == 2


# A token function of the page around this one -------------------------------------------------


def test_in_another_page_no_token_counts_but_that_of_the_page(
    open_window: OpenWindow, product: Site
) -> None:
    window, server = _window(open_window)
    window.visit(f"?to=bob#token={_token('alice')}")  # this tab keeps it
    window.expect_connection("Connected")
    server.user = "carol"
    carols = _token("carol")
    chat = _embed(window, product, f"() => {json.dumps(carols)}", fragment=f"#token={_token()}")
    expect(chat.get_by_role("status")).to_have_text("Connected")
    expect(chat.get_by_test_id("my-name")).to_have_text("carol")
    assert [frame["token"] for frame in server.of_type("auth")][1:] == [carols]


@pytest.mark.parametrize("clock_is_ahead_days", [0, -3])
def test_a_token_that_the_product_has_had_for_a_while_is_renewed_in_time(
    open_window: OpenWindow, product: Site, clock_is_ahead_days: int
) -> None:
    window, server = _window(open_window)
    now = time.time()
    window.page.clock.install(time=now + clock_is_ahead_days * 86_400)
    # It is good for ten minutes, and eight of them are over if the clock is right.
    old = _token(seconds=120, age=480)
    chat = _embed(window, product, f"() => {json.dumps([old, _token()])}[window.asked++]")
    expect(chat.get_by_role("status")).to_have_text("Connected")
    server.on_auth = lambda frame: server.push({"type": "authenticated", "expires": 0})
    # With a clock that is behind only the whole life of the token counts.
    early, late = (1, 1) if clock_is_ahead_days == 0 else (8, 2)
    _pass(window, minutes=early)
    assert len(server.of_type("auth")) == 1
    _pass(window, minutes=late)
    server.wait_for(lambda: len(server.of_type("auth")) >= 2)
    assert server.sessions == 1


def test_the_page_around_it_gives_a_token_for_each_session_and_before_one_ends(
    open_window: OpenWindow, product: Site
) -> None:
    window, server = _window(open_window)
    tokens = [_token(number=number) for number in range(9)]
    asked = _requests(window.page)
    window.page.clock.install()
    chat = _embed(window, product, f"() => {json.dumps(tokens)}[window.asked++]")
    expect(chat.get_by_role("status")).to_have_text("Connected")
    expect(chat.get_by_test_id("my-name")).to_have_text("alice")
    expect(chat.locator("#partner-name")).to_have_text("bob")
    expect(chat.get_by_role("button", name="Leave")).to_be_hidden()
    assert [frame["token"] for frame in server.of_type("auth")] == tokens[:1]

    # The tokens are good for ten minutes, so the next one is due after nine.
    server.on_auth = lambda frame: server.push({"type": "authenticated", "expires": 0})
    _pass(window, minutes=8)
    assert len(server.of_type("auth")) == 1
    _pass(window, minutes=2)
    server.wait_for(lambda: len(server.of_type("auth")) >= 2)
    assert server.of_type("auth")[1]["token"] == tokens[1]
    assert server.sessions == 1, "the session goes on"

    server.on_auth = lambda frame: server.welcome()
    server.close(4401)
    server.wait_for(lambda: server.sessions >= 2)
    server.wait_for(lambda: len(server.of_type("auth")) >= 3)
    assert server.of_type("auth")[2]["token"] == tokens[2]
    expect(chat.get_by_role("status")).to_have_text("Connected")
    assert not any("eyJ" in address for address in asked)
    assert "eyJ" not in _kept_for_good(window.page)


def test_a_server_goes_on_with_a_session_that_gets_a_fresh_token(
    open_window: OpenWindow, product: Site
) -> None:
    window = open_window(None)
    heard: list[str] = []
    sockets: list[str] = []

    def note(socket: WebSocket) -> None:
        sockets.append(socket.url)
        socket.on("framereceived", lambda text: heard.append(str(text)))

    window.page.on("websocket", note)
    # Half of its life is for whoever is slow: this machine may be.
    tokens = json.dumps([_token(seconds=30), _token()])
    chat = _embed(window, product, f"() => {tokens}[window.asked++]")
    expect(chat.get_by_role("status")).to_have_text("Connected")
    while not any("authenticated" in text for text in heard):
        window.page.wait_for_timeout(10)
    assert len(sockets) == 1
    assert urlsplit(sockets[0]).path == "/ws/chat"


def test_a_fresh_token_that_is_refused_ends_the_session_and_the_next_one_begins(
    open_window: OpenWindow, product: Site
) -> None:
    window, server = _window(open_window)
    window.page.clock.install()
    chat = _embed(window, product, f"() => {json.dumps(_token())}")
    expect(chat.get_by_role("status")).to_have_text("Connected")

    def refuse(frame: Frame) -> None:
        server.on_auth = lambda frame: server.welcome()
        server.push({"type": "error", "code": "forbidden", "message": "another user's token"})

    def put_off(frame: Frame) -> None:
        server.on_auth = refuse
        server.push({"type": "error", "code": "busy", "message": "no keys now"})

    server.on_auth = put_off
    _pass(window, minutes=10)
    server.wait_for(lambda: server.sessions >= 2)
    assert len(server.of_type("auth")) >= 3, "where it could not be checked it is shown again"
    expect(chat.get_by_role("status")).to_have_text("Connected")


@pytest.mark.parametrize("none", ["throw new Error('signed out')", "return 'no token'", "return 7"])
def test_where_no_token_is_given_the_page_says_so_and_asks_again(
    open_window: OpenWindow, product: Site, none: str
) -> None:
    window, server = _window(open_window)
    token = f"if (window.asked++ > 3) return {json.dumps(_token())}; {none};"
    chat = _embed(window, product, f"async () => {{ {token} }}")
    expect(chat.get_by_role("status")).to_have_text(
        "No sign-in from the page around this one, trying again"
    )
    assert server.sessions == 0
    expect(chat.get_by_role("status")).to_have_text("Connected")
    window.complaints = [line for line in window.complaints if "signed out" not in line]


def test_a_page_that_may_not_connect_cannot_show_the_chat_within_it(
    open_window: OpenWindow,
) -> None:
    window, server = _window(open_window)
    with site() as stranger:
        chat = _embed(window, stranger, f"() => {json.dumps(_token())}")
        expect(window.page.locator("iframe")).to_be_visible()
    server.wait_for(lambda: any("frame-ancestors" in line for line in window.complaints))
    expect(chat.locator("#token-form")).to_have_count(0)
    assert server.sessions == 0
    assert window.page.evaluate("window.asked") == 0
    window.complaints.clear()


def test_behind_a_proxy_that_knows_its_users_there_is_no_form(
    open_window: OpenWindow, tmp_path: Path
) -> None:
    args = ["--auth", "proxy", "--trusted-proxies", "127.0.0.1"]
    with ServerProcess(tmp_path / "data", args=args) as proxied:
        window = open_window(None)
        server = ScriptedServer(window.page)
        window.page.goto(f"{proxied.url}/?as=mallory&to=bob")
        window.expect_connection("Connected")
        expect(window.page.get_by_test_id("my-name")).to_have_text("alice")
        assert set(server.query) == {"device"}
        assert server.of_type("auth") == []
        expect(window.page.locator("#start")).to_be_hidden()


# ----------------------------------------------------------------------------------------------


def _window(open_window: OpenWindow) -> tuple[Window, ScriptedServer]:
    """Return a window, and a server that takes every token for alice's."""
    window = open_window(None)
    talk = ScriptedServer(window.page, on_auth=lambda frame: talk.welcome())
    return window, talk


def _token(
    user: str = "alice", *, seconds: int = 600, age: int = 0, number: int = 0, secret: str = SECRET
) -> str:
    """Return a token that is good for so long, by default ten minutes."""
    now = int(time.time())
    claims = {"sub": user, "iat": now - age, "exp": now + seconds, "jti": str(number)}
    return jwt.encode(claims, secret, "HS256")


def _paste(window: Window, text: str) -> None:
    window.page.get_by_label("Your token").fill(text)
    window.page.get_by_role("button", name="Sign in").click()


def _requests(page: Page) -> list[str]:
    """Return a list that grows by the address and the headers of each request of the page."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.extend([json.dumps(request.headers), request.url])

    page.on("request", note)
    return asked


def _kept_for_good(page: Page) -> str:
    """Return what the browser keeps beyond the tab."""
    kept: str = page.evaluate("JSON.stringify({ ...localStorage }) + document.cookie")
    return kept + json.dumps(page.context.storage_state(indexed_db=True))


def _embed(window: Window, place: Site, token: str, fragment: str = "") -> FrameLocator:
    """Open a page of another site that shows the chat within it; return the chat."""
    place.page = f"""<!doctype html><title>A product</title><link rel="icon" href="data:,">
        <main style="height: 600px"></main>
        <script type="module">
          import {{ start }} from "{window.url}/embed.js";
          window.asked = 0;
          const url = "{window.url}/{fragment}";
          start(document.querySelector("main"), {{ token: {token}, to: "bob", url }});
        </script>"""
    window.page.goto(place.url)
    return window.page.frame_locator("iframe")


def _pass(window: Window, minutes: int) -> None:
    """Let time pass, slowly enough for pings to be answered."""
    for _ in range(minutes * 6):
        window.page.clock.run_for(10_000)

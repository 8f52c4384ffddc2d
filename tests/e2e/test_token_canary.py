"""No piece of a token is ever shown: in no answer, log or metric, whatever fails, and in no output
of the commands or of the Python client.
"""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

import landline
from landline.client import Refused
from landline_stack.ports import free_port
from support.chats import Chats
from support.issuer import Issuer
from support.saying import say
from support.server import ServerProcess
from support.waiting import WAIT_SECONDS, until

# What the server runs first. In Python's development mode asyncio tells what took long, with its
# arguments; and a defect ends in a traceback.
DEFECT = """
import time
from landline.auth.tokens import Tokens

check = Tokens.check

async def slow_and_broken(self, token):
    principal = await check(self, token)
    if principal.user == "bob":
        time.sleep(0.15)
    if principal.user == "defect":
        raise RuntimeError("a defect of the tests")
    return principal

Tokens.check = slow_and_broken
"""


class Canaries:
    """Tokens, good and bad, and the pieces of them that may be nowhere."""

    def __init__(self, issuer: Issuer) -> None:
        good = issuer.token("alice")
        self.good = [good, issuer.token("bob"), issuer.token("backend", is_service=True)]
        self.defect = issuer.token("defect")
        self.bad = [
            issuer.token("alice", -60),
            f"{good}x",
            f"{good}!",
            good.replace(".", ".x", 1),
            good.rpartition(".")[0] + ".",
            good + "A" * 8_000,
        ]

    def check(self, *shown: str) -> None:
        """Fail if a piece of a token is in what was shown."""
        tokens = [*self.good, self.defect, *self.bad]
        pieces = {
            part[start : start + 16]
            for t in tokens
            for part in t.split(".")[1:]
            for start in (0, 20)
        }
        for text in shown:
            found = [piece for piece in pieces if len(piece) == 16 and piece in text]
            assert not found, [text[max(0, text.index(each) - 200) :][:300] for each in found]


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def canaries(issuer: Issuer) -> Canaries:
    return Canaries(issuer)


@pytest.fixture
def server(tmp_path: Path, issuer: Issuer) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", args=issuer.args) as server:
        yield server


@pytest.mark.parametrize("environment", [{}, {"PYTHONDEVMODE": "1"}], ids=["plain", "development"])
async def test_a_server_shows_no_piece_of_a_token_whatever_fails(
    environment: dict[str, str], tmp_path: Path, issuer: Issuer, canaries: Canaries
) -> None:
    """Bodies, headers, frames and close reasons; the log, its files and the metrics."""
    (tmp_path / "sitecustomize.py").write_text(DEFECT)
    logs, admin_port = tmp_path / "logs", free_port()
    args = [*issuer.args, "--log-dir", str(logs), "--admin-port", str(admin_port)]
    environment = {**environment, "PYTHONPATH": str(tmp_path)}
    with ServerProcess(tmp_path / "data", args=args, env=environment) as server:
        shown: list[str] = []
        for token in [*canaries.good, *canaries.bad]:
            shown += await asyncio.to_thread(_ask, server.url, token)
            shown += await _sign_in_by_header(server.ws_url, token)
            shown += await _sign_in_by_frame(server.ws_url, token)
        shown += await asyncio.to_thread(_ask, server.url, canaries.defect)
        renewed = connect(server.ws_url, additional_headers=issuer.bearer("alice"))
        async with renewed as client:
            for token in [*canaries.good, *canaries.bad]:
                await say(client, type="auth", token=token)
            await say(client, type="auth", token=canaries.good[0], more={"token": canaries.good[0]})
            await say(client, type="ping", token=canaries.good[0])
            shown += await _heard_until_the_end(client, pings=True)
        for url in (server.url, f"http://127.0.0.1:{admin_port}"):
            metrics = await asyncio.to_thread(httpx.get, f"{url}/metrics", trust_env=False)
            shown.append(metrics.text)
        # The last of all: a defect in a task of its own ends the server.
        with suppress(OSError, WebSocketException):
            shown += await _sign_in_by_frame(server.ws_url, canaries.defect)
        await until(lambda: "service_failed" in server.log(), "it tells of the defect")
    written = server.log() + "".join(path.read_text() for path in logs.iterdir())
    assert "Traceback" in written
    assert ("seconds" in written and "Executing <" in written) == ("PYTHONDEVMODE" in environment)
    assert "landline_connections" in "".join(shown)
    canaries.check(written, *shown)


def _ask(url: str, token: str) -> list[str]:
    """Show a token in requests, where it belongs and where it does not; return the answers."""
    bearer, shown = {"Authorization": f"Bearer {token}"}, []
    with httpx.Client(base_url=url, timeout=WAIT_SECONDS, trust_env=False) as client:
        message = {"to": "bob", "content": "hello", "ref": "r"}
        for method, path, headers, body in (
            ("POST", "/v1/messages", bearer, message),
            ("POST", "/v1/messages", bearer, {**message, "to": f"{token} "}),
            ("POST", "/v1/messages", bearer, {**message, "ref": [token]}),
            ("POST", "/v1/messages", {}, {**message, "token": token}),
            ("POST", "/v1/messages", {"Authorization": token}, message),
            ("POST", "/v1/messages", {"Authorization": f"Basic {token}"}, message),
            ("POST", f"/v1/messages?access_token={quote(token)}", {}, message),
            ("PUT", "/v1/messages", {**bearer, "Content-Type": token[:100]}, message),
            ("GET", "/v1/users/alice/sessions", bearer, None),
            ("GET", f"/v1/users/alice/sessions?token={quote(token)}", bearer, None),
            ("DELETE", f"/v1/users/carol/sessions?until={quote(token)}", bearer, None),
            ("GET", f"/v1/nothing?{quote(token)}", bearer, None),
            ("GET", "/ws/chat", bearer, None),
        ):
            try:
                answer = client.request(method, path, headers=headers, json=body)
            except httpx.TransportError as error:
                shown.append(str(error))  # a defect may end a connection
                continue
            shown.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
    return shown


async def _sign_in_by_header(url: str, token: str) -> list[str]:
    """Return what a server answers to a token in the header, and where it does not belong."""
    shown = []
    for query, header in (
        ("", f"Bearer {token}"),
        ("?username=mallory", f"Bearer {token}"),
        (f"?token={quote(token)}&username=a&username=b", f"Bearer {token}"),
        ("", token),
    ):
        try:
            async with connect(url + query, additional_headers={"Authorization": header}) as client:
                shown += await _heard_until_the_end(client, pings=True)
        except InvalidStatus as refused:
            response = refused.response
            shown.append(f"{response.status_code} {response.headers} {response.body!r}")
    return shown


async def _sign_in_by_frame(url: str, token: str) -> list[str]:
    """Return what a server says to a token in the first frame, and in frames that are none."""
    shown = []
    for frame in (
        {"type": "auth", "token": token},
        {"type": "auth", "token": [token]},
        {"type": token, "token": token},
    ):
        async with connect(url) as client:
            await say(client, **frame)
            shown += await _heard_until_the_end(client, pings=True)
    async with connect(f"{url}?username=mallory") as client:
        await say(client, type="auth", token=token)
        shown += await _heard_until_the_end(client, pings=False)
    return shown


async def _heard_until_the_end(client: ClientConnection, *, pings: bool) -> list[str]:
    """Return the frames up to the answer of a ping, or up to the end with its reason."""
    heard = []
    try:
        if pings:
            await say(client, type="ping")
        async with asyncio.timeout(WAIT_SECONDS):
            async for text in client:
                heard.append(str(text))
                if '"pong"' in heard[-1]:
                    break
    except ConnectionClosed:
        pass
    return [*heard, f"{client.close_code} {client.close_reason}"]


async def test_the_commands_show_no_piece_of_a_token(
    server: ServerProcess, canaries: Canaries, tmp_path: Path
) -> None:
    """Refused by the server, by themselves, or with nobody there."""
    chats = Chats(server.ws_url, tmp_path / "state")
    nobody = f"ws://127.0.0.1:{free_port()}/ws/chat"
    file = tmp_path / "token"

    async def run(*command: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [*(sys.executable, "-X", "dev", "-m", "landline"), *command, "--token-file", str(file)],
            input="hello\n", capture_output=True, check=False, text=True, timeout=WAIT_SECONDS,
            env=chats.environment({}),
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    ended: list[tuple[int, str]] = []
    # One is refused at once, one for as long as the chat waits for its answers, one by the command.
    for token in (canaries.good[0], canaries.bad[0], canaries.bad[-1]):
        file.write_text(token)
        ended += await asyncio.gather(
            run("chat", "--as", "mallory", "--to", "bob", "--url", server.ws_url),
            run("sessions", "list", "--user", "bob", "--url", server.url),
            run("sessions", "list", "--user", "bob", "--url", nobody),
        )
    canaries.check(*(said for _, said in ended), server.log())
    assert [code for code, _ in ended] == [1] * 6 + [2] * 3, ended


async def test_the_python_client_logs_no_piece_of_a_token(
    server: ServerProcess, canaries: Canaries, caplog: pytest.LogCaptureFixture
) -> None:
    """At every level, with a loop in debug mode, and in no error."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "landline.client", "websockets", "websockets.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    asyncio.get_running_loop().set_debug(True)
    said = []
    async with landline.connect(server.ws_url, token=canaries.good[0]) as chat:
        await chat.send("bob", "hello")
        said += [repr(chat), repr(vars(chat))]
    for token in canaries.bad:
        with pytest.raises(landline.ClientError) as caught:
            async with landline.connect(server.ws_url, token=token):
                pass
        said += [repr(caught.value), str(caught.value)]
    with pytest.raises(Refused) as refused:
        async with landline.connect(server.ws_url, username="bob", token=lambda: canaries.good[0]):
            pass
    assert caplog.records
    canaries.check(caplog.text, repr(refused.value), *said, server.log())

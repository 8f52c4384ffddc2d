"""`landline sessions` as a process, with a server that answers as a test says."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from landline_stack.ports import free_port
from support.scripted_http import Answer, Asked, scripted_http

WAIT_SECONDS = 60.0
ROWS = [
    {
        "session": "s1",
        "server": "ws-1",
        "opened": "2026-01-02T03:04:05.678Z",
        "address": "192.0.2.7",
        "origin": "https://chat.example.org",
    },
    {
        "session": "s2",
        "server": "ws-2",
        "opened": "2026-01-02T03:04:06.678Z",
        "address": "2001:db8::1",
    },
]


def answering(answer: Any, status: int = 200) -> Callable[[Asked], Answer]:
    body = answer if isinstance(answer, str) else json.dumps(answer)
    return lambda _asked: Answer(body, status)


async def run(
    *arguments: str, stdout: int = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    """Run the command; return its exit code, its output and what it complains of."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "landline", "sessions", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        timeout=WAIT_SECONDS,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )
    assert "Traceback" not in (done.stdout or "") + done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file that the environment names."""
    file = tmp_path / "service.token"
    file.write_text("canary-token\n")
    monkeypatch.setenv("LANDLINE_TOKEN_FILE", str(file))
    return str(file)


async def test_in_a_pipe_a_session_is_a_line_with_tabs(token: str) -> None:
    async with scripted_http(answering({"user": "Zoë", "sessions": ROWS})) as server:
        code, out, errors = await run(
            *("list", "--user", "Zoë", "--url", server.url, "--token-file", token),
            LANDLINE_TOKEN_FILE="/nowhere",
        )
        assert (code, errors) == (0, "")
        assert out.splitlines() == [
            "s1\tws-1\t2026-01-02T03:04:05.678Z\t192.0.2.7\thttps://chat.example.org",
            "s2\tws-2\t2026-01-02T03:04:06.678Z\t2001:db8::1\t",
        ]
        [asked] = server.asked
        assert (asked.method, asked.target) == ("GET", "/v1/users/Zo%C3%AB/sessions")
        assert asked.headers["authorization"] == "Bearer canary-token"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            ROWS,
            [
                "SESSION  SERVER  OPENED                    ADDRESS      ORIGIN",
                "s1       ws-1    2026-01-02T03:04:05.678Z  192.0.2.7    https://chat.example.org",
                "s2       ws-2    2026-01-02T03:04:06.678Z  2001:db8::1",
            ],
        ),
        ([], ["a has no session"]),
        ([{"session": "\x1b[2J\tx"}], None),
    ],
)
async def test_on_a_terminal_they_are_a_table(
    rows: list[dict[str, str]], lines: list[str] | None
) -> None:
    read, write = pty.openpty()
    async with scripted_http(answering({"user": "a", "sessions": rows})) as server:
        code, _, _ = await run("list", "--user", "a", "--url", server.url, stdout=write)
    shown = os.read(read, 65_536).decode()
    os.close(read)
    os.close(write)
    assert code == 0
    assert "\x1b" not in shown
    if lines is not None:
        assert shown.splitlines() == lines


async def test_without_sessions_a_pipe_gets_nothing() -> None:
    async with scripted_http(answering({"user": "a", "sessions": []})) as server:
        assert await run("list", "--user", "a", "--url", server.url) == (0, "", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"user": "a", "closed": 2}, "a: 2 sessions were closed\n"),
        ({"user": "a", "closed": 1}, "a: 1 session was closed\n"),
        ({"user": "a"}, "a: all sessions are being closed\n"),
        ({"user": "a", "closed": 0, "until": "T"}, "a: 0 sessions were closed; away until T\n"),
    ],
)
async def test_close_says_what_was_done(answer: dict[str, Any], said: str) -> None:
    async with scripted_http(answering(answer)) as server:
        assert await run("close", "--user", "a", "--url", server.url) == (0, said, "")
        [asked] = server.asked
        assert (asked.method, asked.target) == ("DELETE", "/v1/users/a/sessions")


@pytest.mark.parametrize("until", ["10m", "2099-01-02T05:04:05+02:00", "1999-01-02T05:04:05+02:00"])
async def test_the_time_goes_to_the_server_as_rfc_3339(until: str) -> None:
    before = datetime.now(UTC)
    async with scripted_http(answering({"user": "a"})) as server:
        code, _, _ = await run("close", "--user", "a", "--until", until, "--url", server.url)
        assert code == 0
        path, _, query = server.asked[0].target.partition("?until=")
        assert path == "/v1/users/a/sessions"
        sent = query.replace("%3A", ":")
        if until == "10m":
            time = datetime.fromisoformat(sent)
            assert (
                timedelta(0)
                <= time - before - timedelta(minutes=10) + timedelta(milliseconds=1)
                <= timedelta(seconds=WAIT_SECONDS)
            )
        else:
            assert sent == f"{until[:4]}-01-02T03:04:05.000Z"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (
            "a service token is needed",
            403,
            "HTTP 403: a service token is needed; this needs a service token: give another with",
        ),
        ({"code": "x", "message": "it has expired"}, 401, "HTTP 401: it has expired; this needs"),
        ("<html>", 404, "answers with HTTP 404; is this the address of a Landline server?\n"),
        ("", 302, "answers with HTTP 302\n"),
        ("the bus is down", 503, "answers with HTTP 503: the bus is down\n"),
        ("hello", 200, "answers with something else: is it a Landline server?\n"),
        ("[]", 200, "answers with something else: is it a Landline server?\n"),
        ({"user": "a"}, 200, "answers with something else: is it a Landline server?\n"),
        ({"sessions": [7]}, 200, "answers with something else: is it a Landline server?\n"),
    ],
)
async def test_what_a_server_does_not_do_is_one_sentence(
    answer: Any, status: int, said: str
) -> None:
    async with scripted_http(answering(answer, status)) as server:
        code, out, errors = await run("list", "--user", "a", "--url", server.url)
        assert server.asked[0].headers["authorization"] == "Bearer canary-token"
    assert (code, out) == (1, "")
    assert errors.startswith(f"landline: {server.url} ")
    assert said in errors
    assert "canary" not in errors


async def test_the_address_of_the_chat_serves_too_also_below_a_prefix() -> None:
    async with scripted_http(answering({"user": "a"})) as server:
        port = server.url.rpartition(":")[2]
        for url in (f"ws://127.0.0.1:{port}/x/ws/chat", f"http://127.0.0.1:{port}/x/"):
            code, _, _ = await run(
                "close", "--user", "a", "--url", url, http_proxy="http://127.0.0.1:9"
            )
            assert code == 0
        assert [asked.target for asked in server.asked] == ["/x/v1/users/a/sessions"] * 2


async def test_without_a_token_nobody_is_asked() -> None:
    async with scripted_http(answering({"user": "a"})) as server:
        code, out, errors = await run(
            "close", "--user", "a", "--url", server.url, LANDLINE_TOKEN_FILE=""
        )
        assert (code, out, server.asked) == (2, "", [])
    assert errors.startswith("landline: --token-file is missing: give a file with a service token")
    assert "--auth none knows no services" in errors


async def test_nobody_there_is_one_sentence() -> None:
    code, out, errors = await run("list", "--user", "a", "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, out) == (1, "")
    assert errors.startswith("landline: nothing listens at http://127.0.0.1:")

"""A client that floods: what it sends, where it ends, and that a slowed user is found."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from landline import cli
from landline_verify.checker.judge import judge
from landline_verify.clients import flooder
from landline_verify.options import is_loopback
from landline_verify.report.text import lines
from support.standin import Frame, Session, Standin
from verify.runs import run_standin

SECONDS = 60.0


class Sink:
    """A server that takes whatever it is sent, and counts it."""

    def __init__(self) -> None:
        self.frames: list[str | bytes] = []
        self.users: set[str] = set()

    async def take(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.users |= set(parse_qs(urlsplit(connection.request.path).query)["username"])
        async for frame in connection:
            self.frames.append(frame)


def address(server: Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws/chat"


async def flooded(kind: str, *bounds: str) -> tuple[Sink, int]:
    """Let a flood of this kind run into a sink; return that, and how many frames it counted."""
    sink = Sink()
    async with serve(sink.take, "127.0.0.1", 0, max_size=2**20) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", flooder.__name__, kind, address(server), "noah", *bounds,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
        assert process.returncode == 0
    return sink, int(said.splitlines()[-1])


def kinds_of(frames: Sequence[str | bytes]) -> Counter[str]:
    """Count frames by their type; those that are no JSON as bad."""
    counted: Counter[str] = Counter()
    for frame in frames:
        try:
            counted[json.loads(frame)["type"]] += 1
        except ValueError:
            counted["bad"] += 1
    return counted


@pytest.mark.parametrize("kind", flooder.FLOOD_KINDS)
async def test_a_flood_is_what_it_is_called_and_ends_by_itself(kind: str) -> None:
    """After its last frame: the time that it was given is longer than the test's."""
    sink, count = await flooded(kind, "3600", "100")
    assert count >= 100
    assert sink.users == {"noah"}
    kinds = kinds_of(sink.frames)
    largest = max(len(frame) for frame in sink.frames)
    assert largest <= 64 * 1024
    match kind:
        case "junk":
            assert set(kinds) == {"ping"}
            assert largest > 60 * 1024
        case "acks":
            assert set(kinds) == {"ack"}
            assert all(len(json.loads(frame)["ids"]) == 256 for frame in sink.frames)
        case "bad":
            assert kinds["bad"] >= 19 * (kinds["ping"] - 1) > 0  # the last batch may be cut off
        case "sends":
            assert set(kinds) == {"send"}
            assert all(json.loads(frame)["to"] == "noah" for frame in sink.frames)
        case _:
            assert set(kinds) == {"ping"}


async def test_a_flood_ends_with_its_time() -> None:
    _, count = await flooded("pings", "0.5", "1000000000")
    assert 0 < count < 1_000_000_000


@pytest.mark.parametrize(
    ("url", "is_near"),
    [
        ("ws://127.0.0.1:8081/ws", True),
        ("ws://127.9.9.9/ws", True),
        ("ws://[::1]:8081/ws", True),
        ("ws://localhost:8081/ws", True),
        ("ws://192.0.2.7/ws", False),
        ("ws://127.0.0.1.example.org/ws", False),
        ("ws://[2001:db8::1]/ws", False),
    ],
)
def test_only_loopback_is_loopback(url: str, is_near: bool) -> None:
    assert is_loopback(url) is is_near


class Slowed(Standin):
    """A server that lets everybody wait for 3 s, once it was flooded."""

    _is_flooded = False

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        if "username=flood-" in socket.request.path:
            self._is_flooded = True
        else:
            await super()._serve(socket)

    def _accept(self, session: Session, frame: Frame) -> None:
        if self._is_flooded:
            asyncio.get_running_loop().call_later(3.0, super()._accept, session, frame)
        else:
            super()._accept(session, frame)


async def test_a_server_that_lets_others_wait_while_it_is_flooded_is_found_out() -> None:
    history, _ = await run_standin(Slowed, duration_seconds=12, rate=60, users=8, flood="bad")
    verdict = judge(history)
    assert verdict.outcome == "fail"
    assert {each.invariant for each in verdict.violations} == {"I12b"}
    text = "\n".join(lines(history, verdict))
    assert "Prompt answers" in text
    assert "beside the flood of bad it waited " in text


def test_flooding_is_off_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["verify", "--help"])
    assert "(default: off)" in " ".join(capsys.readouterr().out.split())

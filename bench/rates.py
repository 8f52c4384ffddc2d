"""Whether a limit lets through what it says, and what others notice of who is above it.

One user sends at ten times `--limit-messages`, over as many sessions as it takes to stay below the
limit of frames. Others chat, before it and meanwhile. Then the rows of the store are counted: what
was not accepted must not be there. The server has one core. Ends by itself.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench import machine
from bench.pairs import Pairs, Timed
from bench.signing import Signer
from landline.config.limits import MESSAGES_BURST, USUAL_LIMITS
from landline_stack import LandlineServer

USER: Final = "hasty"
TIMES: Final = 10
# A session may send more frames than this, and a user have no more sessions than the usual limit.
FRAMES_PER_SECOND: Final = 40.0
OFF_BY: Final = 0.05
RATIO: Final = 1.2
ANSWER_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.1


@dataclass
class Answers:
    """What became of the sends, over all sessions."""

    sent: int = 0
    seconds: float = 0.0
    accepted: int = 0
    too_fast: int = 0
    others: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Return how many answers there are."""
        return self.accepted + self.too_fast + len(self.others)


class _Session(WSListener):
    """One of the sessions of the user who is too fast."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        parsed = orjson.loads(frame.get_payload_as_bytes())
        match parsed:
            case {"type": "accepted"}:
                self._answers.accepted += 1
            case {"type": "error", "code": "too_fast", "outcome": "rejected"}:
                self._answers.too_fast += 1
            case {"type": "error", "code": code}:
                self._answers.others.append(code)


async def hurry(server: LandlineServer, signer: Signer, rate: float, seconds: float) -> Answers:
    """Send so many messages a second as one user, and wait for all answers."""
    answers = Answers()
    sessions = []
    for _ in range(_sessions(rate)):
        transport, _ = await ws_connect(
            partial(_Session, answers),
            f"{server.ws_url}?username={USER}",
            extra_headers=signer.headers(USER),
        )
        sessions.append(transport)
    send = orjson.dumps({"type": "send", "to": "nobody", "content": "x" * 100})
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        while answers.sent < passed * rate:
            sessions[answers.sent % len(sessions)].send(WSMsgType.TEXT, send)
            answers.sent += 1
        await asyncio.sleep(1 / rate)
    answers.seconds = time.perf_counter() - began
    deadline = time.monotonic() + ANSWER_SECONDS
    while answers.count < answers.sent and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    for transport in sessions:
        transport.disconnect()
    return answers


async def measure(
    server: LandlineServer, signer: Signer, options: argparse.Namespace
) -> tuple[Timed, Timed, Answers]:
    """Return what others notice before and meanwhile, and what became of the sends."""
    pairs = await Pairs.connect(server.ws_url, options.pairs, signer.headers, local="127.0.0.2")
    alone = await pairs.measure(options.alone)
    print(f"others alone:     {alone}", flush=True)
    hurrying = hurry(server, signer, options.limit * TIMES, options.seconds)
    beside, answers = await asyncio.gather(pairs.measure(options.seconds), hurrying)
    print(f"others meanwhile: {beside}", flush=True)
    pairs.hang_up()
    return alone, beside, answers


def stored(database: Path, expected: int) -> int:
    """Return how many messages of the hasty user are in the store, once so many are there."""
    deadline = time.monotonic() + ANSWER_SECONDS
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        while True:
            query = "SELECT count(*) FROM messages WHERE sender = ?"
            [count] = connection.execute(query, (USER,)).fetchone()
            if count >= expected or time.monotonic() > deadline:
                return int(count)
            time.sleep(POLL_SECONDS)


def report(limit: float, alone: Timed, beside: Timed, answers: Answers, rows: int) -> Iterator[str]:
    """Yield the lines: what passed, what others noticed, and what the store has."""
    burst = limit * MESSAGES_BURST
    passed = (answers.accepted - burst) / answers.seconds
    yield (
        f"{answers.sent:,} sends in {answers.seconds:.1f} s: {answers.accepted:,} accepted,"
        f" {answers.too_fast:,} too_fast, {len(answers.others)} other errors,"
        f" {answers.sent - answers.count} without an answer"
    )
    yield (
        f"{passed:.2f} accepted/s beside the burst of {burst:g}, of {limit:g}/s:"
        f" {passed / limit - 1:+.1%} (target: within {OFF_BY:.0%})"
    )
    yield (
        f"p99 of others, meanwhile/alone: {beside.p99_seconds / alone.p99_seconds:.2f}"
        f" (target: at most {RATIO})"
    )
    yield f"{rows:,} rows in the store, {rows - answers.accepted:+} (target: as many as accepted)"


def _sessions(rate: float) -> int:
    return max(1, round(rate / FRAMES_PER_SECOND + 0.5))


def main() -> None:
    """Start a server, send too fast, print what passed and what others noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=float, default=30.0, help="seconds of the others before it")
    parser.add_argument("--limit", type=float, default=USUAL_LIMITS.messages, help="messages/s")
    parser.add_argument("--pairs", type=int, default=4, help="others")
    options = parser.parse_args()
    if options.limit <= 0 or _sessions(options.limit * TIMES) > USUAL_LIMITS.user_connections:
        parser.error("--limit: the sends would need more sessions than a user may have")
    print(
        f"{machine.describe()}; {options.limit * TIMES:g} sends/s at a limit of {options.limit:g}/s"
    )
    with tempfile.TemporaryDirectory() as folder:
        signer = Signer("HS256", Path(folder) / "keys")
        server = LandlineServer.embedded("server", Path(folder), prefix=machine.share_cores())
        server.arguments += [*signer.arguments, "--limit-messages", f"{options.limit:g}"]
        with server:
            alone, beside, answers = uvloop.run(measure(server, signer, options))
            database = Path(folder) / "data" / "landline.db"
            stored(database, answers.accepted)
        # It has ended, so nothing comes any more.
        rows = stored(database, answers.accepted)
    print(*report(options.limit, alone, beside, answers, rows), sep="\n")


if __name__ == "__main__":
    main()

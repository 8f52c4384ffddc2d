"""How many messages a second are accepted, delivered and acknowledged, and how fast.

Pairs of connections chat: each keeps `--pipeline` sends unanswered, each acknowledges what it
receives. The server has one core to itself, the load the others. Ends by itself.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import orjson
import psutil
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from support.server import ServerProcess


@dataclass
class Tally:
    """What all connections counted together."""

    accepted: int = 0
    received: int = 0
    delivered: int = 0
    errors: int = 0
    latencies: list[float] = field(default_factory=list)
    is_over: bool = False


class Chatter(WSListener):
    """One of a pair: sends to the other, acknowledges, counts."""

    def __init__(
        self, number: int, pipeline: int, content: str, run: str, tally: Tally, *, prefix: str = ""
    ) -> None:
        """`prefix`: what every user's name begins with."""
        self._prefix = prefix
        self._number = number
        self._pipeline = pipeline
        self._content = content
        self._run = run
        self._tally = tally
        self._sent_at: dict[str, float] = {}
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def begin(self) -> None:
        """Fill the pipeline; every answer is followed by the next send."""
        for _ in range(self._pipeline):
            self._send()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        parsed = orjson.loads(frame.get_payload_as_bytes())
        match parsed["type"]:
            case "accepted":
                self._tally.accepted += 1
                started = self._sent_at.pop(parsed["ref"])
                self._tally.latencies.append(time.perf_counter() - started)
                self._send()
            case "message":
                self._tally.received += 1
                ack = orjson.dumps({"type": "ack", "ids": [parsed["id"]]})
                transport.send(WSMsgType.TEXT, ack)
            case "status":
                self._tally.delivered += len(parsed["ids"])
            case "error":
                self._tally.errors += 1

    def _send(self) -> None:
        if self._tally.is_over or self._transport is None:
            return
        ref = f"{self._run}-{self._number}-{self._tally.accepted}-{len(self._sent_at)}"
        self._sent_at[ref] = time.perf_counter()
        partner = f"{self._prefix}user{self._number ^ 1}"
        send = {"type": "send", "to": partner, "content": self._content, "ref": ref}
        self._transport.send(WSMsgType.TEXT, orjson.dumps(send))


async def measure(url: str, options: argparse.Namespace, pid: int) -> str:
    """Run the load against a server. Returns the line for the report."""
    tally = Tally()
    run = uuid4().hex[:8]
    content = "x" * options.size
    chatters = []
    for number in range(options.connections):
        _transport, chatter = await ws_connect(
            partial(Chatter, number, options.pipeline, content, run, tally),
            f"{url}?username=user{number}",
        )
        assert isinstance(chatter, Chatter)
        chatters.append(chatter)
    for chatter in chatters:
        chatter.begin()
    await asyncio.sleep(1.0)
    process = psutil.Process(pid)
    tally.latencies.clear()
    before = (tally.accepted, tally.delivered, sum(process.cpu_times()[:2]), time.perf_counter())
    await asyncio.sleep(options.seconds)
    after = (tally.accepted, tally.delivered, sum(process.cpu_times()[:2]), time.perf_counter())
    tally.is_over = True
    seconds = after[3] - before[3]
    latencies = sorted(tally.latencies)
    percentiles = statistics.quantiles(latencies, n=100)
    return (
        f"pipeline {options.pipeline:3}: {(after[0] - before[0]) / seconds:7,.0f} accepted/s, "
        f"{(after[1] - before[1]) / seconds:7,.0f} delivered/s, "
        f"p50 {percentiles[49] * 1e3:6.1f} ms, p99 {percentiles[98] * 1e3:6.1f} ms, "
        f"server at {(after[2] - before[2]) / seconds:.0%} of a core, "
        f"{process.memory_info().rss >> 20} MiB, {tally.errors} errors"
    )


def main() -> None:
    """Start a server, load it, print a line per pipeline depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=100, help="bytes of content")
    parser.add_argument("--pipelines", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{options.connections} connections, {options.size}-byte messages, {len(cores)} cores")
    for pipeline in options.pipelines:
        options.pipeline = pipeline
        with tempfile.TemporaryDirectory() as folder:
            server = ServerProcess(Path(folder) / "data")
            server.start()
            try:
                os.sched_setaffinity(server.pid, cores[:1])
                for thread in psutil.Process(server.pid).threads():
                    os.sched_setaffinity(thread.id, cores[:1])
                os.sched_setaffinity(0, cores[1:] or cores)
                print(uvloop.run(measure(server.ws_url, options, server.pid)), flush=True)
            finally:
                server.kill()


if __name__ == "__main__":
    main()

"""The load that several measurements share: pairs of connections that chat."""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import orjson
import psutil
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.signing import no_headers
from landline_stack import LandlineServer


@dataclass(frozen=True, slots=True)
class Load:
    """Half of the connections chat with the other half, pair by pair.

    Each connection keeps `pipeline` sends of `size_bytes` unanswered, and acknowledges what it
    receives. With several servers the partners of a pair are on different ones.
    """

    connections: int
    pipeline: int
    size_bytes: int
    seconds: float
    warm_up_seconds: float


def add_options(
    parser: argparse.ArgumentParser, pipelines: Sequence[int] | None, seconds: float | None
) -> None:
    """Add the options that make a load, with these defaults."""
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=seconds, help="that count, of each run")
    parser.add_argument("--size", type=int, default=100, help="bytes of content")
    parser.add_argument(
        "--pipelines", type=int, nargs="+", default=pipelines, help="sends without an answer"
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened in `seconds`: `latencies` are the seconds from each send to its `accepted`.

    `cpu_seconds` are those of all servers together. `stored` is 0 where nobody counts the rows.
    """

    seconds: float
    accepted: int
    received: int
    delivered: int
    stored: int
    cpu_seconds: float
    errors: int
    latencies: Sequence[float]

    @property
    def accepted_per_second(self) -> float:
        """Return how many messages were accepted in a second."""
        return self.accepted / self.seconds

    @property
    def cpu_seconds_per_1000(self) -> float:
        """Return what a thousand accepted messages cost the servers, with all that follows."""
        return self.cpu_seconds / self.accepted * 1_000

    def percentile_ms(self, percent: int) -> float:
        """Return the latency that this percentage of the sends does not exceed."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1_000

    def __str__(self) -> str:
        parts = [
            f"{self.accepted_per_second:7,.0f} accepted/s",
            f"{self.received / self.seconds:7,.0f} received/s",
            f"{self.delivered / self.seconds:7,.0f} delivered/s",
            *([f"{self.stored / self.seconds:7,.0f} stored/s"] if self.stored else []),
            f"p50 {self.percentile_ms(50):6.1f} ms",
            f"p99 {self.percentile_ms(99):6.1f} ms",
            f"{self.cpu_seconds / self.seconds:.0%} of a core",
            f"{self.cpu_seconds_per_1000:.3f} CPU s per 1,000",
            f"{self.errors} errors",
        ]
        return ", ".join(parts)


@dataclass
class _Tally:
    """What all connections counted together."""

    accepted: int = 0
    received: int = 0
    delivered: int = 0
    errors: int = 0
    latencies: list[float] = field(default_factory=list)
    is_over: bool = False


class _Chatter(WSListener):
    """One of a pair: sends to the other, acknowledges, counts."""

    def __init__(self, names: tuple[str, str], load: Load, tally: _Tally) -> None:
        self._name, self._partner = names
        self._pipeline = load.pipeline
        self._content = "x" * load.size_bytes
        self._tally = tally
        self._sent = 0
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
            case "message" | "member" | "room":
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
        self._sent += 1
        ref = f"{self._name}-{self._sent}"
        self._sent_at[ref] = time.perf_counter()
        send = {"type": "send", "to": self._partner, "content": self._content, "ref": ref}
        self._transport.send(WSMsgType.TEXT, orjson.dumps(send))


@dataclass(frozen=True, slots=True)
class _Reading:
    """All counts of one moment."""

    at: float
    accepted: int
    received: int
    delivered: int
    stored: int
    cpu_seconds: float


async def measure(
    servers: Sequence[LandlineServer],
    load: Load,
    count_stored: Callable[[], Awaitable[int]] | None = None,
    *,
    headers: Callable[[str], Mapping[str, str]] = no_headers,
) -> Measured:
    """Put the load on running servers, for `load.seconds` after the warm-up.

    `count_stored` returns how many messages the store has; `headers` what a user shows to get in.
    """
    tally = _Tally()
    run = uuid4().hex[:8]
    transports: list[WSTransport] = []
    chatters: list[_Chatter] = []
    for number in range(load.connections):
        names = (f"{run}user{number}", f"{run}user{number ^ 1}")
        transport, chatter = await ws_connect(
            partial(_Chatter, names, load, tally),
            f"{servers[number % len(servers)].ws_url}?username={names[0]}",
            extra_headers=headers(names[0]),
        )
        assert isinstance(chatter, _Chatter)
        transports.append(transport)
        chatters.append(chatter)
    for chatter in chatters:
        chatter.begin()
    processes = [psutil.Process(server.pid) for server in servers]

    async def read() -> _Reading:
        stored = 0 if count_stored is None else await count_stored()
        cpu_seconds = sum(sum(process.cpu_times()[:2]) for process in processes)
        return _Reading(
            time.perf_counter(), tally.accepted, tally.received, tally.delivered, stored,
            cpu_seconds,
        )  # fmt: skip

    await asyncio.sleep(load.warm_up_seconds)
    tally.latencies.clear()
    before = await read()
    await asyncio.sleep(load.seconds)
    after = await read()
    tally.is_over = True
    for transport in transports:
        transport.disconnect()
    return Measured(
        seconds=after.at - before.at,
        accepted=after.accepted - before.accepted,
        received=after.received - before.received,
        delivered=after.delivered - before.delivered,
        stored=after.stored - before.stored,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        errors=tally.errors,
        latencies=tally.latencies,
    )

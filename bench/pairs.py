"""Well-behaved users: pair by pair they write to one another, below every limit, and what each
push took is kept.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

# Each sends so many a second and acknowledges as many: together less than half of the frames that
# a session may send, and half of the messages that a user may.
MESSAGES_PER_SECOND: Final = 10.0
LATE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Timed:
    """The seconds from each send to its push, sorted. One that never came is infinite."""

    seconds: Sequence[float]
    errors: int

    @property
    def p99_seconds(self) -> float:
        """Return what 99 of 100 pushes do not exceed."""
        return self.seconds[int(len(self.seconds) * 0.99)]

    def __str__(self) -> str:
        return (
            f"{len(self.seconds):6,} pushes, p50 {statistics.median(self.seconds) * 1e3:6.1f} ms,"
            f" p99 {self.p99_seconds * 1e3:6.1f} ms, slowest {self.seconds[-1] * 1e3:6.1f} ms,"
            f" {self.errors} errors"
        )


class _Member(WSListener):
    """One of a pair. The text of each message is the moment when it was sent."""

    def __init__(self, partner: str) -> None:
        self.seconds: list[float] = []
        self.sent = 0
        self.errors = 0
        self._partner = partner
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        self._transport = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        parsed = orjson.loads(frame.get_payload_as_bytes())
        match parsed["type"]:
            case "message":
                self.seconds.append(time.perf_counter() - float(parsed["content"]))
                self._acknowledge(transport, parsed["id"])
            case "member" | "room":
                self._acknowledge(transport, parsed["id"])
            case "error":
                self.errors += 1

    def _acknowledge(self, transport: WSTransport, id: str) -> None:
        transport.send(WSMsgType.TEXT, orjson.dumps({"type": "ack", "ids": [id]}))

    def send(self) -> None:
        """Write to the partner. Without a connection that is an error."""
        self.sent += 1
        if self._transport is None:
            self.errors += 1
            return
        send = {"type": "send", "to": self._partner, "content": repr(time.perf_counter())}
        self._transport.send(WSMsgType.TEXT, orjson.dumps(send))

    def hang_up(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.disconnect()


class Pairs:
    """All of them, connected from one address."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self._members = members

    @classmethod
    async def connect(
        cls, url: str, count: int, headers: Callable[[str], Mapping[str, str]], *, local: str
    ) -> "Pairs":
        """Connect so many pairs from this address."""
        members = []
        for pair in range(count):
            names = (f"pair{pair}a", f"pair{pair}b")
            for name, partner in (names, names[::-1]):
                _, member = await ws_connect(
                    partial(_Member, partner),
                    f"{url}?username={name}",
                    extra_headers=headers(name),
                    local_addr=(local, 0),
                )
                assert isinstance(member, _Member)
                members.append(member)
        return cls(members)

    async def measure(self, seconds: float) -> Timed:
        """Let them chat for so long, and wait for what is under way then."""
        for member in self._members:
            member.seconds.clear()
            member.sent = member.errors = 0
        await asyncio.gather(
            *(
                self._chat(member, seconds, number / len(self._members) / MESSAGES_PER_SECOND)
                for number, member in enumerate(self._members)
            )
        )
        sent = sum(member.sent for member in self._members)
        deadline = time.monotonic() + LATE_SECONDS
        while sum(len(each.seconds) for each in self._members) < sent:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL_SECONDS)
        came = [each for member in self._members for each in member.seconds]
        late = [float("inf")] * (sent - len(came))
        return Timed(sorted(came) + late, sum(member.errors for member in self._members))

    def hang_up(self) -> None:
        """Let all of them leave."""
        for member in self._members:
            member.hang_up()

    @staticmethod
    async def _chat(member: _Member, seconds: float, delay_seconds: float) -> None:
        """Send evenly; `delay_seconds` later than others, so that not all send at once."""
        await asyncio.sleep(delay_seconds)
        for _ in range(round(seconds * MESSAGES_PER_SECOND)):
            member.send()
            await asyncio.sleep(1 / MESSAGES_PER_SECOND)

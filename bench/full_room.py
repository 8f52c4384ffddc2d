"""A full room: 256 members with two devices each, all at one server. Then one that waits: a device
that is owed many messages comes back.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psutil
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.machine import describe, share_cores
from landline_stack import LandlineServer, Stack

MEMBERS = 256
DEVICES = ("phone", "laptop")
LATE_SECONDS = 30.0
IN_FLIGHT = 64  # sends without an answer
CREATOR = "user-0"


@dataclass
class Tally:
    """What all devices counted together. `seconds`: from each send to each of its pushes."""

    wanted: int
    accepted: int = 0
    errors: int = 0
    seconds: list[float] = field(default_factory=list)
    are_all_there: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, seconds: float) -> None:
        """A push came so long after its send."""
        self.seconds.append(seconds)
        if len(self.seconds) == self.wanted:
            self.are_all_there.set()


class Device(WSListener):
    """Reads and acknowledges. The text of each message is the moment when it was sent."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.caught_up: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.place = asyncio.Semaphore(IN_FLIGHT)
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        parsed = orjson.loads(frame.get_payload_as_bytes())
        match parsed["type"]:
            case "message" | "room" | "member":
                if parsed["type"] == "message" and "replay" not in parsed:
                    self.tally.note(time.perf_counter() - float(parsed["content"]))
                self.say({"type": "ack", "ids": [parsed["id"]]})
            case "accepted" if parsed.get("ref") == "room":
                self.room.set_result(parsed["conversation"])
            case "accepted":
                self.tally.accepted += 1
                self.place.release()
            case "caught_up":
                self.caught_up.set_result(parsed["replayed"])
            case "error":
                self.tally.errors += 1

    def leave(self) -> None:
        """Hang up."""
        assert self.transport is not None, "it is connected"
        self.transport.disconnect()

    def say(self, frame: dict[str, object]) -> None:
        """Write a frame."""
        assert self.transport is not None, "it is connected"
        self.transport.send(WSMsgType.TEXT, orjson.dumps(frame))


async def connect(server: LandlineServer, tally: Tally, user: str, device: str) -> Device:
    """Return a device that has caught up."""
    made = Device(tally)
    await ws_connect(lambda: made, f"{server.ws_url}?username={user}&device={device}")
    await made.caught_up
    return made


async def measure(server: LandlineServer, options: argparse.Namespace) -> None:
    """Print a line for the room, and one for who was away."""
    count = int(options.rate * options.seconds)
    wanted = count * (MEMBERS * len(DEVICES) - 1)
    tally = Tally(wanted)
    users = [f"user-{number}" for number in range(MEMBERS)]
    away = await connect(server, tally, "user-1", "away")
    away.leave()
    devices = [await connect(server, tally, user, each) for user in users for each in DEVICES]
    devices[0].say({"type": "create", "ref": "room", "title": "Full", "members": users})
    room = await devices[0].room
    process = psutil.Process(server.pid)
    cpu = sum(process.cpu_times()[:2])
    start = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / options.rate - time.monotonic()))
        content = repr(time.perf_counter())
        sender = devices[number % len(devices)]
        sender.say({"type": "send", "conversation": room, "content": content})
    with suppress(TimeoutError):
        async with asyncio.timeout(LATE_SECONDS):
            await tally.are_all_there.wait()
    taken = time.monotonic() - start
    cpu = sum(process.cpu_times()[:2]) - cpu
    seconds = sorted(tally.seconds)
    print(
        f"{len(devices)} devices, {options.rate:g} messages/s for {options.seconds:g} s:"
        f" {tally.accepted} accepted, {len(seconds):,} of {wanted:,} pushes in {taken:.1f} s,"
        f" p50 {statistics.median(seconds) * 1e3:.0f} ms,"
        f" p99 {seconds[int(len(seconds) * 0.99)] * 1e3:.0f} ms,"
        f" {cpu / taken:.0%} of a core, {tally.errors} errors",
        flush=True,
    )
    for device in devices:
        device.leave()
    sender = await connect(server, tally, CREATOR, DEVICES[0])
    for _ in range(options.waiting):
        await sender.place.acquire()
        sender.say({"type": "send", "to": "user-1", "content": "0"})
    for _ in range(IN_FLIGHT):
        await sender.place.acquire()
    sender.leave()
    start = time.monotonic()
    back = await connect(server, tally, "user-1", "away")
    taken = time.monotonic() - start
    print(f"{back.caught_up.result():,} waiting messages in {taken:.2f} s", flush=True)


def main() -> None:
    """Start a server on a core of its own, in a cluster with its stack on the others, and fill a
    room.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--waiting", type=int, default=10_000, help="for the device that was away")
    parser.add_argument("--mode", choices=["embedded", "cluster"], default="embedded")
    options = parser.parse_args()
    print(describe())
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        prefix = share_cores()  # what is started from now on has the other cores, without it
        if options.mode == "embedded":
            server = LandlineServer.embedded("server", folder, prefix=prefix)
        else:
            stack = exits.enter_context(Stack())
            server = LandlineServer.on(stack, "server", folder, prefix=prefix)
        uvloop.run(measure(exits.enter_context(server), options))


if __name__ == "__main__":
    main()

"""How long other clients wait while one floods the server, a line for each kind of flood.

The server has one core to itself. The flooder is a process of its own that writes as fast as its
socket takes it; another client sends a message, waits for `accepted`, and sends the next. Ends by
itself: each flood lasts `--seconds`.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import orjson
import psutil
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from landline_stack import LandlineServer
from landline_verify.clients.flood import MOST_FRAMES
from landline_verify.clients.flooder import FLOOD_KINDS, Flooder

ANSWER_SECONDS = 20.0


def _large_sends(user: str) -> list[Frame]:
    send = {"type": "send", "to": user, "content": "x" * 16_384}
    return [Frame(Opcode.TEXT, orjson.dumps(send))]


FLOODS = {**FLOOD_KINDS, "large sends": _large_sends}


def flood(url: str, kind: str, seconds: float, core: int) -> None:
    """Write one kind of frame for `seconds`, as fast as the socket takes it."""
    os.sched_setaffinity(0, {core})
    os.nice(5)  # it shares the core with the client that measures, and must not be what is measured
    flooder = Flooder(url, "flooder", FLOODS[kind]("nobody"), tell=lambda _count: None)
    flooder.run(seconds, MOST_FRAMES)


async def waits(url: str, seconds: float, begin: Callable[[], None]) -> list[float]:
    """Return how long each answer took, in seconds. One that never came is infinite.

    `begin` starts the flood, once the client is connected.
    """
    found: list[float] = []
    async with connect(f"{url}?username=other", ping_interval=None) as client:
        begin()
        await asyncio.sleep(0.5)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.monotonic()
            send = {"to": "somebody", "content": "hello", "ref": str(uuid4())}
            await client.send(orjson.dumps(send), text=True)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    while b'"accepted"' not in await client.recv(decode=False):
                        pass
            except TimeoutError:
                return [*found, float("inf")]
            found.append(time.monotonic() - started)
            await asyncio.sleep(0.002)
    return found


def main() -> None:
    """Start a server for each flood, flood it, print how long the other client waited."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--flooders", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=[*FLOODS, "none"], default=["none", *FLOODS])
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{options.flooders} flooder(s), {options.seconds:g} s each, {len(cores)} cores")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            prefix = ["taskset", "--cpu-list", str(cores[0])]
            server = LandlineServer.embedded("server", Path(folder), prefix=prefix)
            server.start()
            flooders = [] if kind == "none" else [
                multiprocessing.Process(
                    target=flood, args=(server.ws_url, kind, options.seconds + 2, cores[-1])
                )
                for _ in range(options.flooders)
            ]  # fmt: skip
            try:
                process = psutil.Process(server.pid)
                os.sched_setaffinity(0, cores[1:] or cores)

                def begin(flooders: list[multiprocessing.Process] = flooders) -> None:
                    for flooder in flooders:
                        flooder.start()

                found = sorted(asyncio.run(waits(server.ws_url, options.seconds, begin)))
                print(
                    f"{kind:13} {len(found):6,} answers,"
                    f" p50 {statistics.median(found) * 1e3:7.1f} ms,"
                    f" p99 {found[int(len(found) * 0.99)] * 1e3:7.1f} ms,"
                    f" slowest {found[-1] * 1e3:8.1f} ms, {process.memory_info().rss >> 20} MiB",
                    flush=True,
                )
            finally:
                for flooder in flooders:
                    flooder.kill()
                    flooder.join()
                server.kill()
                os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    main()

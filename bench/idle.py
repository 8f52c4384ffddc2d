"""What an idle server costs: without connections, and with a thousand of them."""

import argparse
import asyncio
import tempfile
from pathlib import Path

import psutil
import uvloop
from picows import WSListener, ws_connect

from landline_stack import LandlineServer

ALONE_SECONDS = 10.0
SETTLE_SECONDS = 2.0
QUIET_SECONDS = 12.0  # pings come after 20 s of silence
PING_SECONDS = 20.0


async def measure(server: LandlineServer, connections: int) -> None:
    """Print one line per state."""
    process = psutil.Process(server.pid)
    base = process.memory_info().rss
    alone = await share(process, ALONE_SECONDS)
    print(f"no connection:            {alone:6.2%} of a core, {base >> 20} MiB")
    clients = [
        await ws_connect(WSListener, f"{server.ws_url}?username=user{number}")
        for number in range(connections)
    ]
    await asyncio.sleep(SETTLE_SECONDS)
    quiet = await share(process, QUIET_SECONDS)
    print(f"{len(clients)} idle, between pings: {quiet:6.2%} of a core")
    pinged = await share(process, PING_SECONDS)
    print(f"{len(clients)} idle, with pings:    {pinged:6.2%} of a core")
    each = (process.memory_info().rss - base) / connections / 1024
    print(f"memory:                   {each:6.1f} KiB per connection")


async def share(process: psutil.Process, seconds: float) -> float:
    """Return the share of a core that the process uses in the next seconds."""
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(seconds)
    return float(sum(process.cpu_times()[:2]) - before) / seconds


def main() -> None:
    """Start a server and leave it alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        LandlineServer.embedded("server", Path(folder)) as server,
    ):
        uvloop.run(measure(server, options.connections))


if __name__ == "__main__":
    main()

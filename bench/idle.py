"""What an idle server costs: without connections, with a thousand of them, and two of a cluster."""

import argparse
import asyncio
import tempfile
from pathlib import Path

import psutil
import uvloop
from picows import WSListener, ws_connect

from landline_stack import Stack
from support.cluster import ClusterServer
from support.server import ServerProcess

SETTLE_SECONDS = 2.0
QUIET_SECONDS = 12.0  # pings come after 20 s of silence
PING_SECONDS = 20.0
CLUSTER_TIMES = 3


async def measure(url: str, connections: int, pid: int) -> None:
    """Print one line per state."""
    process = psutil.Process(pid)
    base = process.memory_info().rss
    print(
        f"no connection:            {await share(process, 10.0):6.2%} of a core, {base >> 20} MiB"
    )
    clients = [
        await ws_connect(WSListener, f"{url}?username=user{number}")
        for number in range(connections)
    ]
    await asyncio.sleep(SETTLE_SECONDS)
    quiet = await share(process, QUIET_SECONDS)
    print(f"{len(clients)} idle, between pings: {quiet:6.2%} of a core")
    print(
        f"{len(clients)} idle, with pings:    {await share(process, PING_SECONDS):6.2%} of a core"
    )
    each = (process.memory_info().rss - base) / connections / 1024
    print(f"memory:                   {each:6.1f} KiB per connection")


async def measure_cluster(directory: Path) -> None:
    """Print what two servers of a cluster use that nobody talks to, several times."""
    with Stack() as stack:
        options = ["--kafka", stack.kafka_servers, "--redis", stack.redis_url]
        servers = [
            ClusterServer(name, directory, stack.postgres_url, options) for name in ("ws-1", "ws-2")
        ]
        try:
            for server in servers:
                server.start()
            await asyncio.sleep(SETTLE_SECONDS)
            processes = [psutil.Process(server.pid) for server in servers]
            for _ in range(CLUSTER_TIMES):
                shares = await asyncio.gather(*(share(each, 10.0) for each in processes))
                parts = " + ".join(f"{each:.2%}" for each in shares)
                print(f"two servers of a cluster: {sum(shares):6.2%} of a core ({parts})")
        finally:
            for server in servers:
                server.kill()


async def share(process: psutil.Process, seconds: float) -> float:
    """Return the share of a core that the process uses in the next seconds."""
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(seconds)
    return float(sum(process.cpu_times()[:2]) - before) / seconds


def main() -> None:
    """Start servers and leave them alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data")
        server.start()
        try:
            uvloop.run(measure(server.ws_url, options.connections, server.pid))
        finally:
            server.kill()
        uvloop.run(measure_cluster(Path(folder)))


if __name__ == "__main__":
    main()

"""How many messages a second a cluster accepts, delivers and stores, and what it costs when idle.

Pairs of connections chat, each partner on the other one of two servers. Kafka, PostgreSQL, Redis,
both servers and the load share the cores that there are. Ends by itself.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import uvloop
from picows import ws_connect

from bench.idle import share
from bench.speed import Chatter, Tally
from landline_stack import LandlineServer, Stack

IDLE_SECONDS = 15.0
SETTLE_SECONDS = 5.0


async def idle(servers: list[LandlineServer]) -> str:
    """Return the line for two servers that nobody uses."""
    await asyncio.sleep(SETTLE_SECONDS)
    shares = await asyncio.gather(
        *(share(psutil.Process(server.pid), IDLE_SECONDS) for server in servers)
    )
    return f"two idle servers: {sum(shares):.2%} of a core together"


async def load(
    servers: list[LandlineServer], postgres_url: str, options: argparse.Namespace
) -> str:
    """Run the load. Returns the line for the report."""
    tally = Tally()
    run, content = uuid4().hex[:8], "x" * options.size
    chatters = []
    for number in range(options.connections):
        url = f"ws://127.0.0.1:{servers[number % 2].port}/ws/chat?username={run}user{number}"
        _transport, chatter = await ws_connect(
            partial(Chatter, number, options.pipeline, content, run, tally, prefix=run), url
        )
        assert isinstance(chatter, Chatter)
        chatters.append(chatter)
    for chatter in chatters:
        chatter.begin()
    database = await asyncpg.connect(postgres_url)
    await asyncio.sleep(2.0)
    processes = [psutil.Process(server.pid) for server in servers]
    tally.latencies.clear()
    before = await reading(tally, database, processes)
    await asyncio.sleep(options.seconds)
    after = await reading(tally, database, processes)
    tally.is_over = True
    await database.close()
    accepted, received, delivered, stored, cpu, seconds = (
        late - early for early, late in zip(before, after, strict=True)
    )
    percentiles = statistics.quantiles(sorted(tally.latencies), n=100)
    return (
        f"pipeline {options.pipeline:3}: {accepted / seconds:7,.0f} accepted/s, "
        f"{received / seconds:7,.0f} received/s, {delivered / seconds:7,.0f} delivered/s, "
        f"{stored / seconds:7,.0f} stored/s, "
        f"p50 {percentiles[49] * 1e3:6.1f} ms, p99 {percentiles[98] * 1e3:6.1f} ms, "
        f"servers at {cpu / seconds:.0%} of a core together, {tally.errors} errors"
    )


async def reading(
    tally: Tally, database: asyncpg.Connection, processes: list[psutil.Process]
) -> tuple[float, ...]:
    """Return all counts of this moment."""
    return (
        tally.accepted,
        tally.received,
        tally.delivered,
        float(await database.fetchval("SELECT count(*) FROM messages")),
        sum(sum(process.cpu_times()[:2]) for process in processes),
        time.perf_counter(),
    )


def main() -> None:
    """Start a cluster, leave it alone, load it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=100, help="bytes of content")
    parser.add_argument("--pipelines", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack() as stack:
        servers = [LandlineServer.on(stack, name, Path(folder) / name) for name in ("ws-1", "ws-2")]
        try:
            for server in servers:
                server.start()
            print(uvloop.run(idle(servers)), flush=True)
            print(f"{options.connections} connections, {options.size}-byte messages", flush=True)
            for pipeline in options.pipelines:
                options.pipeline = pipeline
                print(uvloop.run(load(servers, stack.postgres_url, options)), flush=True)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()

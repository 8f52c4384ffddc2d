"""How many messages a second a cluster accepts, delivers and stores, and what it costs when idle.

Of each pair one partner is on each of two servers. Kafka, PostgreSQL, Redis, both
servers and the load share the cores that there are. Ends by itself.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psutil
import uvloop

from bench.idle import share
from bench.load import Load, Measured, add_options, measure
from landline_stack import LandlineServer, Stack

IDLE_SECONDS = 10.0
IDLE_TIMES = 3
SETTLE_SECONDS = 5.0
WARM_UP_SECONDS = 2.0


async def idle(servers: Sequence[LandlineServer]) -> None:
    """Print what two servers use that nobody talks to, several times."""
    await asyncio.sleep(SETTLE_SECONDS)
    processes = [psutil.Process(server.pid) for server in servers]
    for _ in range(IDLE_TIMES):
        shares = await asyncio.gather(*(share(each, IDLE_SECONDS) for each in processes))
        parts = " + ".join(f"{each:.2%}" for each in shares)
        print(f"two idle servers: {sum(shares):.2%} of a core ({parts})", flush=True)


async def chat(servers: Sequence[LandlineServer], postgres_url: str, load: Load) -> Measured:
    """Put a load on the servers, and count what the store has, too."""
    database = await asyncpg.connect(postgres_url)

    async def count_stored() -> int:
        return int(await database.fetchval("SELECT count(*) FROM messages"))

    try:
        return await measure(servers, load, count_stored)
    finally:
        await database.close()


def main() -> None:
    """Start a cluster, leave it alone, load it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, [1, 4], 10.0)
    options = parser.parse_args()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        stack = exits.enter_context(Stack())
        servers = [LandlineServer.on(stack, name, folder / name) for name in ("ws-1", "ws-2")]
        for server in servers:
            exits.enter_context(server)
        uvloop.run(idle(servers))
        print(f"{options.connections} connections, {options.size}-byte messages", flush=True)
        for pipeline in options.pipelines:
            load = Load(
                options.connections, pipeline, options.size, options.seconds, WARM_UP_SECONDS
            )
            measured = uvloop.run(chat(servers, stack.postgres_url, load))
            print(f"pipeline {pipeline:3}: {measured}", flush=True)


if __name__ == "__main__":
    main()

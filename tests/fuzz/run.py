"""A whole run: a server of its own, every kind in turn, and what it cost."""

import asyncio
import time
from pathlib import Path

from fuzz import openapi, tokens
from fuzz.attacks import Attack
from fuzz.target import Target
from support.server import ServerProcess

# Frames, handshakes, requests and tokens: shares of the count.
SHARES = {"frames": 1.0, "handshakes": 0.1, "requests": 0.1}
TOKENS = 0.1
OPENAPI = 0.001  # it is slow: each request is put together with care
OPENAPI_AT_MOST = 1_000
WARM_UP = {"frames": 2_000, "handshakes": 500, "requests": 500}


async def warm_up(target: Target, seed: int) -> None:
    """Have the server do everything once: imports, caches, the allocator's arenas."""
    for kind, count in WARM_UP.items():
        await Attack(target.server.port, seed, kind, 1_000_000_000, count).run()
    await target.warm()


async def run(directory: Path, seed: int, count: int) -> None:
    """Attack a server. Raises: Found, AssertionError."""
    started = time.monotonic()
    with ServerProcess(directory / "data") as server:
        target = Target(server)
        await warm_up(target, seed)
        print(f"seed {seed}; base: {target.base}")
        for kind, share in SHARES.items():
            attack = Attack(server.port, seed, kind, 0, max(1, int(count * share)))
            begun = time.monotonic()
            await attack.run()
            seconds = time.monotonic() - begun
            cost = await target.check()
            fared = ", ".join(f"{what} {n:,}" for what, n in attack.seen.most_common(12))
            print(f"{kind}: {attack.done:,} in {seconds:.0f} s; after: {cost}; {fared}")
        examples = max(1, min(OPENAPI_AT_MOST, int(count * OPENAPI)))
        await asyncio.to_thread(openapi.attack, server.port, seed, examples)
        print(f"openapi: {examples:,} an address; after: {await target.check()}")
        assert server.end() == 0, "it did not end as it should"
    size = max(1, int(count * TOKENS))
    await tokens.attack(seed, size)
    print(f"tokens: {size:,}; all in {time.monotonic() - started:.0f} s")

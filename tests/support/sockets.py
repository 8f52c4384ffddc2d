"""Sockets that say nothing, and which of them a server cuts without waiting."""

import asyncio
import time
from collections.abc import Sequence

from support.waiting import until

TRIES = 5
# Not the address from which a test asks whether a server is ready: those sockets may still count.
HERE = ("127.0.0.3", 0)


async def cut_at_once(host: str, port: int, count: int, expected: int, patience: float) -> int:
    """Open so many sockets that say nothing, and return how many were cut while `patience` seconds
    had not passed, within which a server cuts them all. Where the machine stood still for that
    long, it is tried again.
    """
    for _ in range(TRIES):
        began = time.monotonic()
        lines = [await asyncio.open_connection(host, port, local_addr=HERE) for _ in range(count)]
        reads = [asyncio.create_task(_until_cut(reader)) for reader, _ in lines]
        try:
            await until(lambda: _done(reads) >= expected, "some are cut")  # noqa: B023
            await asyncio.sleep(0.2)  # one too many would be cut by now
            cut = _done(reads)
        finally:
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)
            for _, writer in lines:
                writer.close()
        if time.monotonic() - began < patience:
            return cut
        await asyncio.sleep(patience)  # until nobody is left
    raise AssertionError("this machine stood still at every try")


def _done(reads: Sequence["asyncio.Task[None]"]) -> int:
    return sum(read.done() for read in reads)


async def _until_cut(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1):
            pass
    except ConnectionError:
        pass

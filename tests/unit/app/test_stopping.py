"""A server hears that it is to stop, whatever else it is told at the same time."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from landline.app.stopping import Stop


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_storm_of_other_signals_drowns_no_stop(
    make: Callable[[], Any], number: signal.Signals
) -> None:
    """Loops read signals from a pipe, which is full when they are busy for a moment."""
    heard: list[int] = []

    async def main() -> None:
        stop = Stop()
        for _ in range(20_000):  # nobody reads that pipe meanwhile
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(30):
            await stop.wait()

    before = signal.getsignal(number)
    hangup = signal.signal(signal.SIGHUP, lambda each, _frame: heard.append(each))
    try:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(main())
        assert len(heard) == 20_000
    finally:
        signal.signal(signal.SIGHUP, hangup)
        signal.signal(number, before)

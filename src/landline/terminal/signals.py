"""Signals that end a chat in an orderly way: it still says what was left."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_signals() -> Iterator[list[signal.Signals]]:
    """Cancel this task, as Ctrl-C does, when a signal says that the process is to end or that its
    terminal is gone. Later signals change nothing; each is noted in the list.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    seen: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        seen.append(number)
        if len(seen) == 1:
            task.cancel()

    handled = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL  # not below nohup, say
    ]
    for number in handled:
        loop.add_signal_handler(number, end, number)
    try:
        yield seen
    finally:
        for number in handled:
            loop.remove_signal_handler(number)

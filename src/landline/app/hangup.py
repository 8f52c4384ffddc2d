"""SIGHUP: what is read from files is read again, and nobody is disconnected."""

import asyncio
import signal
from collections.abc import Callable

from landline.observability.logging import get_logger, reopen_log_files

log = get_logger(__name__)


class Hangup:
    """Hears SIGHUP, from the moment it is made until the process ends.

    The signal must never end a server. So it is not the loop that hears it: that one does not run
    yet while the program starts, and is closed before its end.
    """

    def __init__(self) -> None:
        self._readers: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False
        signal.signal(signal.SIGHUP, lambda *_: self._hear())
        signal.siginterrupt(signal.SIGHUP, False)

    def add(self, read_again: Callable[[], None]) -> None:
        """Have this called after each signal, by the running loop. It is quick, and says in the log
        how it went: where a file cannot be used, what was read before stays.

        Several signals in a row may be one call.
        """
        self._loop = asyncio.get_running_loop()
        self._readers.append(read_again)

    def ignore(self) -> None:
        """Hear nothing any more, and do not die of it either."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _hear(self) -> None:
        reopen_log_files()
        loop = self._loop
        if loop is not None and not self._is_due and not loop.is_closed():
            self._is_due = True
            loop.call_soon_threadsafe(self._read_again)

    def _read_again(self) -> None:
        self._is_due = False
        for read_again in self._readers:
            try:
                read_again()
            except Exception:  # a defect, which must not keep the others from being read
                log.exception("not_read_again")

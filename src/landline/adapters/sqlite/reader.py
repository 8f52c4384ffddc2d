"""A read-only connection to the file, on a thread of its own."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from landline.adapters.sqlite.opening import connect

T = TypeVar("T")


class Reader:
    """Opens its connection with the first read, and another one after an error."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """`name`: of the thread."""
        self._path = path
        self._loop = loop
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `work`. Raises: sqlite3.Error."""
        return await self._loop.run_in_executor(self._thread, self._read, work)

    async def close(self) -> None:
        """Close the connection, after what is being read."""
        await self._loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = connect(self._path, "ro")
        try:
            return work(self._connection)
        except sqlite3.Error:
            self._close()  # whatever it was, the next read starts with another one
            raise

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

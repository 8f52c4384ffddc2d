"""In which format the database is: 1, on which servers of the version before can run, or 2.

`landline migrate` changes it, and no server does. So a server that began in format 1 looks for the
change. In between it may use what is not there any more: then it looks at once, and does the same
in format 2. It never goes back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg

from landline.adapters.statements import statement
from landline.errors import StoreUnavailable, Unstorable
from landline.observability.logging import get_logger

T = TypeVar("T")

LOOK_SECONDS: Final = 3.0

FORMAT: Final = statement("postgres", "format")

log = get_logger(__name__)


class RecordFormat:
    """What is known of the format. `known` is None until it was looked at."""

    def __init__(self, read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]]) -> None:
        """`read` returns the rows of a statement. Raises: StoreUnavailable."""
        self._read = read
        self.known: int | None = None

    async def look(self) -> int:
        """Return the format. Raises: StoreUnavailable."""
        if self.known != 2:
            [(found,)] = await self._read(FORMAT)
            if found == 2 and self.known == 1:
                log.info("store_format_changed", format=2)
            self.known = found
            return int(found)
        return 2

    async def run(self, in_1: Callable[[], Awaitable[T]], in_2: Callable[[], Awaitable[T]]) -> T:
        """Return what is done in the format that the database has. Raises what it raises."""
        if (self.known or await self.look()) == 2:
            return await in_2()
        try:
            return await in_1()
        except (StoreUnavailable, Unstorable) as error:
            # A table has gone; or somebody wrote already what only format 2 can keep. Then that is
            # the format by now, though this server has not seen it yet.
            if not _may_be_over(error) or await self.look() != 2:
                raise
        return await in_2()

    async def watch(self) -> None:
        """Look for the change, as a service of a server: it does not end."""
        has_warned = False
        while True:
            with suppress(StoreUnavailable):
                await self.look()
            if self.known == 2:
                break
            if self.known == 1 and not has_warned:
                has_warned = True
                log.warning(
                    "store_in_format_1",
                    advice="run `landline migrate` once every server has been replaced",
                )
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.Event().wait()


def _may_be_over(error: BaseException) -> bool:
    return isinstance(error, Unstorable) or isinstance(error.__cause__, asyncpg.UndefinedTableError)

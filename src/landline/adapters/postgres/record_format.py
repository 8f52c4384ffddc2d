"""In which format the database is: 1, on which servers of the version before can run, or 2.

`landline migrate` changes it, and no server does. So a server that began in format 1 looks for the
change. In between it may use what is not there any more: then it looks at once, and does the same
in format 2.

An operator may restore a backup of before. Then the store is back in format 1, and a server that
has seen format 2 looks again: when it connects anew, when what it uses is not there, when what it
writes does not follow what is there. Records stay in version 2.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg

from landline.adapters.postgres.applying_1 import NeedsFormat2
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
from landline.observability.logging import get_logger

T = TypeVar("T")

LOOK_SECONDS: Final = 3.0

FORMAT: Final = statement("postgres", "format")

_MISSING: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)

log = get_logger(__name__)


class RecordFormat:
    """What is known of the format. `known` is None until it was looked at.

    `record_version`: the newest version of records that may be appended; it never goes back.
    """

    def __init__(self, read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]]) -> None:
        """`read` returns the rows of a statement. Raises: StoreUnavailable."""
        self._read = read
        self.known: int | None = None
        self.record_version = 1
        self._doubts = 1  # how often there was reason to look again
        self._looked_at = 0  # as many there were when it was looked at

    def doubt(self) -> None:
        """Look again before the format is relied on the next time."""
        self._doubts += 1

    async def look(self) -> int:
        """Return the format. Raises: StoreUnavailable."""
        if self.known == 2 and self._looked_at == self._doubts:
            return 2
        found = await self._look_once()
        if self._looked_at != self._doubts:  # the question may have had to connect itself
            found = await self._look_once()
        return found

    async def _look_once(self) -> int:
        doubts = self._doubts
        [(found,)] = await self._read(FORMAT)
        self._note(int(found))
        self._looked_at = doubts
        return int(found)

    def _note(self, found: int) -> None:
        if found == 2 and self.known == 1:
            log.info("store_format_changed", format=2)
        elif found == 1 and self.known == 2:
            log.error("store_format_went_back", advice="run `landline migrate`")
        self.known = found
        self.record_version = max(self.record_version, found)

    async def run(self, in_1: Callable[[], Awaitable[T]], in_2: Callable[[], Awaitable[T]]) -> T:
        """Return what is done in the format that the database has. Raises what it raises."""
        before = self.known
        if before is None or self._looked_at != self._doubts:
            before = await self.look()
        doubts = self._doubts
        try:
            result = await (in_2 if before == 2 else in_1)()
            # Where it had to connect anew, that may be to another database.
            if doubts == self._doubts or await self.look() == before:
                return result
        except StoreUnavailable as error:
            # A table has gone; or somebody wrote already what only format 2 can keep. Then the
            # format is another one by now, though this server has not seen it yet.
            if not _may_be_over(error):
                raise
            self.doubt()
            if await self.look() == before:
                raise
        return await (in_1 if before == 2 else in_2)()

    async def watch(self) -> None:
        """Look for the change, as a service of a server: it does not end. In format 2 a look costs
        nothing unless there is doubt.
        """
        has_warned = False
        while True:
            with suppress(StoreUnavailable):
                await self.look()
            if self.known == 2:
                has_warned = False
            elif self.known == 1 and not has_warned:
                has_warned = True
                log.warning(
                    "store_in_format_1",
                    advice="run `landline migrate` once every server has been replaced",
                )
            await asyncio.sleep(LOOK_SECONDS)


def _may_be_over(error: BaseException) -> bool:
    return isinstance(error, NeedsFormat2) or isinstance(error.__cause__, _MISSING)

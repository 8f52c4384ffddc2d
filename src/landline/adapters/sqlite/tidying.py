"""Removes what an upgrade has left of the version before, little by little, while it serves."""

import asyncio
import sqlite3
from typing import Final

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.statements import statement
from landline.observability.logging import get_logger

_HAS_OLD_DELIVERIES: Final = statement("sqlite", "has_old_deliveries")
_REMOVE_OLD_DELIVERIES: Final = statement("sqlite", "remove_old_deliveries")
_DROP_OLD_DELIVERIES: Final = statement("sqlite", "drop_old_deliveries")

# So many rows take some milliseconds of the thread that writes (measured: 10), which accepted
# messages wait for as well; a million are gone after two minutes.
STEP_ROWS: Final = 2_000
PAUSE_SECONDS: Final = 0.2
# How long a disk in trouble is left alone.
RETRY_SECONDS: Final = 5.0

log = get_logger(__name__)


class SqliteTidying:
    """One step a commit. Where it stands the table itself says, so it goes on after a kill."""

    def __init__(self, database: Database, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._database = database
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Tidy up, then wait until cancelled: no service of a server ends by itself."""
        removed = 0
        while True:
            try:
                rows = await self._database.write(_step)
            except WriteFailed:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if rows == 0:
                break
            removed += rows
            await asyncio.sleep(self._pause_seconds)
        if removed:
            log.info("upgrade_tidied_up", rows=removed)
        await asyncio.Event().wait()


def _step(connection: sqlite3.Connection) -> int:
    """Remove some rows, or the table when it is empty. Returns how many; 0: nothing is left."""
    if not connection.execute(_HAS_OLD_DELIVERIES).fetchone()[0]:
        return 0
    rows = connection.execute(_REMOVE_OLD_DELIVERIES, {"limit": STEP_ROWS}).rowcount
    if rows == 0:
        connection.execute(_DROP_OLD_DELIVERIES)
    return rows

"""The embedded server: SQLite log and store in one file, directory and bus in memory."""

import asyncio

from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.adapters.sqlite import (
    Database,
    SqliteConversations,
    SqliteDevices,
    SqliteEventLog,
    SqliteMessageStore,
    SqliteRevocations,
    SqliteTidying,
)
from landline.app.parts import Parts
from landline.config import Settings
from landline.observability.logging import get_logger

log = get_logger(__name__)


async def open_embedded(settings: Settings, address: str) -> Parts:
    """Open the files. Raises: UnusableDataDirectory."""
    # In a thread: the file is checked, and a lock that somebody holds is waited for, while the
    # loop says that the server starts.
    loop = asyncio.get_running_loop()
    database = await asyncio.to_thread(Database, settings.data_dir, _on_trouble, loop)
    if database.warning is not None:
        log.warning("files_not_private", reason=database.warning)
    event_log = SqliteEventLog(database)
    store = SqliteMessageStore(database)

    async def close() -> None:
        await event_log.close()
        await store.close()
        await database.close()

    return Parts(
        event_log=event_log,
        store=store,
        devices=SqliteDevices(database),
        conversations=SqliteConversations(database),
        revocations=SqliteRevocations(database),
        directory=MemoryDirectory({}, address),
        bus=MemoryRoutingBus({}, address),
        close=close,
        services={"tidying": SqliteTidying(database).run},
        purge_messages=store.purge,
        purge_log=event_log.purge,
        where={"data_dir": str(settings.data_dir)},
    )


def _on_trouble(why: str | None) -> None:
    if why is None:
        log.info("storage_recovered")
    else:
        log.error("storage_failed", reason=why, advice="sends are refused until it works again")

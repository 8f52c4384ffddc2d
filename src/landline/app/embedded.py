"""The embedded server: SQLite log and store in one file, directory and bus in memory."""

from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.adapters.sqlite import Database, SqliteEventLog, SqliteMessageStore
from landline.app.parts import Parts
from landline.config import Settings
from landline.observability.logging import get_logger

log = get_logger(__name__)


def open_embedded(settings: Settings, address: str) -> Parts:
    """Open the files. Raises: StorageRefused."""
    database = Database(settings.data_dir, _on_trouble)
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
        directory=MemoryDirectory({}, address),
        bus=MemoryRoutingBus({}, address),
        close=close,
        where={"data_dir": str(settings.data_dir)},
    )


def _on_trouble(why: str | None) -> None:
    if why is None:
        log.info("storage_recovered")
    else:
        log.error("storage_failed", reason=why, advice="sends are refused until it works again")

"""`landline audit --redrive`: log and quarantine behind their ports, and what was done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from landline.audit import Quarantine, Redriven, redrive
from landline.config import Settings
from landline.errors import LogLost, StartupError, Unavailable
from landline.ports import EventLog


class _Opened(NamedTuple):
    event_log: EventLog
    quarantine: Quarantine
    applied_by: str  # who applies what is appended, in words


def run(settings: Settings) -> int:
    """Append what stands in quarantine and can be read by now, and print what was done. Returns 0
    when nothing stays there, otherwise 1.

    Raises: StartupError.
    """
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    is_embedded = settings.kafka is None or settings.postgres is None
    opening = _embedded(settings) if is_embedded else _cluster(settings)
    try:
        async with opening as opened:
            done = await redrive(opened.event_log, opened.quarantine, print)
    except (Unavailable, LogLost) as error:
        raise StartupError(f"{error}; what is not told above stays: run this again") from error
    _summarise(done, opened.applied_by)
    return 1 if done.staying else 0


def _summarise(done: Redriven, applied_by: str) -> None:
    count = done.appended.total()
    if not count and not done.staying:
        print("nothing is in quarantine")
        return
    kinds = ", ".join(f"{each} {kind}" for kind, each in sorted(done.appended.items()))
    detail = f" ({kinds})" if kinds else ""
    print(f"{count} record{'' if count == 1 else 's'} appended again{detail}")
    if count:
        print(f"{applied_by}; landline audit says then how log and store compare")
    if done.staying:
        print(f"{done.staying} cannot be read by this version and stay in quarantine")


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[_Opened]:
    from landline.adapters.sqlite import Database, SqliteEventLog  # noqa: PLC0415 - one of two
    from landline.adapters.sqlite.audit import check_is_there  # noqa: PLC0415
    from landline.adapters.sqlite.quarantine import SqliteQuarantine  # noqa: PLC0415

    check_is_there(settings.data_dir)
    # It takes the lock of the directory, which a server has for as long as it runs.
    database = Database(settings.data_dir, lambda _trouble: None)
    event_log = SqliteEventLog(database)
    try:
        yield _Opened(
            event_log,
            SqliteQuarantine(database),
            "the next start of the server applies what was appended",
        )
    finally:
        await event_log.close()
        await database.close()


@asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[_Opened]:
    assert settings.postgres is not None, "config.loading sees to it"
    from landline.adapters.kafka import MESSAGES_TOPIC, KafkaEventLog  # noqa: PLC0415
    from landline.adapters.kafka.topics import find_topic  # noqa: PLC0415
    from landline.adapters.postgres.quarantine import open_quarantine  # noqa: PLC0415
    from landline.app.cluster import check_log, kafka_cluster  # noqa: PLC0415

    cluster = kafka_cluster(settings, "redrive")
    found = await find_topic(cluster)
    async with open_quarantine(settings.postgres) as quarantine:
        identity, topic = check_log(settings, await quarantine.identity(), found)
        for line in topic.broken:
            print(f"warning: {line}")
        event_log = KafkaEventLog(cluster, MESSAGES_TOPIC, topic, identity.epoch)
        watching = asyncio.create_task(event_log.run(), name="log")
        try:
            yield _Opened(
                event_log, quarantine, "the servers that write the store apply what was appended"
            )
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            await event_log.close()

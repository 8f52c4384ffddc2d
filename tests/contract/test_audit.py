"""What a store has made of any log, `landline audit` finds to be right, and any change it names."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from landline.adapters.postgres import PostgresMessageStore, go_over, migrate
from landline.adapters.postgres.audit import open_audit_store
from landline.adapters.postgres.quarantine import open_quarantine
from landline.adapters.sqlite import Database
from landline.adapters.sqlite.audit import open_audit_file
from landline.audit import (
    AuditStore,
    Difference,
    Kind,
    OffsetRange,
    StoredConversation,
    StoredDevice,
    StoredEndedUser,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    audit,
)
from landline.config.values import SecretUrl
from landline.errors import StartupError, UnusableDataDirectory
from landline.model import Batch, Entry, Position, Stretch
from landline.protocol.fold import fold
from landline.protocol.partitions import partition_of
from landline.protocol.records import MessageRecord, ReceiptEntry, ReceiptRecord
from support.audits import ListedLog, logged, stored
from support.events import DIRECT, TIME_MS, USERS, in_pieces, random_logs
from support.stores import ReadingStores, Stores
from support.tables import Tables
from support.version_1 import make_file
from support.version_before import make_before

# What such a log has of itself.
OF_THE_LOG = {Kind.QUARANTINED, Kind.RECEIPT_STRAY}


@asynccontextmanager
async def audited(stores: Stores, tmp_path: Path, request: Any) -> AsyncIterator[AuditStore]:
    """Open the data of a store for an audit."""
    if stores.partitions == 1:
        with open_audit_file(tmp_path) as file:
            yield file
    else:
        url: SecretUrl = request.getfixturevalue("database")
        async with open_audit_store(url) as store:
            yield store


@pytest.fixture(
    params=["sqlite_stores", pytest.param("postgres_stores", marks=pytest.mark.stack)],
    ids=["sqlite", "postgres"],
)
def stores(request: pytest.FixtureRequest) -> ReadingStores:
    """Stores that somebody can audit."""
    stores: ReadingStores = request.getfixturevalue(request.param)
    return stores


@pytest.mark.parametrize("seed", range(6))
async def test_what_it_has_made_of_a_log_is_right_and_is_read_row_by_row(
    stores: ReadingStores, tmp_path: Path, request: pytest.FixtureRequest, seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for adapter in ("sqlite", "postgres"):
        monkeypatch.setattr(f"landline.adapters.{adapter}.audit.AUDIT_ROWS", 7)
    chance = random.Random(seed)
    logs = random_logs(chance, stores.partitions, 150)
    tables = Tables(stores.partitions)
    store = await stores.open()
    for batches in in_pieces(chance, logs):
        assert await store.apply(batches)
        tables.apply(batches)

    def opened() -> AbstractAsyncContextManager[AuditStore]:
        return audited(stores, tmp_path, request)

    async with opened() as found:
        assert await differences(logged(logs, tables), found) == []
    conversations = await stores.conversations()
    for user in USERS[:2]:
        await conversations.end_user(user, "nobody", tables.applied)
        tables.end_user(user, "nobody", tables.applied)
    async with opened() as found:
        assert await differences(logged(logs, tables), found) == []
    async with opened() as found:
        rows = [row async for page in found.rows() for row in page]
    expected = stored(tables).all
    for kind in (StoredConversation, StoredFormerMember, StoredMember, StoredMessage,
                 StoredPending, StoredQuarantine, StoredEndedUser):  # fmt: skip
        count = sum(isinstance(row, kind) for row in expected)
        assert sum(isinstance(row, kind) for row in rows) == count, kind
    devices = [(d.user, d.device, d.since) for d in rows if isinstance(d, StoredDevice)]
    begun = [(d.user, d.device, d.since) for d in expected if isinstance(d, StoredDevice)]
    assert [each for each in sorted(devices, key=repr) if each[1] != "*"] == [
        each for each in sorted(begun, key=repr) if each[1] != "*"
    ]


async def differences(log: ListedLog, store: AuditStore) -> list[Difference]:
    found: list[Difference] = []
    await audit(log, store, found.append, lambda _text: None)
    return [each for each in found if each.kind not in OF_THE_LOG]


# What was of version 1 -----------------------------------------------------------------------


def old_logs(chance: random.Random, partitions: int) -> dict[int, list[Entry]]:
    """Return what servers of version 1 write: messages, receipts behind them, and repeats."""
    logs: dict[int, list[Entry]] = {each: [] for each in range(partitions)}

    def append(conversation: str, value: bytes) -> None:
        log = logs[partition_of(conversation, partitions)]
        position = Position(partition_of(conversation, partitions), len(log))
        log.append(Entry(position, TIME_MS + len(log), conversation, value))

    sent: list[MessageRecord] = []
    for number in range(80):
        if sent and chance.random() < 0.5:
            message = chance.choice(sent)
            if chance.random() < 0.2:
                append(message.conversation, message.encode())
                continue
            entry = ReceiptEntry(message.recipients[0], None, [message.message_id])
            append(
                message.conversation, ReceiptRecord(message.conversation, (entry,), "2026").encode()
            )
            continue
        conversation = chance.choice(DIRECT)
        low, high = conversation.split(":")[1:]
        sender, to = chance.choice(((low, high), (high, low)))
        id = f"{number:08x}-0000-8000-8000-00000000c0de"
        sent.append(MessageRecord(id, None, conversation, sender, (to,), "x", "2026"))
        append(conversation, sent[-1].encode())
    return logs


def folded(logs: Mapping[int, Sequence[Entry]]) -> list[Batch]:
    return [
        batch
        for partition, log in logs.items()
        for batch in fold(Stretch(partition, 0, len(log), tuple(log)))
    ]


def listed(logs: Mapping[int, Sequence[Entry]]) -> ListedLog:
    return ListedLog(logs, {each: OffsetRange(0, len(log)) for each, log in logs.items()})


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_brought_up_from_version_1_is_right(tmp_path: Path, seed: int) -> None:
    logs = old_logs(random.Random(seed), 1)
    [batch] = folded(logs)
    make_file(tmp_path, batch.messages, batch.receipts)
    with (
        pytest.raises(UnusableDataDirectory, match=r"older Landline.*start a server of this"),
        open_audit_file(tmp_path),
    ):
        pass
    database = Database(tmp_path, lambda _trouble: None)
    with open_audit_file(tmp_path) as found:
        assert await differences(listed(logs), found) == []
    await database.close()


class Quiet:
    """Hears nothing of how far a migration is."""

    def tell(self, line: str) -> None: ...

    def progress(self, text: str) -> None: ...


@pytest.mark.stack
@pytest.mark.parametrize("seed", range(4))
async def test_what_has_gone_over_to_format_2_is_right(database: SecretUrl, seed: int) -> None:
    logs = old_logs(random.Random(seed), 3)
    await make_before(database, 3)
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    assert await store.apply(folded(logs))
    await store.close()
    for opening in (open_audit_store(database), open_quarantine(database)):
        with pytest.raises(StartupError, match=r"in format 1.*run landline migrate first"):
            await opening.__aenter__()
    assert await go_over(database, Quiet())
    async with open_audit_store(database) as found:
        assert await differences(listed(logs), found) == []

"""What the stores' model makes of any log, the audit finds to be right, and any change it names."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from landline.audit import (
    Difference,
    Kind,
    StoredConversation,
    StoredDevice,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredRow,
)
from landline.model import Position
from support.audits import ListedLog, ListedStore, differences, logged, stored
from support.events import in_pieces, random_logs
from support.tables import Tables

SEEDS = range(25)
# What such a log has of itself.
OF_THE_LOG = {Kind.QUARANTINED, Kind.RECEIPT_STRAY}


def made(seed: int, partitions: int, records: int = 80) -> tuple[ListedLog, ListedStore]:
    """Return a log and the store that comes of it."""
    chance = random.Random(seed)
    logs = random_logs(chance, partitions, records)
    tables = Tables(partitions)
    for batches in in_pieces(chance, logs):
        assert tables.apply(batches)
    return logged(logs, tables), stored(tables)


async def found(log: ListedLog, store: ListedStore) -> Sequence[Difference]:
    _, all_found = await differences(log, store)
    return [each for each in all_found if each.kind not in OF_THE_LOG]


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_the_log_says_what_comes_of_it_is_right(seed: int, partitions: int) -> None:
    assert await found(*made(seed, partitions)) == []


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", SEEDS)
async def test_where_the_log_reaches_back_a_part_only_nothing_is_made_up(
    seed: int, partitions: int
) -> None:
    log, store = made(seed, partitions, 120)
    chance = random.Random(seed)
    for _ in range(4):
        log.forget_below(
            {each: chance.randrange(s.first, s.end + 1) for each, s in log.held.items()}
        )
        assert await found(log, store) == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_purged_is_not_missed(seed: int) -> None:
    log, store = made(seed, 1)
    chance = random.Random(seed)
    before = chance.randrange(log.held[0].end)
    owed = {row.position for row in store.of(StoredPending)}
    for row in store.of(StoredMessage):
        if row.position.offset < before and row.position not in owed:
            store.drop(row)
    store.below = {0: before}
    assert await found(log, store) == []
    log.forget_below({0: chance.randrange(log.held[0].end)})
    # Of the repeat of a message that is nowhere any more nobody can tell that it is one.
    certain = [each for each in await found(log, store) if "unless it repeats" not in each.text]
    assert certain == []


CHANGES: dict[type[StoredRow], dict[str, Any]] = {
    StoredMessage: {
        "conversation": "dm:x:y",
        "sender": "eve",
        "content": "other",
        "kind": "typing",
        "data": '{"forged":1}',
        "time_ms": 1,
        "position": Position(0, 10**6),
    },
    StoredConversation: {
        "kind": "channel",
        "history": "none",
        "title": "Forged",
        "last_offset": 10**6,
        "last_time_ms": 1,
    },
    StoredMember: {"role": "owner", "joined_offset": 10**6, "read_offset": 10**6},
    StoredFormerMember: {"left_offset": 10**6, "user": "eve"},
    StoredDevice: {"device": "forged", "user": "eve"},
    StoredPending: {"position": Position(0, 10**6), "mailbox_id": 10**6, "conversation_id": 10**6},
}


def doctor(chance: random.Random, store: ListedStore) -> str:
    """Drop or change a row of any table; say what was done."""
    kind = chance.choice(list(CHANGES))
    rows = [row for row in store.of(kind) if not is_free(row, store)]
    if not rows:
        return ""
    row = chance.choice(rows)
    if chance.random() < 0.3:
        store.drop(row)
        return f"without {row}"
    name, value = chance.choice(list(CHANGES[kind].items()))
    if isinstance(row, StoredPending) and chance.random() < 0.3:
        name, value = "is_received", not row.is_received
    if isinstance(row, StoredDevice) and row.since and chance.random() < 0.6:
        partition = chance.choice(list(row.since))
        name, value = "since", {**row.since, partition: 10**6}
    store.change(row, **{name: value})
    return f"{name} {value} in {row}"


def is_free(row: StoredRow, store: ListedStore) -> bool:
    """Say whether a row may be as it likes: a default mailbox that is owed nothing, and who the
    members are of a conversation that no server has named.
    """
    if isinstance(row, StoredDevice) and row.device == "*":
        return row.mailbox_id not in {each.mailbox_id for each in store.of(StoredPending)}
    if isinstance(row, StoredMember | StoredFormerMember):
        return store.one(StoredConversation, id=row.conversation_id).name == "notes"
    return False


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", SEEDS)
async def test_one_row_that_was_changed_is_named(seed: int, partitions: int) -> None:
    log, store = made(seed, partitions)
    chance = random.Random(seed)
    for _ in range(8):
        doctored = ListedStore(list(store.all), store.position)
        done = doctor(chance, doctored)
        assert not done or await found(log, doctored), done


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_lost_of_the_part_that_the_log_has_is_named(seed: int) -> None:
    log, store = made(seed, 1)
    chance = random.Random(seed)
    first = chance.randrange(log.held[0].end)
    log.forget_below({0: first})
    for row in store.of(StoredPending):
        if row.position.offset >= first and chance.random() < 0.3:
            doctored = ListedStore([each for each in store.all if each is not row], store.position)
            kinds = {each.kind for each in await found(log, doctored)}
            assert kinds in (
                {Kind.PENDING_MISSING},
                {Kind.PENDING_MISSING, Kind.DEVICE_UNKNOWN},
            ) or is_sent_by_its_own(row, store)


def is_sent_by_its_own(row: StoredPending, store: ListedStore) -> bool:
    """Say whether it is a user's own message in their default mailbox: see `landline.audit`."""
    mailbox = store.one(StoredDevice, mailbox_id=row.mailbox_id)
    message = store.one(StoredMessage, position=row.position)
    return mailbox.device == "*" and mailbox.user == message.sender

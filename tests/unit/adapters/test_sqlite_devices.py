"""Devices in the embedded store: which there are, when each was seen, and which have outlived."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from landline.adapters.sqlite import Database, SqliteDevices, SqliteMessageStore
from landline.errors import StoreUnavailable
from landline.model import Batch, Device, DeviceChange, Mailbox, Message, Position

HERE = frozenset({0})
HOUR = 3600.0


class Known:
    """Devices, and records of theirs."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SqliteDevices(database)
        self._messages = SqliteMessageStore(database)
        self._offset = 0

    async def change(self, *texts: str) -> None:
        """Add devices: `user/device`; remove them: `-user/device`."""
        for text in texts:
            user, _, device = text.lstrip("-").partition("/")
            change = DeviceChange(user, device, not text.startswith("-"), self._offset)
            await self._apply(change=change)

    async def send(self, *recipients: str) -> None:
        id, at = f"m{self._offset}", Position(0, self._offset)
        message = Message(id, "notes", "eve", recipients, "hello", at, 1)
        await self._apply((message,))

    async def _apply(
        self, messages: tuple[Message, ...] = (), change: DeviceChange | None = None
    ) -> None:
        batch = Batch(0, self._offset, self._offset + 1, messages, change=change)
        assert await self._messages.apply([batch])
        self._offset += 1

    async def seen_ago(self, seconds: float, device: str) -> None:
        """Pretend that a device was last there so long ago."""
        asked = (int((time.time() - seconds) * 1_000), device)
        sql = "UPDATE devices SET seen_at = ? WHERE device = ?"
        await self.database.write(lambda connection: connection.execute(sql, asked).rowcount)

    async def names(self, *users: str) -> dict[str, set[str]]:
        found = await self.store.devices(users)
        return {user: {each.name for each in devices} for user, devices in found.items()}

    async def outlived(self, limit: int = 100, owed: int = 100) -> list[str]:
        """Walk along all devices, and return those that have, with their reasons."""
        after: Mailbox | None = None
        texts = []
        while True:
            found, after = await self.store.outlived(HOUR, owed, after, limit)
            texts += [f"{each.user}/{each.name}: {reason}" for each, reason in found]
            if after is None:
                return texts


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[Known]:
    database = Database(tmp_path / "data", lambda _why: None)
    yield Known(database)
    await database.close()


async def test_a_user_s_devices_are_those_that_have_begun_and_not_ended(known: Known) -> None:
    await known.send("bob", "dave")
    await known.change("bob/phone", "bob/laptop", "bob/", "carol/phone", "-bob/laptop")
    assert await known.names("bob", "carol", "dave", "nobody") == {
        "bob": {"phone", ""},
        "carol": {"phone"},
    }
    [device] = (await known.store.devices(["carol"]))["carol"]
    assert device.opened == HERE


async def test_a_device_is_seen_when_it_begins_and_whenever_that_is_noted(known: Known) -> None:
    await known.change("bob/phone", "bob/laptop", "bob/")
    for name in ("phone", "laptop", ""):
        await known.seen_ago(HOUR, name)
    await known.store.seen([Mailbox("bob", "phone"), Mailbox("bob"), Mailbox("eve", "phone")])
    await known.store.seen([])
    found = {each.name: each for each in (await known.store.devices(["bob"]))["bob"]}
    now_ms = time.time() * 1_000
    assert abs(found["phone"].seen_ms - now_ms) < 60_000
    assert abs(found["laptop"].seen_ms - now_ms) > 60_000
    assert await known.names("eve") == {}
    await known.change("eve/phone")
    [device] = (await known.store.devices(["eve"]))["eve"]
    assert isinstance(device, Device)
    assert abs(device.seen_ms - now_ms) < 60_000


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_devices_outlive_that_were_not_seen_or_are_owed_much(
    known: Known, limit: int
) -> None:
    await known.change("bob/phone", "bob/", "carol/laptop", "dave/phone")
    for _ in range(4):
        await known.send("bob", "erin")
    await known.send("dave")
    await known.seen_ago(2 * HOUR, "laptop")
    assert await known.outlived(limit) == ["carol/laptop: it was not there for 7200 s"]
    assert await known.outlived(limit, owed=4) == ["carol/laptop: it was not there for 7200 s"]
    assert await known.outlived(limit, owed=3) == [
        "bob/: it is owed more than 3 messages",
        "bob/phone: it is owed more than 3 messages",
        "carol/laptop: it was not there for 7200 s",
    ]


async def test_where_there_are_none_none_has(known: Known) -> None:
    await known.send("bob")
    assert await known.outlived() == []


async def test_trouble_with_the_file_is_said(known: Known, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="removed or moved away"):
        await known.store.seen([Mailbox("bob", "phone")])

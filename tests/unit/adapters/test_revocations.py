"""Revocations in a store that is in trouble: an answer in any case, and nobody else is drawn in."""

import threading
from pathlib import Path

import pytest

from landline.adapters.postgres import PostgresMessageStore
from landline.adapters.sqlite import Database, SqliteRevocations
from landline.adapters.sqlite import revocations as in_sqlite
from landline.config.values import SecretUrl
from landline.errors import StoreUnavailable


async def test_a_file_that_is_busy_for_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_sqlite, "WRITE_SECONDS", 0.05)
    database = Database(tmp_path, lambda _trouble: None)
    is_free = threading.Event()
    database.submit(lambda _connection: is_free.wait(60), lambda _result: None)
    try:
        with pytest.raises(StoreUnavailable, match="in time"):
            await SqliteRevocations(database).revoke("alice", None)
    finally:
        is_free.set()
        await database.close()


async def test_trouble_with_revocations_alone_is_none_of_the_messages() -> None:
    """They have a lane of their own, and a server whose lane is in trouble takes messages still."""
    store = PostgresMessageStore(SecretUrl("postgresql://a@127.0.0.1:1/a"), "ws-1")
    try:
        with pytest.raises(StoreUnavailable):
            await store.revocations.standing(0)
        assert store.health() is None
        with pytest.raises(StoreUnavailable):
            await store.applied()
        assert store.health() is not None
    finally:
        await store.close()

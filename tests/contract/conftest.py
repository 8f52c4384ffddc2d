"""Every adapter of a port, each as a fixture's parameter."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from landline.adapters.postgres import lane, message_store
from landline.config.values import SecretUrl
from landline.ports import ConversationStore, MessageStore
from simulation.good_weather import ModelMessageStores
from support.postgres import database, postgres
from support.stores import PostgresStores, ReadingStores, SqliteStores, Stores

__all__ = ["database", "postgres"]

PATIENT_SECONDS = 60.0


@pytest.fixture
def patient_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no outage: what is not about silence has time."""
    monkeypatch.setattr(lane, "LANE_CONNECT_SECONDS", PATIENT_SECONDS)
    for name in (
        "WRITER_LANE_SECONDS",
        "REPLAY_SECONDS",
        "ASKER_LANE_SECONDS",
        "ROOMS_LANE_SECONDS",
        "READING_SECONDS",
        "PURGE_LANE_SECONDS",
    ):
        monkeypatch.setattr(message_store, name, PATIENT_SECONDS)


@pytest.fixture
def patient_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `patient_postgres`."""
    monkeypatch.setattr("landline.adapters.kafka.cluster.KAFKA_ASK_SECONDS", PATIENT_SECONDS)


@pytest.fixture
async def sqlite_stores(tmp_path: Path) -> AsyncIterator[SqliteStores]:
    stores = SqliteStores(tmp_path)
    yield stores
    await stores.close()


@pytest.fixture
async def postgres_stores(
    patient_postgres: None, database: SecretUrl
) -> AsyncIterator[PostgresStores]:
    stores = PostgresStores(database)
    yield stores
    await stores.close()


@pytest.fixture
def model_stores() -> ReadingStores:
    return ModelMessageStores()


@pytest.fixture(
    params=[
        "model_stores",
        "sqlite_stores",
        pytest.param("postgres_stores", marks=pytest.mark.stack),
    ],
    ids=["model", "sqlite", "postgres"],
)
def stores(request: pytest.FixtureRequest) -> Stores:
    """Stores on data of the test's own."""
    stores: Stores = request.getfixturevalue(request.param)
    return stores


@pytest.fixture
async def store(stores: Stores) -> MessageStore:
    """The one store of a test that needs no second one."""
    return await stores.open()


@pytest.fixture(
    params=[
        "model_stores",
        "sqlite_stores",
        pytest.param("postgres_stores", marks=pytest.mark.stack),
    ],
    ids=["model", "sqlite", "postgres"],
)
def reading_stores(request: pytest.FixtureRequest) -> ReadingStores:
    """Stores of the adapters that have a `ConversationStore`."""
    stores: ReadingStores = request.getfixturevalue(request.param)
    return stores


@pytest.fixture
async def conversations(reading_stores: ReadingStores) -> ConversationStore:
    """What reads the data of `reading_stores`."""
    return await reading_stores.conversations()

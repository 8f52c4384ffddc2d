"""A real PostgreSQL for tests: one server for the whole run, a database for each test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from landline.config.values import SecretUrl
from landline_stack.errors import Missing
from landline_stack.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server. A test that kills or pauses it leaves it running."""
    try:
        server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    except Missing as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[SecretUrl]:
    """The address of an empty database; dropped at the end, even if it is in use."""
    name = f"test_{secrets.token_hex(6)}"
    await execute(postgres.url, f"CREATE DATABASE {name}")
    yield SecretUrl(postgres.database_url(name))
    await execute(postgres.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def execute(url: str, sql: str, *arguments: object) -> None:
    """Run a statement, or without arguments several, on a connection of their own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql, *arguments)
    finally:
        await connection.close()


async def fetch(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()

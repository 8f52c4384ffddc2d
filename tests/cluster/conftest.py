"""A stack that each test may break, if it leaves it whole; servers and a database for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from landline_stack import Stack
from support.faults import Fleet
from support.stack import stack_or_skip


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Kafka with one broker, PostgreSQL and Redis: of this package alone."""
    with stack_or_skip() as stack:
        yield stack


@pytest.fixture
async def fleet(stack: Stack, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Servers are started by the test; at the end all is whole and empty again."""
    fleet = Fleet(stack, tmp_path)
    await fleet.open()
    yield fleet
    await fleet.close()

"""Logging is as before after every test."""

from collections.abc import Iterator

import pytest
import structlog

from landline.observability.logging import shutdown_logging


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    shutdown_logging()
    structlog.reset_defaults()

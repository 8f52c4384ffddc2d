"""Logging is as before after every test."""

from collections.abc import Iterator

import pytest
import structlog

from landline.observability import logging
from landline.observability.logging import shutdown_logging


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "_CLOSE_SECONDS", 60.0)  # tests read what is written then
    yield
    shutdown_logging()
    structlog.reset_defaults()

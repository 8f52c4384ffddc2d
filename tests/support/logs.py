"""Logs that a test writes and reads back."""

import json
from pathlib import Path
from typing import Any

from landline.observability.logging import configure_logging, shutdown_logging


def file_of(directory: Path) -> Path:
    """Return the log file that `configure` has a server write."""
    return directory / "landline-ws-1-8081.log"


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """Return what was logged to the file, after waiting for all of it."""
    shutdown_logging()
    return [json.loads(line) for line in file_of(directory).read_text().splitlines()]


def configure(directory: Path | None, format_: str = "json") -> None:
    """Log as the server `ws-1` does, into a directory too if one is given."""
    configure_logging(format_, directory, "ws-1", 8081)

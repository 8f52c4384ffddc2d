"""What a server says of itself: memory, open files, lost hints, and whether it is ready."""

import asyncio
import re
import urllib.request
from typing import Final
from urllib.parse import urljoin

_ASK_SECONDS: Final = 2.0
_METERS: Final = {
    "process_resident_memory_bytes": "rss",
    "process_open_fds": "fds",
    "landline_directory_failures_total": "directory_failures",
}
_LINE: Final = re.compile(r"^(\w+) ([0-9.e+]+)$", re.MULTILINE)


async def read_meters(url: str) -> dict[str, float]:
    """Return `rss` in bytes, the number of `fds`, and how often the directory gave no answer
    (`directory_failures`), of the server with this WebSocket.

    What it does not say is missing: it is away, keeps its metrics to itself, or does not run on
    Linux.
    """
    try:
        text = await asyncio.to_thread(
            _read, urljoin("http" + url.removeprefix("ws"), "../metrics")
        )
    except (OSError, ValueError):
        return {}
    return {_METERS[name]: float(value) for name, value in _LINE.findall(text) if name in _METERS}


async def read_ready(url: str) -> bool:
    """Say whether `/readyz` of the server with this WebSocket answers that it is ready."""
    try:
        await asyncio.to_thread(_read, urljoin("http" + url.removeprefix("ws"), "../readyz"))
    except (OSError, ValueError):
        return False
    return True


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=_ASK_SECONDS) as answer:  # noqa: S310 - http(s)
        return str(answer.read().decode())

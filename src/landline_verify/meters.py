"""What is measured beside the users: what servers say of themselves, how far the writer is, and
when the clients stood still.
"""

import asyncio
import re
import urllib.request
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin, urlsplit

from landline_verify.dumps.store import STORE_ERRORS, Store
from landline_verify.history.events import Sample
from landline_verify.history.recorder import Recorder

_LOOK_SECONDS: Final = 0.1
# Shorter ones are within what the checker grants.
_STALL_SECONDS: Final = 0.2
_ASK_SECONDS: Final = 2.0
_METERS: Final = {
    "process_resident_memory_bytes": "rss",
    "process_open_fds": "fds",
    "landline_directory_failures_total": "directory_failures",
}
_LINE: Final = re.compile(r"^(\w+) ([0-9.e+]+)$", re.MULTILINE)


async def record_stalls(recorder: Recorder) -> None:
    """Notice when this whole process stood still, for whatever reason."""
    before = recorder.now()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = recorder.now()
        late = now - before - _LOOK_SECONDS
        if late > _STALL_SECONDS:
            recorder.record(Sample(now, "stall", round(late, 3)))
        before = now


async def record_progress_of(store: Store, recorder: Recorder) -> None:
    """Write down how far the writer is. A store that is away has no progress to show."""
    before: dict[int, int] = {}
    while True:
        with suppress(*STORE_ERRORS):
            applied = await store.applied()
            for partition, offset in applied.items() - before.items():
                recorder.record(Sample(recorder.now(), f"applied:{partition}", offset))
            before = applied
        await asyncio.sleep(_LOOK_SECONDS)


async def record_meters(url: str, recorder: Recorder, seconds: float) -> None:
    """Write down what a server uses and whether it is ready, every so many seconds."""
    server = urlsplit(url).netloc
    while True:
        is_ready = await _is_ready(url)
        recorder.record(Sample(recorder.now(), f"ready:{server}", float(is_ready)))
        for what, value in (await _read_meters(url)).items():
            recorder.record(Sample(recorder.now(), f"{what}:{server}", value))
        await asyncio.sleep(seconds)


async def _read_meters(url: str) -> dict[str, float]:
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


async def _is_ready(url: str) -> bool:
    """Say whether `/readyz` of the server with this WebSocket answers that it is ready."""
    try:
        await asyncio.to_thread(_read, urljoin("http" + url.removeprefix("ws"), "../readyz"))
    except (OSError, ValueError):
        return False
    return True


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=_ASK_SECONDS) as answer:  # noqa: S310 - http(s)
        return str(answer.read().decode())

"""A flood beside the load: `landline_verify.clients.flooder` as a process of its own.

Off unless asked for, bounded in time and frames, at loopback alone unless that is asked for too.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

from landline_verify.clients import flooder
from landline_verify.history.events import FaultEvent, Sample
from landline_verify.history.recorder import Recorder

# The load begins before it and goes on after it.
CALM_SECONDS: Final = 3.0
LONGEST_SECONDS: Final = 20.0
MOST_FRAMES: Final = 2_000_000

# For the other process to begin, to be let in, and to end.
_GRACE_SECONDS: Final = flooder.FIRST_SECONDS + 10.0


async def flood(
    kind: str,
    url: str,
    user: str,
    seconds: float,
    recorder: Recorder,
    *,
    token: str | None = None,
) -> None:
    """Flood a server after a moment of calm; write down when it began and ended, and its size."""
    await asyncio.sleep(CALM_SECONDS)
    name, seconds = f"flood-{kind}", min(seconds, LONGEST_SECONDS)
    program = [
        sys.executable,
        "-m",
        flooder.__name__,
        kind,
        url,
        user,
        str(seconds),
        str(MOST_FRAMES),
    ]
    shown = {} if token is None else {flooder.TOKEN_VARIABLE: token}
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, env={**os.environ, **shown}
    )
    recorder.record(FaultEvent(recorder.now(), name, "start", url))
    assert process.stdout is not None
    count = 0.0
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            async for line in process.stdout:
                count = float(line)
    except TimeoutError:
        pass  # a server that takes nothing for long keeps the flooder waiting
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        recorder.record(Sample(recorder.now(), f"flood:{kind}", count))
        recorder.record(FaultEvent(recorder.now(), name, "stop", url))

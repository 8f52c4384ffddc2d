"""How a client of ours fails to connect, on a machine that may be busy."""

import pytest

import landline
from landline.client import ConnectionFailed, Event

# The reason is known only where the first try has ended in time.
_TIMES_SECONDS = (0.3, 3.0, 30.0)


async def why_not_connected(url: str) -> str:
    """Return what is said when the time is up: the shortest in which there was an answer."""
    said = ""
    for seconds in _TIMES_SECONDS:
        events: list[Event] = []
        chat = landline.connect(url, username="a", connect_timeout=seconds, on_event=events.append)
        with pytest.raises(ConnectionFailed) as caught:
            await chat.__aenter__()
        said = str(caught.value)
        if events:
            break
    return said

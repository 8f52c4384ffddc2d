"""Somebody who connects, waits for `welcome`, and leaves: how long it takes to be let in."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from picows import WSFrame, WSListener, WSTransport, ws_connect

ANSWER_SECONDS: Final = 20.0


class _Newcomer(WSListener):
    """Waits for its first frame, which is `welcome`."""

    def __init__(self) -> None:
        self.welcomed_at = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, _transport: WSTransport, _frame: WSFrame) -> None:
        if not self.welcomed_at.done():
            self.welcomed_at.set_result(time.perf_counter())

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        if not self.welcomed_at.done():
            self.welcomed_at.set_exception(ConnectionResetError("gone before it was welcomed"))


async def seconds_to_welcome(
    url: str, user: str, headers: Mapping[str, str], *, local: str = "127.0.0.1"
) -> float:
    """Connect from this address and return how long it took from the first byte to `welcome`.

    Raises: OSError, TimeoutError, picows.WSError where nobody is let in.
    """
    started = time.perf_counter()
    transport, newcomer = await ws_connect(
        _Newcomer,
        f"{url}?username={user}",
        extra_headers=headers,
        websocket_handshake_timeout=ANSWER_SECONDS,
        local_addr=(local, 0),
    )
    assert isinstance(newcomer, _Newcomer)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            welcomed_at: float = await newcomer.welcomed_at
    finally:
        transport.disconnect()
    return welcomed_at - started

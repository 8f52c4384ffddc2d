"""A client of the websockets library says and hears one frame at a time."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection

from support.waiting import WAIT_SECONDS


async def hear(client: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next frame of this type."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            said: dict[str, Any] = json.loads(await client.recv())
            if said["type"] == kind:
                return said


async def say(client: ClientConnection, **fields: Any) -> None:
    await client.send(json.dumps(fields))


async def closed(client: ClientConnection) -> tuple[int | None, str | None]:
    """Wait for the end, and return code and reason."""
    async with asyncio.timeout(WAIT_SECONDS):
        await client.wait_closed()
    return client.close_code, client.close_reason

"""Devices that nobody uses any more end, so that what they are owed does not grow for ever.

One that was unseen for long, or is owed very much, is ended by a record in every partition where it
is open. What no other device of its user has, the default mailbox keeps. When it comes back it is
new. Every writer looks; that two of them end the same device changes nothing.
"""

import asyncio
import random
from typing import Final

from landline.errors import StoreUnavailable
from landline.model import Device, Mailbox
from landline.observability.logging import get_logger
from landline.ports import DeviceStore, EventLog, MessageStore
from landline.protocol.records import DeviceRecord

OWED_BY_DEVICE: Final = 100_000
# A walk along all devices begins as often as this, and looks at so many together. It is in no
# hurry: it pauses after each look, and after each device that it ends. For such a record decides
# who is owed what comes after it, so writers apply it by itself, and each partition gets one.
WALK_SECONDS: Final = 600.0
WALKS: Final = 4  # at least, in the time that a device may be away
LOOKED_AT_TOGETHER: Final = 20
PAUSE_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 5.0

log = get_logger(__name__)


class DeviceExpiry:
    """Walks along the devices for as long as it runs."""

    def __init__(
        self,
        event_log: EventLog,
        store: MessageStore,
        devices: DeviceStore,
        unseen_seconds: float,
    ) -> None:
        """`unseen_seconds`: how long a device may be away."""
        self._event_log = event_log
        self._store = store
        self._devices = devices
        self._unseen_seconds = unseen_seconds
        self._after: Mailbox | None = None  # where the walk that did not come to its end goes on
        self._found: dict[Mailbox, int] = {}  # those that a walk has found, and when each was seen
        self._found_before: dict[Mailbox, int] = {}

    async def run(self) -> None:
        """Walk again and again, until cancelled."""
        while True:
            # Jitter, so that servers do not walk at the same time.
            seconds = min(WALK_SECONDS, self._unseen_seconds / WALKS)
            await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311
            if self._store.record_version == 1:
                continue  # there are none yet
            try:
                await self.walk()
            except (StoreUnavailable, TimeoutError) as error:
                log.info("devices_not_looked_at", reason=str(error) or "no answer in time")

    async def walk(self) -> None:
        """Look at every device once. A walk that fails goes on with the next one.

        A device ends when two walks have found it, and it was not seen between them: a clock that
        was set says at once of all devices that they were not there for long.
        Raises: StoreUnavailable, TimeoutError.
        """
        while True:
            async with asyncio.timeout(ANSWER_SECONDS):
                outlived, self._after = await self._devices.outlived(
                    self._unseen_seconds, OWED_BY_DEVICE, self._after, LOOKED_AT_TOGETHER
                )
            for device, reason in outlived:
                mailbox = Mailbox(device.user, device.name)
                self._found[mailbox] = device.seen_ms
                if self._found_before.get(mailbox) == device.seen_ms:
                    self._end(device, reason)
                await asyncio.sleep(PAUSE_SECONDS)
            if self._after is None:
                self._found_before, self._found = self._found, {}
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _end(self, device: Device, reason: str) -> None:
        log.info("device_ended", user=device.user, device=device.name, reason=reason)
        value = DeviceRecord(device.user, device.name, is_added=False).encode_2()
        for partition in device.opened:
            # One that is not appended is found by the next walk.
            self._event_log.append(device.user, value, lambda _result: None, partition)

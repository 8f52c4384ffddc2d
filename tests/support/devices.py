"""Devices in memory, as a store knows them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from landline.errors import StoreUnavailable
from landline.model import Device, Mailbox


class KnownDevices:
    """A `DeviceStore` that knows these devices. It fails, or hangs, for as long as it is told to.

    `walk` is what each walk finds: what its looks answer, in their order.
    """

    def __init__(self, *devices: Device) -> None:
        self.known = list(devices)
        self.is_away = self.hangs = False
        self.asked: list[set[str]] = []
        self.noted: list[set[Mailbox]] = []
        self.walk: list[Sequence[tuple[Device, str]]] = []
        self.looks: list[tuple[float, int, Mailbox | None, int]] = []

    async def devices(self, users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        """See `DeviceStore`, as for the methods below."""
        self.asked.append(set(users))
        await self._answer()
        found: dict[str, list[Device]] = {}
        for each in self.known:
            if each.user in users:
                found.setdefault(each.user, []).append(each)
        return found

    async def seen(self, mailboxes: Collection[Mailbox]) -> None:
        await self._answer()
        self.noted.append(set(mailboxes))

    async def outlived(
        self, unseen_seconds: float, owed: int, after: Mailbox | None, limit: int
    ) -> tuple[Sequence[tuple[Device, str]], Mailbox | None]:
        self.looks.append((unseen_seconds, owed, after, limit))
        await self._answer()
        number = (len(self.looks) - 1) % max(1, len(self.walk))
        is_last = number >= len(self.walk) - 1
        found = self.walk[number] if self.walk else []
        return found, None if is_last else Mailbox(f"looked at {number}", "")

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("the store is away")

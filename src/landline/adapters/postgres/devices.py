"""Devices in PostgreSQL: which there are, and when each was there last."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from landline.adapters.postgres.record_format import RecordFormat
from landline.adapters.statements import statement
from landline.model import Device, Mailbox

_DEVICES_OF: Final = statement("postgres", "devices_of")
_NOTE_SEEN: Final = statement("postgres", "note_seen")
_OUTLIVED: Final = statement("postgres", "outlived")

# `read(sql, *arguments)` returns the rows of a statement. Raises: StoreUnavailable.
Read = Callable[..., Awaitable[Sequence[Sequence[Any]]]]


class PostgresDevices:
    """See `landline.ports.DeviceStore`. In format 1 there are none."""

    def __init__(self, read: Read, record_format: RecordFormat) -> None:
        self._read = read
        self._format = record_format

    async def devices(self, users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        """Look them up by user."""
        if await self._format.look() == 1:
            return {}
        found: dict[str, list[Device]] = {}
        for row in await self._read(_DEVICES_OF, sorted(users)):
            if (device := _device(*row)).opened:
                found.setdefault(device.user, []).append(device)
        return found

    async def seen(self, mailboxes: Collection[Mailbox]) -> None:
        """Write the server's time, in the order of the names: several servers may do so at once."""
        devices = sorted((user, device) for user, device in mailboxes if device is not None)
        if devices and await self._format.look() == 2:
            await self._read(_NOTE_SEEN, *zip(*devices, strict=True))

    async def outlived(
        self, unseen_seconds: float, owed: int, after: Mailbox | None, limit: int
    ) -> tuple[Sequence[tuple[Device, str]], Mailbox | None]:
        """Walk the unique index."""
        if await self._format.look() == 1:
            return [], None
        # Before every name there is: a user's has at least one byte.
        user, device = ("", "") if after is None else (after.user, after.device or "")
        rows = await self._read(_OUTLIVED, user, device, owed, limit)
        outlived = []
        for *row, unseen_ms, is_owed_more in rows:
            reason = _reason(unseen_ms, unseen_seconds, owed if is_owed_more else None)
            if reason:
                outlived.append((_device(*row), reason))
        last = Mailbox(rows[-1][0], rows[-1][1]) if len(rows) == limit else None
        return outlived, last


def _device(user: str, name: str, since: Sequence[int | None] | None, seen_ms: int) -> Device:
    opened = frozenset(i for i, offset in enumerate(since or ()) if offset is not None)
    return Device(user, name, opened, seen_ms)


def _reason(unseen_ms: int, unseen_seconds: float, owed: int | None) -> str:
    if owed is not None:
        return f"it is owed more than {owed} messages"
    if unseen_ms >= unseen_seconds * 1_000:
        return f"it was not there for {unseen_ms / 1_000:.0f} s"
    return ""

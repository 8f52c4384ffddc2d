"""A device begins or ends: what is new is owed to it from then on, or to others of its user."""

import sqlite3
from typing import Final

from landline.adapters.statements import statement
from landline.model import DeviceChange

_ADD_DEVICE: Final = statement("sqlite", "add_device")
_CLOSE_DEFAULT_MAILBOX: Final = statement("sqlite", "close_default_mailbox")
_OPEN_DEFAULT_MAILBOX: Final = statement("sqlite", "open_default_mailbox")
_MAILBOX_OF_DEVICE: Final = statement("sqlite", "mailbox_of_device")
_LEAVE_PENDING: Final = statement("sqlite", "leave_pending")
_EMPTY_MAILBOX: Final = statement("sqlite", "empty_mailbox")
_REMOVE_MAILBOX: Final = statement("sqlite", "remove_mailbox")


def change_device(connection: sqlite3.Connection, change: DeviceChange) -> None:
    """Add or remove a device. One that is there already, or is not there, changes nothing; nor does
    what is older than the beginning of the device that is there.
    """
    facts = {"user": change.user, "device": change.device, "offset": change.offset}
    if change.is_added:
        if connection.execute(_ADD_DEVICE, facts).rowcount:
            connection.execute(_CLOSE_DEFAULT_MAILBOX, facts)
        return
    for (mailbox_id,) in connection.execute(_MAILBOX_OF_DEVICE, facts).fetchall():
        gone = {"user": change.user, "mailbox": mailbox_id}
        connection.execute(_LEAVE_PENDING, gone)
        connection.execute(_EMPTY_MAILBOX, gone)
        connection.execute(_REMOVE_MAILBOX, gone)
        connection.execute(_OPEN_DEFAULT_MAILBOX, facts)

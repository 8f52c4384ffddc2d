"""Compares log and store and names every difference: `landline audit`.

The log is folded once more, by other code than the writer's (`fold.py`, `rooms.py`), and laid
beside what is stored: messages id by id (`messages.py`), then every other table (`tables.py`). Both
stand in a temporary file meanwhile (`spool.py`). What is needed of log and store are the two small
ports of `sources.py`. `landline audit --redrive` is `redrive.py`.

Which differences can be named for certain? Where the log has everything that ever was, all of
them: the store is what the log comes to, row by row. Mostly it reaches back a few days only. Then
the rule is: **what is older than the log is believed as the store has it, and what follows from
that and from the log must be what the store has.** So the fold begins with what the store says of
that time, and where the store says nothing of it, nothing is known:

- A message in the log must be stored, with its facts, at its first record, or at a position before
  the log's start: then the log's are repeats. One that is stored within the log must be in it.
  One that was purged and is older than the log cannot be told from one that never was: if its
  repeat is in the log, that is named as missing, with this reservation, and nothing is concluded.
- Members at the start are those who joined before it and have not left before it. From there on
  joining, leaving and who is owed what follow. Roles at the start are not known, as they may have
  changed since: a role is compared from the first record on that says it.
- A read mark must be at least what the log says. It may be higher if it is from before.
- A device that is stored as open since before the start was open at the start. One that ended since
  then may have been open. That matters only for rows of the default mailbox about what its own user
  has sent: they are not compared.
- Rows of `pending` from before the start are believed, until the log has a receipt of them, or
  their member or their device ends: then they must be gone.
- A conversation that the log does not name is believed as it is, unless it claims to have changed
  within the log, whichever its partition.
- A receipt of an unknown message is strange only where the log has everything.

Further things cannot be known even then:

- Which partition was applied first, where a message or a conversation stands in several, as no
  server writes it. Each of the places is right for a message. The members of such a conversation
  are not compared, and if it is a room, what is pending of it is not either.
- Whether a read mark before the first event of its conversation counts.
- Where a migration from version 1 has put read marks: at most at the last message of version 1. And
  what it has made of conversations that no server has named.
- Whether a read mark at offset 0 of a direct conversation was ever said: stores of before began
  there.
- What the product has said of users who are no more (`ended_users`) is believed: below its offsets
  their default mailboxes may be owed nothing, whatever the log says.
- `seen_at` of a device does not come from the log, and `number` of a member is the store's own.

After a new log epoch records may be read again that were applied at their old positions. The log
counts from the first record on that is stored at its present one (`Horizon.begins`).
"""

from landline.audit.comparison import Difference, Kind
from landline.audit.redrive import Quarantine, QuarantinedRecord, Redriven, redrive
from landline.audit.sources import (
    DEFAULT_MAILBOX,
    AuditLog,
    AuditStore,
    OffsetRange,
    StoredConversation,
    StoredDevice,
    StoredEndedUser,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    StoredRow,
)
from landline.audit.walk import Report, audit

__all__ = [
    "DEFAULT_MAILBOX",
    "AuditLog",
    "AuditStore",
    "Difference",
    "Kind",
    "OffsetRange",
    "Quarantine",
    "QuarantinedRecord",
    "Redriven",
    "Report",
    "StoredConversation",
    "StoredDevice",
    "StoredEndedUser",
    "StoredFormerMember",
    "StoredMember",
    "StoredMessage",
    "StoredPending",
    "StoredQuarantine",
    "StoredRow",
    "audit",
    "redrive",
]

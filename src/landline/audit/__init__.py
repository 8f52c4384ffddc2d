"""Compares log and store and names every difference: `landline audit`.

The log is folded once more, by other code than the writer's (`spool.py`), and laid beside what is
stored (`comparison.py`), one message after the other in the order of their ids (`walk.py`). What
that needs of log and store are the two small ports of `sources.py`.
"""

from landline.audit.comparison import Difference, Kind
from landline.audit.sources import (
    AuditLog,
    AuditStore,
    OffsetRange,
    StoredDelivery,
    StoredMessage,
    StoredQuarantine,
)
from landline.audit.walk import Report, audit

__all__ = [
    "AuditLog",
    "AuditStore",
    "Difference",
    "Kind",
    "OffsetRange",
    "Report",
    "StoredDelivery",
    "StoredMessage",
    "StoredQuarantine",
    "audit",
]

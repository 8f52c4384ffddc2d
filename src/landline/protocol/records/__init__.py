"""Records of CHAT-MESSAGES: a closed, versioned set of kinds, written and read here only.

Version 1 has messages (`{"v":1,"status":"UNDELIVERED",...}`) and receipts (`"DELIVERED"`). Version
2 says in `kind` what a record is. Both are read. A record of another version or kind, or with a
field that is not what it should be, is not skipped but quarantined.
"""

from landline.protocol.records.kinds import (
    RECEIPTS_PER_RECORD,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    Record,
    RoomRecord,
)
from landline.protocol.records.reading import BadRecord, decode_entry, decode_record
from landline.protocol.records.redriven import redriven, redriven_from

__all__ = [
    "RECEIPTS_PER_RECORD",
    "BadRecord",
    "DeviceRecord",
    "MemberRecord",
    "MessageRecord",
    "ReadRecord",
    "ReceiptEntry",
    "ReceiptRecord",
    "Record",
    "RoomRecord",
    "decode_entry",
    "decode_record",
    "redriven",
    "redriven_from",
]

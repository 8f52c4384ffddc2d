"""What a history is made of: one class per kind of event, each as it stands in the file.

The checks rely on two rules of recording. What a client does (`Invoke`, `Ack`, `Connect`) is
recorded before the bytes leave it (`Connect`: as soon as `welcome` is read), and what it sees
(`Ok`, `Recv`, ...) after they arrived. And the order of events is the order of time.

A sample's `what` may name its source after a colon: `rss:ws-1`, `applied:7`. `stall` says for how
many seconds until then the clients themselves stood still, on a machine that was too busy.
`directory_failures:ws-1` counts how often the directory gave a server no answer since its start. A
fault's name begins with what it strikes (`kafka-kill`, `redis-flush`, `server-kill`). The `detail`
of one that strikes a server is the server's name as in `welcome`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

VERSION = 2

# Clients and checks both need the next three, and the checks know of clients only what is here.

# A client waits so long for `welcome`. A server may have begun a session so much earlier.
HANDSHAKE_SECONDS = 5.0

# With these an `unknown` may turn into an `ok` when it is repeated. With any other one the sender
# may not ask that, or not any more, and gives up.
AGAIN_CODES = ("unavailable", "busy", "too_fast")

# A fault whose name begins so is a client that sends as fast as it can.
FLOOD_PREFIX = "flood"


@dataclass(frozen=True, slots=True)
class Event:
    """Something at `t` seconds since the run's start."""

    kind: ClassVar[str]
    # What tells events of one kind apart in the file: a field of this name with this value.
    variant: ClassVar[tuple[str, str] | None] = None

    t: float


@dataclass(frozen=True, slots=True)
class Run(Event):
    """The first event: how the run was asked for."""

    kind = "run"
    version: int
    seed: int
    urls: tuple[str, ...]
    options: dict[str, Any]
    started_at: str
    sweep_interval: float
    deadline: float  # seconds within which a send is answered or its connection closed


@dataclass(frozen=True, slots=True)
class Phase(Event):
    """A part of the run begins."""

    kind = "phase"
    name: Literal["load", "heal", "final", "end"]


@dataclass(frozen=True, slots=True)
class ClientEvent(Event):
    """Something that a client of `user` did or saw in its connection `c`."""

    user: str
    c: str


@dataclass(frozen=True, slots=True)
class Answer(ClientEvent):
    """An answer to a send."""

    ref: str


@dataclass(frozen=True, slots=True)
class Connect(ClientEvent):
    """A session began: `welcome` was read."""

    kind = "connect"
    url: str
    server: str
    session: str
    durability: str
    ack: Literal["client", "auto"]
    behaviour: str
    device: str | None = None
    is_new: bool | None = None  # as `welcome` says it of a device


@dataclass(frozen=True, slots=True)
class Live(ClientEvent):
    """A session is caught up."""

    kind = "live"
    replayed: int


@dataclass(frozen=True, slots=True)
class Disconnect(ClientEvent):
    """A session is over."""

    kind = "disconnect"
    code: int | None
    by: Literal["client", "server", "network"]


@dataclass(frozen=True, slots=True)
class Invoke(ClientEvent):
    """A send, or another request for the log, is tried, for the first time or again.

    `to` is a user or a room, and of a room that is to be made empty. `people`: whom a `create` or a
    `member` names.
    """

    kind = "invoke"
    to: str
    ref: str
    digest: str
    retry: bool
    what: Literal["send", "create", "member", "room"] = "send"
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ok(Answer):
    """A send was accepted."""

    kind = "ok"
    id: str
    conversation: str
    offset: int
    time: str


@dataclass(frozen=True, slots=True)
class Rejected(Answer):
    """A send was certainly not appended."""

    kind = "rejected"
    code: str


@dataclass(frozen=True, slots=True)
class Unknown(Answer):
    """A send may have been appended, or will be."""

    kind = "unknown"
    code: str


@dataclass(frozen=True, slots=True)
class Recv(ClientEvent):
    """A message, or an event of a room, was pushed. `to` is empty in rooms."""

    kind = "recv"
    n: int
    id: str
    conversation: str
    sender: str
    to: str
    digest: str
    offset: int
    time: str
    replay: bool
    what: Literal["message", "member", "room"] = "message"


@dataclass(frozen=True, slots=True)
class Ack(ClientEvent):
    """A client says that messages are safe with it."""

    kind = "ack"
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status(ClientEvent):
    """The sender is told that `by` acknowledged messages."""

    kind = "status"
    ids: tuple[str, ...]
    by: str
    time: str


@dataclass(frozen=True, slots=True)
class Mark(ClientEvent):
    """A person has seen a conversation up to an offset, says their client."""

    kind = "mark"
    conversation: str
    offset: int


@dataclass(frozen=True, slots=True)
class Marked(ClientEvent):
    """The server tells how far users have seen a conversation."""

    kind = "marked"
    conversation: str
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Ask(ClientEvent):
    """A question. `conversation`, `before`: of a `history`."""

    kind = "ask"
    what: Literal["list", "history"]
    request: str
    conversation: str | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Listed(ClientEvent):
    """An answer to `list`: of each conversation the last offset, the read mark, and the unread."""

    kind = "listed"
    request: str
    items: tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Paged(ClientEvent):
    """An answer to `history`: id, offset and digest of each event. `first`, `last`: from where to
    where it has everything.
    """

    kind = "paged"
    request: str
    conversation: str
    messages: tuple[tuple[str, int, str], ...]
    first: int
    last: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Error(ClientEvent):
    """An error that concerns no send."""

    kind = "error"
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class FaultEvent(Event):
    """A fault begins or ends."""

    kind = "nemesis"  # the word of the file; another one would make older histories unreadable
    name: str
    phase: Literal["start", "stop"]
    detail: str


@dataclass(frozen=True, slots=True)
class Sample(Event):
    """Something was measured; `lag` in seconds, `rss` in bytes."""

    kind = "sample"
    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Record(Event):
    """A record of the log, read when all was over."""

    kind = "record"
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class MessageRecord(Record):
    """A message in the log."""

    variant = ("record", "message")
    id: str
    sender: str
    recipients: tuple[str, ...]
    conversation: str
    digest: str
    device: str | None = None  # the sender's; nobody's is None, in version 1 everybody's


@dataclass(frozen=True, slots=True)
class RoomRecord(Record):
    """A room is made, or has another title. `members`: of one that is made, its maker first."""

    variant = ("record", "room")
    id: str
    sender: str
    conversation: str
    digest: str
    device: str | None
    members: tuple[str, ...] = ()
    history: str | None = None


@dataclass(frozen=True, slots=True)
class MemberRecord(Record):
    """Somebody is added to a room, removed, or has another role."""

    variant = ("record", "member")
    id: str
    sender: str
    conversation: str
    digest: str
    device: str | None
    user: str
    change: Literal["add", "remove", "role"]
    role: Literal["admin", "member"]


# What stands in a conversation, is owed to its members, and has an id.
Said: TypeAlias = MessageRecord | RoomRecord | MemberRecord


@dataclass(frozen=True, slots=True)
class ReadRecord(Record):
    """How far users have seen a conversation."""

    variant = ("record", "read")
    conversation: str
    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ReceiptsRecord(Record):
    """Receipts in the log: of each mailbox, that is user and device, the ids."""

    variant = ("record", "receipts")
    entries: tuple[tuple[str, str | None, tuple[str, ...]], ...]
    conversation: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Return every id that it has a receipt of, once."""
        return tuple(dict.fromkeys(id for _user, _device, ids in self.entries for id in ids))

    def users_of(self, id: str) -> tuple[str, ...]:
        """Return whose receipts of a message it has."""
        return tuple(dict.fromkeys(user for user, _device, ids in self.entries if id in ids))


@dataclass(frozen=True, slots=True)
class DeviceRecord(Record):
    """A device begins or ends in this partition."""

    variant = ("record", "device")
    user: str
    device: str
    change: Literal["add", "remove"]


@dataclass(frozen=True, slots=True)
class ForeignRecord(Record):
    """A record that is not of this run. `garbage`: no writer can ever apply it."""

    variant = ("record", "foreign")
    garbage: bool = False


@dataclass(frozen=True, slots=True)
class MessageRow(Event):
    """A message in the store, or an event of a room."""

    kind = "row"
    variant = ("table", "messages")
    id: str
    sender: str
    conversation: str
    digest: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class StatusRow(Event):
    """What the store says of a message and a recipient."""

    kind = "row"
    variant = ("table", "message_status")
    id: str
    recipient: str
    status: Literal["UNDELIVERED", "DELIVERED"]


@dataclass(frozen=True, slots=True)
class PendingRow(Event):
    """A mailbox is owed what stands at this position: the message `id`, if the store has one there.

    `device` None: the default mailbox. `is_received`: another mailbox of the user has it, or the
    user has sent it.
    """

    kind = "row"
    variant = ("table", "pending")
    user: str
    device: str | None
    partition: int
    offset: int
    id: str | None
    is_received: bool


@dataclass(frozen=True, slots=True)
class MemberRow(Event):
    """Who is in a conversation, by the store, and how far they have seen it."""

    kind = "row"
    variant = ("table", "members")
    conversation: str
    user: str
    role: str
    joined: int
    read: int


@dataclass(frozen=True, slots=True)
class AppliedRow(Event):
    """How far the writer has come in a partition."""

    kind = "row"
    variant = ("table", "applied")
    partition: int
    next: int


@dataclass(frozen=True, slots=True)
class QuarantineRow(Event):
    """A record that the writer put aside."""

    kind = "row"
    variant = ("table", "quarantine")
    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dump(Event):
    """Log or store was read, to the end or not."""

    kind = "dump"
    what: Literal["log", "store"]
    complete: bool


EVENT_KINDS: tuple[type[Event], ...] = (
    Run, Phase, Connect, Live, Disconnect, Invoke, Ok, Rejected, Unknown, Recv, Ack, Status, Mark,
    Marked, Ask, Listed, Paged, Error, FaultEvent, Sample, MessageRecord, RoomRecord, MemberRecord,
    ReadRecord, ReceiptsRecord, DeviceRecord, ForeignRecord, MessageRow, StatusRow, PendingRow,
    MemberRow, AppliedRow, QuarantineRow, Dump,
)  # fmt: skip

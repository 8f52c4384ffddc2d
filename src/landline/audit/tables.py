"""The store's tables beside what the log comes to: conversations, members, devices, pending."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from landline.audit.comparison import Difference, Horizon, Kind, place
from landline.audit.sources import DEFAULT_MAILBOX
from landline.audit.spool import Spool
from landline.model import Position
from landline.protocol.identity import is_room


def compare_tables(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    """Yield how the store's tables differ from what the log comes to, once that is worked out."""
    spool.script(_VIEWS)
    yield from _conversations(spool, horizon)
    yield from _members(spool, horizon)
    yield from _former_members(spool, horizon)
    yield from _devices(spool)
    yield from _rows_of_nobody(spool)
    yield from _owed_but_not_stored(spool, horizon)
    yield from _pending(spool)


# Conversations -------------------------------------------------------------------------------

_CONVERSATIONS: Final = """
    SELECT logged.name, logged.last_offset, logged.last_time_ms, logged.history, logged.title,
           is_made, has_title, is_unclear, doubtful_offset, stored.id, stored.kind, stored.history,
           stored.title, stored.last_offset, stored.last_time_ms
    FROM conversation AS logged LEFT JOIN stored_conversation AS stored USING (name) ORDER BY name
"""
_CONVERSATIONS_UNKNOWN: Final = """
    SELECT name, last_offset FROM stored_conversation
    WHERE NOT EXISTS (SELECT 1 FROM conversation WHERE name = stored_conversation.name)
    ORDER BY name
"""


class _Conversation(NamedTuple):
    """What the log says of one, and what the store says."""

    name: str
    last_offset: int | None
    last_time_ms: int | None
    history: str | None
    title: str | None
    is_made: bool
    has_title: bool
    is_unclear: bool
    doubtful_offset: int
    stored_id: int | None
    stored_kind: str
    stored_history: str | None
    stored_title: str | None
    stored_offset: int
    stored_time_ms: int


def _conversations(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    for row in map(_Conversation._make, spool.rows(_CONVERSATIONS)):
        name = row.name
        if row.stored_id is None:
            yield Difference(Kind.CONVERSATION_MISSING, f"{name} is in the log, and not stored")
        elif changed := [*_changed_conversation(row, horizon)]:
            yield Difference(Kind.CONVERSATION_CHANGED, f"{name} differs in {', '.join(changed)}")
    for name, last in spool.rows(_CONVERSATIONS_UNKNOWN):
        if horizon.is_all or last >= horizon.latest_begin:
            yield Difference(
                Kind.CONVERSATION_UNKNOWN, f"{name} is stored, and the log has no event of it"
            )


def _changed_conversation(row: _Conversation, horizon: Horizon) -> Iterator[str]:
    is_a_room = is_room(row.name)
    if row.stored_kind != ("room" if is_a_room else "direct"):
        yield f"kind ({row.stored_kind})"
    if row.stored_history != row.history and (
        not is_a_room or (row.is_made and not row.is_unclear)
    ):
        yield f"history ({row.stored_history}, in the log {row.history})"
    if row.stored_title != row.title and (not is_a_room or (row.has_title and not row.is_unclear)):
        yield "title"
    last = row.last_offset
    if last is None or last < row.stored_offset <= row.doubtful_offset:
        return
    if _is_wrong_end(row.stored_offset, last, horizon):
        yield f"last offset ({row.stored_offset}, in the log {last})"
    elif row.stored_offset == last and row.stored_time_ms != row.last_time_ms:
        yield "last time"


def _is_wrong_end(stored: int, last: int, horizon: Horizon) -> bool:
    # A higher one may be that of another partition, where the log does not reach back so far.
    return stored < last or (stored > last and (horizon.is_all or stored >= horizon.latest_begin))


# Members -------------------------------------------------------------------------------------

# Conversations that are not stored are told already.
_MEMBERS_MISSING: Final = """
    SELECT member.conversation, user FROM member
    JOIN conversation ON conversation.name = member.conversation AND NOT is_unclear
    JOIN stored_conversation AS stored ON stored.name = member.conversation
    WHERE NOT EXISTS (SELECT 1 FROM stored_member AS known
                      WHERE known.conversation_id = stored.id AND known.user = member.user)
    ORDER BY 1, 2
"""
_MEMBERS: Final = """
    SELECT stored.name, known.user, known.role, known.joined, known.read, conversation.name,
           is_unclear, member.user, member.role, member.joined, member.read,
           iif(is_direct, max(read_limit, last_1), read_limit)
    FROM stored_member AS known
    LEFT JOIN (SELECT *, kind = 'direct' AS is_direct FROM stored_conversation) AS stored
        ON stored.id = known.conversation_id
    LEFT JOIN conversation USING (name)
    LEFT JOIN member ON member.conversation = stored.name AND member.user = known.user
    ORDER BY 1, 2
"""


def _members(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    for name, user in spool.rows(_MEMBERS_MISSING):
        yield Difference(
            Kind.MEMBER_MISSING, f"{user} is a member of {name}, and not stored as one"
        )
    for name, user, role, joined, read, logged_name, is_unclear, logged, *facts in spool.rows(
        _MEMBERS
    ):
        if name is None:
            yield Difference(Kind.MEMBER_UNKNOWN, f"{user} is a member of no conversation")
        elif is_unclear or (logged_name is None and joined < horizon.latest_begin):
            continue
        elif logged_name is None:
            if not horizon.is_all:  # otherwise the conversation is told already
                yield _unknown_member(user, name, joined)
        elif logged is None:
            yield _unknown_member(user, name, joined)
        elif changed := [*_changed_member((role, joined, read), *facts)]:
            yield Difference(
                Kind.MEMBER_CHANGED, f"{user} of {name} differs in {', '.join(changed)}"
            )


def _unknown_member(user: str, name: str, joined: int) -> Difference:
    return Difference(
        Kind.MEMBER_UNKNOWN,
        f"{user} is stored as a member of {name} since offset {joined}, and by the log is none",
    )


def _changed_member(
    stored: tuple[str, int, int], role: str | None, joined: int, read: int, limit: int
) -> Iterator[str]:
    stored_role, stored_joined, stored_read = stored
    if role is not None and stored_role != role:
        yield f"role ({stored_role}, in the log {role})"
    if stored_joined != joined:
        yield f"where the membership began ({stored_joined}, in the log {joined})"
    is_migrated = read < stored_read <= limit
    if stored_read != read and not is_migrated:
        yield f"what was read ({stored_read}, in the log {read})"


_FORMER_MISSING: Final = """
    SELECT former.conversation, user, joined, departed FROM former
    JOIN conversation ON conversation.name = former.conversation AND NOT is_unclear
    JOIN stored_conversation AS stored ON stored.name = former.conversation
    WHERE NOT EXISTS (SELECT 1 FROM stored_former AS known
                      WHERE known.conversation_id = stored.id AND known.user = former.user
                      AND known.joined = former.joined)
    ORDER BY 1, 2, 3
"""
_FORMER: Final = """
    SELECT stored.name, known.user, known.joined, known.departed, conversation.name, is_unclear,
           former.departed
    FROM stored_former AS known
    LEFT JOIN stored_conversation AS stored ON stored.id = known.conversation_id
    LEFT JOIN conversation USING (name)
    LEFT JOIN former ON former.conversation = stored.name AND former.user = known.user
        AND former.joined = known.joined
    ORDER BY 1, 2, 3
"""


def _former_members(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    for name, user, joined, departed in spool.rows(_FORMER_MISSING):
        yield Difference(
            Kind.MEMBER_MISSING,
            f"{user} was a member of {name} from offset {joined} to {departed}, and is not stored"
            " as a former one",
        )
    for name, user, joined, departed, logged_name, is_unclear, logged in spool.rows(_FORMER):
        if is_unclear or (logged_name is None and (name is None or not horizon.is_all)):
            continue
        if logged is None and logged_name is not None:
            yield Difference(
                Kind.MEMBER_UNKNOWN,
                f"{user} is stored as a former member of {name} from offset {joined} to"
                f" {departed}, and by the log was none",
            )
        elif logged is not None and logged != departed:
            yield Difference(
                Kind.MEMBER_CHANGED,
                f"{user} of {name} differs in where the membership ended"
                f" ({departed}, in the log {logged})",
            )


# Devices -------------------------------------------------------------------------------------

_DEVICES_MISSING: Final = """
    SELECT logged.user, logged.device, logged.partition, logged.since, stored.since
    FROM device AS logged LEFT JOIN stored_device AS stored USING (user, partition, device)
    WHERE stored.since IS NOT logged.since ORDER BY 1, 2, 3
"""
_DEVICES_UNKNOWN: Final = """
    SELECT user, device, partition, since FROM stored_device AS stored
    JOIN begin USING (partition)
    WHERE NOT EXISTS (SELECT 1 FROM device WHERE device.user = stored.user
                      AND device.partition = stored.partition AND device.device = stored.device)
    ORDER BY 1, 2, 3
"""
_DEVICES_CLOSED: Final = """
    SELECT user, device FROM stored_mailbox AS stored
    WHERE device <> ? AND NOT EXISTS (
        SELECT 1 FROM stored_device AS opened
        WHERE opened.user = stored.user AND opened.device = stored.device)
    ORDER BY 1, 2
"""


def _devices(spool: Spool) -> Iterator[Difference]:
    for user, device, partition, since, stored in spool.rows(_DEVICES_MISSING):
        at = place(Position(partition, since))
        what = f"device {device!r} of {user} began at {at}"
        if stored is None:
            yield Difference(Kind.DEVICE_MISSING, f"{what}, and is not stored as open there")
        else:
            yield Difference(Kind.DEVICE_CHANGED, f"{what}, and is stored as since {stored}")
    for user, device, partition, since in spool.rows(_DEVICES_UNKNOWN):
        at = place(Position(partition, since))
        yield Difference(
            Kind.DEVICE_UNKNOWN,
            f"device {device!r} of {user} is stored as open since {at}, and by the log is not",
        )
    for user, device in spool.rows(_DEVICES_CLOSED, DEFAULT_MAILBOX):
        yield Difference(
            Kind.DEVICE_UNKNOWN, f"device {device!r} of {user} is stored as open nowhere"
        )


# Pending -------------------------------------------------------------------------------------

_ROWS_OF_NOBODY: Final = """
    SELECT mailbox_id, partition, offset FROM stored_pending
    WHERE NOT EXISTS (SELECT 1 FROM stored_mailbox WHERE id = mailbox_id) ORDER BY 1, 2, 3
"""
_NOT_STORED: Final = """
    SELECT user, device, partition, offset FROM stored_owed
    WHERE NOT EXISTS (SELECT 1 FROM stored_message
                      WHERE stored_message.partition = stored_owed.partition
                      AND stored_message.offset = stored_owed.offset)
    AND NOT EXISTS (SELECT 1 FROM told
                    WHERE told.partition = stored_owed.partition
                    AND told.offset = stored_owed.offset)
    ORDER BY partition, offset, user, device
"""
# Without what is said already, of a message, or of a room whose members are not clear.
_VIEWS: Final = """
    CREATE VIEW logged_pending AS SELECT * FROM owed
        WHERE is_certain
        AND NOT EXISTS (SELECT 1 FROM stored_ended AS ended
                        WHERE ended.user = owed.user AND ended.partition = owed.partition
                        AND owed.device = '*' AND owed.offset < ended.before)
        AND NOT EXISTS (SELECT 1 FROM told
                        WHERE told.partition = owed.partition AND told.offset = owed.offset)
        AND NOT EXISTS (SELECT 1 FROM conversation
                        WHERE name = owed.conversation AND is_unclear AND name LIKE 'room:%');
    CREATE VIEW known_pending AS SELECT * FROM stored_owed AS stored
        WHERE NOT EXISTS (SELECT 1 FROM told
                          WHERE told.partition = stored.partition AND told.offset = stored.offset)
        AND NOT EXISTS (SELECT 1 FROM conversation
                        WHERE name = stored.conversation AND is_unclear AND name LIKE 'room:%');
"""
_PENDING_MISSING: Final = """
    SELECT user, device, partition, offset FROM logged_pending AS owed
    WHERE NOT EXISTS (
        SELECT 1 FROM stored_owed AS stored WHERE stored.user = owed.user
        AND stored.partition = owed.partition AND stored.offset = owed.offset
        AND stored.device = owed.device)
    ORDER BY partition, offset, user, device
"""
_PENDING_UNKNOWN: Final = """
    SELECT user, device, partition, offset,
           EXISTS (SELECT 1 FROM receipt WHERE receipt.user = stored.user
                   AND receipt.partition = stored.partition AND receipt.offset = stored.offset
                   AND (receipt.device = stored.device OR stored.device = '*'))
    FROM known_pending AS stored
    WHERE NOT EXISTS (
        SELECT 1 FROM owed WHERE owed.user = stored.user AND owed.partition = stored.partition
        AND owed.offset = stored.offset AND owed.device = stored.device)
    AND EXISTS (SELECT 1 FROM stored_message WHERE stored_message.partition = stored.partition
                AND stored_message.offset = stored.offset)
    ORDER BY partition, offset, user, device
"""
_PENDING_CHANGED: Final = """
    SELECT user, device, partition, offset, owed.is_received, stored.is_received,
           owed.conversation, stored.conversation,
           EXISTS (SELECT 1 FROM receipt WHERE receipt.user = owed.user
                   AND receipt.partition = owed.partition AND receipt.offset = owed.offset)
    FROM logged_pending AS owed JOIN stored_owed AS stored USING (user, partition, offset, device)
    WHERE owed.is_received <> stored.is_received OR owed.conversation IS NOT stored.conversation
    ORDER BY partition, offset, user, device
"""


def _rows_of_nobody(spool: Spool) -> Iterator[Difference]:
    for id, *at in spool.rows(_ROWS_OF_NOBODY):
        yield Difference(
            Kind.PENDING_UNKNOWN,
            f"what stands at {place(Position(*at))} is owed to mailbox {id}, which is nobody's",
        )


def _owed_but_not_stored(spool: Spool, horizon: Horizon) -> Iterator[Difference]:
    for user, device, *at in spool.rows(_NOT_STORED):
        position = Position(*at)
        is_unknown = horizon.is_within(position) and not _is_logged(spool, position)
        yield Difference(
            Kind.MESSAGE_UNKNOWN if is_unknown else Kind.MESSAGE_MISSING,
            f"what stands at {place(position)} is owed to {_mailbox(user, device)} and is"
            f" {'neither stored nor in the log' if is_unknown else 'not stored'}",
        )


def _is_logged(spool: Spool, position: Position) -> bool:
    sql = "SELECT 1 FROM record WHERE partition = ? AND offset = ? AND id IS NOT NULL"
    return spool.row(sql, *position) is not None


def _pending(spool: Spool) -> Iterator[Difference]:
    for user, device, *at in spool.rows(_PENDING_MISSING):
        yield Difference(
            Kind.PENDING_MISSING,
            f"{_owed(at, user, device)}, has not been received, and is not stored as pending",
        )
    for user, device, *at, is_received in spool.rows(_PENDING_UNKNOWN):
        yield Difference(
            Kind.RECEIPT_MISSING if is_received else Kind.PENDING_UNKNOWN,
            f"what stands at {place(Position(*at))} is stored as pending for"
            f" {_mailbox(user, device)}, and by the log"
            f" {'was received' if is_received else 'is not owed'}",
        )
    for (
        user,
        device,
        partition,
        offset,
        logged,
        stored,
        conversation,
        wrong,
        has_receipt,
    ) in spool.rows(_PENDING_CHANGED):
        row = _owed([partition, offset], user, device)
        if conversation != wrong:
            yield Difference(
                Kind.PENDING_CHANGED, f"{row} in {conversation}, and is stored in {wrong}"
            )
        elif logged and has_receipt:
            yield Difference(
                Kind.RECEIPT_MISSING, f"{row}, was received elsewhere, and is not stored so"
            )
        elif logged:
            yield Difference(
                Kind.PENDING_CHANGED, f"{row}, is their own, and is stored as not received"
            )
        elif stored:
            yield Difference(
                Kind.RECEIPT_UNKNOWN,
                f"{row} and is stored as received elsewhere, and the log has no receipt of it",
            )


def _owed(at: list[int], user: str, device: str) -> str:
    return f"what stands at {place(Position(*at))} is owed to {_mailbox(user, device)}"


def _mailbox(user: str, device: str) -> str:
    return user if device == DEFAULT_MAILBOX else f"device {device!r} of {user}"

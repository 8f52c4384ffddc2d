"""Conversations and their members, as the log has them."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from landline.audit.comparison import Horizon
from landline.audit.spool import Spool
from landline.model import Position
from landline.protocol.identity import is_room, participants

_SCHEMA: Final = """
    -- `is_made`: history and title are known from the beginning. `has_title`: the title is known.
    -- `is_unclear`: who its members were when depends on which partition was applied first.
    -- `last_1`: the last message of version 1. Up to there a migration may have put read marks.
    -- `doubtful_offset`: of the last event that may be a repeat, which would change nothing.
    CREATE TABLE conversation (
        name TEXT PRIMARY KEY, partition INTEGER, last_offset INTEGER, last_time_ms INTEGER,
        history TEXT, title TEXT, is_made INTEGER, has_title INTEGER, is_unclear INTEGER,
        last_1 INTEGER, doubtful_offset INTEGER
    ) WITHOUT ROWID;
    -- `role` is null where it is that from before the log reaches back. `read_limit`: the read mark
    -- may have been as far as that already.
    CREATE TABLE member (
        conversation TEXT, user TEXT, role TEXT, joined INTEGER, number INTEGER, read INTEGER,
        read_limit INTEGER, PRIMARY KEY (conversation, user)
    ) WITHOUT ROWID;
    CREATE TABLE former (
        conversation TEXT, user TEXT, joined INTEGER, departed INTEGER,
        PRIMARY KEY (conversation, user, joined)
    ) WITHOUT ROWID;
    -- Read marks of a conversation without an event so far. They count if they are applied in one
    -- batch with its first event, and otherwise they do not.
    CREATE TABLE early_read (
        conversation TEXT, user TEXT, read INTEGER, PRIMARY KEY (conversation, user)
    ) WITHOUT ROWID;
"""
_SEE: Final = """
    INSERT OR IGNORE INTO conversation VALUES (?, ?, NULL, NULL, NULL, NULL, ?, ?, 0, -1, -1)
"""
_SEE_EVENT: Final = """
    UPDATE conversation SET
        last_time_ms = iif(coalesce(last_offset, -1) < :offset, :time_ms, last_time_ms),
        last_offset = max(coalesce(last_offset, -1), :offset),
        is_unclear = is_unclear OR partition <> :partition,
        last_1 = iif(:version = 1, max(last_1, :offset), last_1)
    WHERE name = :name
"""
# Who was a member when the log begins: those who are, and those who have left since then.
_MEMBERS_FROM_BEFORE: Final = """
    INSERT INTO member
        SELECT :name, user, NULL, joined, number, joined - 1, :begin - 1 FROM (
            SELECT user, joined, number FROM stored_member
            WHERE conversation_id = :id AND joined < :begin
            UNION ALL
            SELECT user, joined, NULL FROM stored_former
            WHERE conversation_id = :id AND joined < :begin AND departed >= :begin
        )
        WHERE true ON CONFLICT DO NOTHING
"""
_FORMER_FROM_BEFORE: Final = """
    INSERT INTO former
        SELECT :name, user, joined, departed FROM stored_former
        WHERE conversation_id = :id AND departed < :begin
"""
_ADD_MEMBER: Final = "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?)"


_SEE_DOUBTFUL: Final = """
    UPDATE conversation SET
        doubtful_offset = max(doubtful_offset, :offset),
        is_unclear = is_unclear OR :is_change,
        last_1 = iif(:version = 1, max(last_1, :offset), last_1)
    WHERE name = :name
"""


class Rooms:
    """Tables `conversation`, `member` and `former` of the spool: direct conversations too."""

    def __init__(self, spool: Spool, horizon: Horizon) -> None:
        self._spool = spool
        self._file = spool.file
        self._horizon = horizon
        spool.script(_SCHEMA)

    def see(
        self,
        name: str,
        at: Position,
        time_ms: int,
        first_members: Sequence[str],
        *,
        version: int,
    ) -> None:
        """An event of a conversation. `first_members`: of a direct one that is new."""
        if not self._is_known(name):
            self._begin(name, at.partition, first_members, version)
        event = {
            "name": name,
            "partition": at.partition,
            "offset": at.offset,
            "time_ms": time_ms,
            "version": version,
        }
        self._file.execute(_SEE_EVENT, event)

    def doubt(
        self,
        name: str,
        at: Position,
        first_members: Sequence[str],
        *,
        is_change: bool,
        version: int,
    ) -> None:
        """An event of a conversation that may be a repeat. `is_change`: of its members."""
        if not self._is_known(name):
            self._begin(name, at.partition, first_members, version)
        event = {"name": name, "offset": at.offset, "is_change": is_change, "version": version}
        self._file.execute(_SEE_DOUBTFUL, event)

    def _is_known(self, name: str) -> bool:
        return self._spool.row("SELECT 1 FROM conversation WHERE name = ?", name) is not None

    def _begin(self, name: str, partition: int, members: Sequence[str], version: int) -> None:
        begin = self._horizon.begin(partition)
        is_whole = self._horizon.is_whole(partition)
        self._file.execute(_SEE, (name, partition, is_whole, is_whole))
        if is_room(name) or (not is_whole and not participants(name)):
            self._take_from_before(name, begin)
        elif participants(name) or version != 1:
            # Stores of before have put it to 0.
            limit = max(begin - 1, 0)
            rows = [(name, user, "member", 0, n, -1, limit) for n, user in enumerate(members)]
            self._file.executemany(_ADD_MEMBER.replace("INSERT", "INSERT OR IGNORE"), rows)
        else:
            # No server makes such a name, and a migration does with it what it likes.
            self._file.execute("UPDATE conversation SET is_unclear = 1 WHERE name = ?", (name,))
        self._file.execute(
            "UPDATE member SET read_limit = max(read_limit, early_read.read) FROM early_read"
            " WHERE member.conversation = ? AND early_read.conversation = member.conversation"
            " AND early_read.user = member.user",
            (name,),
        )

    def _take_from_before(self, name: str, begin: int) -> None:
        row = self._spool.row("SELECT id FROM stored_conversation WHERE name = ?", name)
        if row is not None and begin > 0:
            seed = {"name": name, "id": row[0], "begin": begin}
            self._file.execute(_MEMBERS_FROM_BEFORE, seed)
            self._file.execute(_FORMER_FROM_BEFORE, seed)

    def read(self, name: str, at: Position, entries: Sequence[tuple[str, int]]) -> None:
        """Members say how far they have seen a conversation: not beyond their own record."""
        if not self._is_known(name) and self._was_there_before(name, at.partition):
            self._begin(name, at.partition, participants(name), 2)
        is_known = self._is_known(name)
        for user, offset in entries:
            read = min(offset, at.offset)
            if is_known:
                self._file.execute(
                    "UPDATE member SET read = max(read, ?) WHERE conversation = ? AND user = ?",
                    (read, name, user),
                )
            else:
                self._file.execute(
                    "INSERT INTO early_read VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET read = max(read, excluded.read)",
                    (name, user, read),
                )

    def _was_there_before(self, name: str, partition: int) -> bool:
        row = self._spool.row(
            "SELECT 1 FROM stored_conversation WHERE name = ? AND last_offset < ?",
            name,
            self._horizon.begin(partition),
        )
        return row is not None

    def change(
        self,
        name: str,
        offset: int,
        title: str | None,
        history: str | None,
        members: Sequence[str] | None,
    ) -> None:
        """A room is made, or has another title."""
        if members is None:
            self._file.execute(
                "UPDATE conversation SET title = ?, has_title = 1 WHERE name = ?", (title, name)
            )
        elif not self._had_members(name):
            self._file.execute(
                "UPDATE conversation SET title = ?, history = ?, is_made = 1, has_title = 1"
                " WHERE name = ?",
                (title, history, name),
            )
            rows = [
                (name, user, "member" if number else "admin", offset, number, offset - 1, -1)
                for number, user in enumerate(members)
            ]
            self._file.executemany(_ADD_MEMBER, rows)

    def _had_members(self, name: str) -> bool:
        tables = ("member", "former")
        sql = "SELECT 1 FROM {} WHERE conversation = ?"
        return any(self._spool.row(sql.format(each), name) is not None for each in tables)

    def change_member(self, name: str, offset: int, user: str, step: str, role: str) -> None:
        """Somebody is added, removed, or has another role."""
        where = (name, user)
        row = self._spool.row(
            "SELECT joined FROM member WHERE conversation = ? AND user = ?", *where
        )
        if step == "add" and row is None:
            self._file.execute(_ADD_MEMBER, (*where, role, offset, 0, offset - 1, -1))
        elif step == "remove" and row is not None:
            self._file.execute("DELETE FROM member WHERE conversation = ? AND user = ?", where)
            self._file.execute("INSERT INTO former VALUES (?, ?, ?, ?)", (*where, row[0], offset))
        elif step == "role":
            self._file.execute(
                "UPDATE member SET role = ? WHERE conversation = ? AND user = ?", (role, *where)
            )
        self._name_an_admin(name)

    def _name_an_admin(self, name: str) -> None:
        """The oldest member is one, where there is no other."""
        roles = "SELECT count(*), sum(role IS NULL), sum(role = 'admin') FROM member"
        count, unknown, admins = self._spool.row(f"{roles} WHERE conversation = ?", name)
        if not count or admins:
            return
        oldest = [*self._oldest(name)]
        # One whose role is not known may be an admin; then the oldest keeps the role it has.
        is_certain = not unknown and len(oldest) == 1
        self._file.executemany(
            "UPDATE member SET role = ? WHERE conversation = ? AND user = ?",
            [("admin" if is_certain else None, name, user) for user in oldest],
        )

    def _oldest(self, name: str) -> Collection[str]:
        """Return the oldest member; several where it is not known who of them came first."""
        rows = self._spool.rows(
            "SELECT user, number FROM member WHERE conversation = ? AND joined ="
            " (SELECT min(joined) FROM member WHERE conversation = ?) ORDER BY number, user",
            name,
            name,
        )
        found: list[Any] = list(rows)
        if any(number is None for _user, number in found):
            return [user for user, _number in found]
        return [found[0][0]]

    def members(self, name: str) -> Sequence[str]:
        """Return the members as they are now."""
        rows = self._spool.rows("SELECT user FROM member WHERE conversation = ?", name)
        return [user for (user,) in rows]

    def was_removed(self, name: str, user: str, offset: int) -> bool:
        """Say whether a membership ended at this place."""
        row = self._spool.row(
            "SELECT 1 FROM former WHERE conversation = ? AND user = ? AND departed = ?",
            name,
            user,
            offset,
        )
        return row is not None

    def is_stranger(self, name: str, user: str) -> bool:
        """Say whether a user never was a member, for certain."""
        row = self._spool.row("SELECT is_unclear FROM conversation WHERE name = ?", name)
        if row is None or row[0]:
            return False
        sql = "SELECT 1 FROM {} WHERE conversation = ? AND user = ?"
        tables = ("member", "former")
        return all(self._spool.row(sql.format(each), name, user) is None for each in tables)

"""The outbox: it remembers sends without an answer, and messages that were handed out."""

import asyncio
import os
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

import orjson

from landline.client.errors import ClientError, ForeignOutbox, OutboxInUse
from landline.client.looking import DETAILS, SCHEMA, look, resolved

A = TypeVarTuple("A")
R = TypeVar("R")

# Handed messages that are remembered: one that comes again is acknowledged, not handed out again.
HANDED_IDS = 10_000

_OWNER_ALONE = 0o600
# SQLite makes these with the mode of the file itself; an earlier version may have left open ones.
_COMPANIONS = ("-journal", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Draft:
    """A send, or another request for the log, as it is kept until it is answered.

    `to`: a user, or a conversation; empty for a room that is to be made. `change`: the fields of
    the frame of a request that is no send; it has no content.
    """

    ref: str
    to: str
    content: str
    data: Mapping[str, Any] | None = field(default=None, hash=False)
    change: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def kind(self) -> str:
        """Return the type of its frame."""
        return "send" if self.change is None else str(self.change["type"])


class Outbox(Protocol):
    """Keeps drafts and handed ids. Each method returns when what it was given is safe."""

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Return what an earlier process left: drafts in order, and handed ids, oldest first."""

    async def claim(self, user: str) -> None:
        """Say whose session has begun; called before anything is sent in it."""

    def disclaim(self, why: Exception) -> None:
        """Say that no session begins any more."""

    async def add(self, draft: Draft) -> None:
        """Keep a draft; called before its first try."""

    async def remove(self, refs: Sequence[str]) -> None:
        """Forget drafts: they were answered."""

    async def hand(self, ids: Sequence[str]) -> None:
        """Note messages as handed; called before they are acknowledged."""

    def begin_to_close(self) -> None:
        """Let go of the file, if there is one, as soon as all is done that was begun."""

    async def close(self) -> None:
        """Let go of the file, if there is one, and wait for that."""


class MemoryOutbox:
    """Forgets with the process."""

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Return nothing: there was nothing before."""
        return [], []

    async def claim(self, user: str) -> None:
        """The chat itself knows its user."""

    def disclaim(self, why: Exception) -> None:
        """The chat itself holds the drafts."""

    async def add(self, draft: Draft) -> None:
        """The chat itself holds the draft."""

    async def remove(self, refs: Sequence[str]) -> None:
        """The chat itself forgets the drafts."""

    async def hand(self, ids: Sequence[str]) -> None:
        """The chat itself remembers the ids."""

    def begin_to_close(self) -> None:
        """There is nothing to let go of."""

    async def close(self) -> None:
        """There is nothing to let go of."""


@dataclass(slots=True, eq=False)
class _Change:
    """A change that waits to be made, and the problem if it could not be."""

    make: Callable[[sqlite3.Connection], None]
    problem: BaseException | None = None


class FileOutbox:
    """Keeps everything in one SQLite file, synced to disk, on a thread of its own.

    The file belongs to one user at one server. Another user's drafts would be sent in the wrong
    name, and another server's to the wrong place. Nobody else on this machine can read it.

    Without a `user` it is not known yet whose it is to be. Then drafts wait for the first session,
    and are in the file from then on.
    """

    def __init__(self, path: Path, user: str | None, server: str) -> None:
        self._path = path.absolute()  # also for a name like ":memory:", which is a file here
        self._user = user
        self._server = server
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[_Change] = deque()
        self._closing: asyncio.Future[None] | None = None
        self._is_claimed = asyncio.Event()
        self._unclaimed: Exception | None = None
        if user is not None:
            self._is_claimed.set()

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Open or make the file. Raises: OutboxInUse, ForeignOutbox, ClientError."""
        try:
            return await self._run(self._open)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OutboxInUse(f"another process uses the outbox {self._path}") from None
            raise ClientError(
                f"cannot use the outbox {self._path}: {error}; give a file in a directory that you "
                "can write to"
            ) from error
        except sqlite3.Error as error:
            raise ClientError(
                f"cannot use the outbox {self._path}: {error}; give the name of another file"
            ) from error
        except OSError as error:
            where = f" at {error.filename}" if error.filename else ""
            raise ClientError(
                f"cannot use the outbox {self._path}: {error.strerror or error}{where}; give a "
                "file in a directory that you can write to (for landline chat: XDG_STATE_HOME)"
            ) from error

    async def claim(self, user: str) -> None:
        """Make it this user's, unless it has one. Raises: ForeignOutbox, ClientError."""
        if self._user is None and self._closing is None:
            try:
                await self._run(self._claim, user)
            except sqlite3.Error as error:
                raise ClientError(f"cannot write the outbox {self._path}: {error}") from error
            self._user = user
            self._is_claimed.set()

    def disclaim(self, why: Exception) -> None:
        """Keep no draft that waits for the first session."""
        if self._user is None:
            self._unclaimed = self._unclaimed or why
            self._is_claimed.set()

    async def add(self, draft: Draft) -> None:
        """Write the draft and sync. Raises: ClientError."""
        await self._is_claimed.wait()
        if self._user is None:
            raise ClientError(
                f"not kept: no session has said whose outbox {self._path} is: {self._unclaimed}"
            ) from self._unclaimed
        if self._closing is not None:
            raise ClientError(f"the outbox {self._path} is closed")
        await self._write(partial(_add, draft))

    async def remove(self, refs: Sequence[str]) -> None:
        """Delete the drafts."""
        await self._write(partial(_remove, refs))

    async def hand(self, ids: Sequence[str]) -> None:
        """Write the ids and sync; forget the oldest."""
        await self._write(partial(_hand, ids))

    def begin_to_close(self) -> None:
        """Begin to close the file, which unlocks it, after everything that was begun."""
        if self._closing is None:
            self._closing = self._begin(self._close)
            self._thread.shutdown(wait=False)

    async def close(self) -> None:
        """Close the file, which unlocks it. Closing it again does nothing."""
        self.begin_to_close()
        assert self._closing is not None
        await asyncio.shield(self._closing)

    # On the thread ---------------------------------------------------------------------------

    def _open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        # SQLite writes to the file behind a symbolic link: that one must be closed to others.
        self._path = resolved(self._path)
        if self._path.exists():
            look(self._path)  # before anything about it is changed
        _make_directories(self._path.parent)
        _make_for_its_owner(self._path)
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0
        )
        self._connection = connection
        try:
            # One process at a time: two that send the same drafts would do no harm, two that
            # hand out the same messages would.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} COMMIT;")
            if self._user is None:
                self._check_server(connection)
            else:
                self._claim(self._user)
            _drop_empty_details(connection)
            drafts = self._drafts(connection)
            handed = connection.execute("SELECT id FROM handed ORDER BY place").fetchall()
        except BaseException:
            self._close()
            raise
        return drafts, [row[0] for row in handed]

    def _drafts(self, connection: sqlite3.Connection) -> list[Draft]:
        """Return what is kept, in order. Raises: ClientError."""
        fields: dict[str, str] = {}
        if _has_details(connection):
            fields.update(connection.execute("SELECT ref, fields FROM details"))
        rows = connection.execute("SELECT ref, recipient, content FROM outbox ORDER BY place")
        try:
            return [_draft(ref, to, content, fields.get(ref)) for ref, to, content in rows]
        except ValueError:
            # What a later version has kept is not sent without what belongs to it.
            raise ClientError(
                f"cannot use the outbox {self._path}: it keeps a message, or a request, that this "
                "version cannot read; use the version that kept it, or give the name of another "
                "file"
            ) from None

    def _claim(self, asked: str) -> None:
        """Take a file without an owner: a new one, or one of a version that did not note it.

        Raises: ForeignOutbox.
        """
        assert self._connection is not None
        self._connection.execute(
            "INSERT INTO owner VALUES (1, ?, ?) ON CONFLICT (only) DO NOTHING",
            (asked, self._server),
        )
        user, server = self._connection.execute("SELECT user, server FROM owner").fetchone()
        if (user, server) != (asked, self._server):
            raise ForeignOutbox(self._path, user=user, server=server, asked=(asked, self._server))

    def _check_server(self, connection: sqlite3.Connection) -> None:
        """Raises: ForeignOutbox, if it is known already that the file belongs elsewhere."""
        for user, server in connection.execute("SELECT user, server FROM owner"):
            if server != self._server:
                raise ForeignOutbox(
                    self._path, user=user, server=server, asked=(user, self._server)
                )

    def _apply_waiting(self) -> None:
        """Make all changes that wait in one transaction: only the sync at its end is slow."""
        changes = []
        while self._waiting:
            changes.append(self._waiting.popleft())
        try:
            self._apply(changes)
        except BaseException as error:  # noqa: BLE001 - raised where the change is awaited
            if len(changes) == 1:
                changes[0].problem = error
                return
            for change in changes:  # one that fails does not stop the others
                try:
                    self._apply([change])
                except BaseException as its_own:  # noqa: BLE001 - as above
                    change.problem = its_own

    def _apply(self, changes: Sequence["_Change"]) -> None:
        if not changes:
            return  # an earlier turn has made them
        assert self._connection is not None
        self._connection.execute("BEGIN")
        try:
            for change in changes:
                change.make(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has ended it itself where the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _write(self, make: Callable[[sqlite3.Connection], None]) -> None:
        if self._closing is not None:
            return  # the server repeats it later, and its id is known then
        change = _Change(make)
        self._waiting.append(change)
        # Calls run in order, so this one makes the change at the latest.
        await self._run(self._apply_waiting)
        if isinstance(change.problem, sqlite3.Error):
            problem = change.problem
            raise ClientError(f"cannot write the outbox {self._path}: {problem}") from problem
        if change.problem is not None:
            raise change.problem

    async def _run(self, call: Callable[[Unpack[A]], R], *args: *A) -> R:
        # Shielded: it is done even if the caller is cancelled.
        return await asyncio.shield(self._begin(call, *args))

    def _begin(self, call: Callable[[Unpack[A]], R], *args: *A) -> asyncio.Future[R]:
        return asyncio.get_running_loop().run_in_executor(self._thread, call, *args)


def _add(draft: Draft, connection: sqlite3.Connection) -> None:
    row = (draft.ref, draft.to, draft.content)
    connection.execute("INSERT INTO outbox (ref, recipient, content) VALUES (?, ?, ?)", row)
    if (fields := _details(draft)) is not None:
        connection.execute(DETAILS)
        connection.execute("INSERT INTO details (ref, fields) VALUES (?, ?)", (draft.ref, fields))


def _remove(refs: Sequence[str], connection: sqlite3.Connection) -> None:
    rows = [(ref,) for ref in refs]
    connection.executemany("DELETE FROM outbox WHERE ref = ?", rows)
    if _has_details(connection):
        connection.executemany("DELETE FROM details WHERE ref = ?", rows)
        _drop_empty_details(connection)


def _hand(ids: Sequence[str], connection: sqlite3.Connection) -> None:
    added = "INSERT INTO handed (id) VALUES (?) ON CONFLICT (id) DO NOTHING"
    connection.executemany(added, [(id,) for id in ids])
    old = "DELETE FROM handed WHERE place <= (SELECT max(place) FROM handed) - ?"
    connection.execute(old, (HANDED_IDS,))


def _has_details(connection: sqlite3.Connection) -> bool:
    asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'details'"
    return connection.execute(asked).fetchone() is not None


def _drop_empty_details(connection: sqlite3.Connection) -> None:
    if _has_details(connection) and not connection.execute("SELECT 1 FROM details").fetchone():
        connection.execute("DROP TABLE details")


def _details(draft: Draft) -> str | None:
    """Return what a draft has beside its text, if there is anything."""
    if draft.data is None and draft.change is None:
        return None
    return orjson.dumps({"data": draft.data, "change": draft.change}).decode()


def _draft(ref: str, to: str, content: str, fields: str | None) -> Draft:
    """Return a draft that was kept. Raises: ValueError."""
    given = {} if fields is None else orjson.loads(fields)
    if not _is_known(given):
        raise ValueError("there is something that this version does not know")
    return Draft(ref, to, content, given.get("data"), given.get("change"))


def _is_known(given: object) -> bool:
    match given:
        case {**fields}:
            data, change = fields.pop("data", None), fields.pop("change", None)
            is_request = isinstance(change, dict) and isinstance(change.get("type"), str)
            is_sound = isinstance(data, dict | None) and (change is None or is_request)
            return is_sound and all(value is None for value in fields.values())
    return False


def _make_directories(directory: Path) -> None:
    """Make a directory and those above it. New ones are for their owner alone."""
    if directory.is_dir():
        return
    _make_directories(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)  # the umask may have taken something away


def _make_for_its_owner(path: Path) -> None:
    """Make the file, or take it away from everybody but its owner.

    A file that exists is not opened here, see `close_to_others`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ALONE)
    except FileExistsError:
        close_to_others(path)
    else:
        try:
            os.fchmod(descriptor, _OWNER_ALONE)  # the umask may have taken something away
        finally:
            os.close(descriptor)


def close_to_others(path: Path) -> None:
    """Take a file, and those that SQLite keeps beside it, away from everybody but its owner.

    It is not opened: closing it would give up the lock that another chat of this process has on it
    (POSIX locks belong to process and file). Raises: OSError.
    """
    for file in (path, *(path.with_name(path.name + ending) for ending in _COMPANIONS)):
        if file.is_file() and file.stat().st_mode & 0o077:
            file.chmod(_OWNER_ALONE)


class Handed:
    """The last ids handed out, in memory."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = OrderedDict.fromkeys(ids)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        """Remember an id, and forget the oldest."""
        self._ids[id] = None
        if len(self._ids) > HANDED_IDS:
            self._ids.popitem(last=False)

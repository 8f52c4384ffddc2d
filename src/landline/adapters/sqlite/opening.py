"""How the file `landline.db` is found, checked, locked, and opened: by its server, by an audit."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from landline.adapters.sqlite.upgrade import upgrade
from landline.adapters.statements import statement
from landline.errors import UnusableDataDirectory

FILE_SCHEMA_VERSION = 2
APPLICATION_ID = 0x4C414E44  # "LAND", in the file's header: this is no stranger's database
FILE_NAME = "landline.db"
LOCK_NAME = "lock"

_SCHEMA = (
    statement("sqlite", "schema")
    + statement("sqlite", "conversations")
    + statement("sqlite", "revocations")
)
_COUNT_TABLES = statement("sqlite", "count_tables")
_HEADER = b"SQLite format 3\x00"
# A check of the whole file would delay the start of a large one for minutes. What one second can
# reach is checked.
_CHECK_SECONDS = 1.0
# A part of that second has to be ours: the machine may stand still. A slow disk has its end, too.
_CHECK_CPU_SECONDS = 0.25
_LONGEST_CHECK_SECONDS = 5.0
# How long to wait for a lock that somebody else holds, before that is called trouble. Another
# program's short transaction is not.
BUSY_SECONDS = 0.25
# The write-ahead log is cut back to this after a burst.
_WAL_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024

# With less room than this, what cannot be read or written is taken for the doing of a full disk:
# SQLite has several errors for that, and a quota looks like a broken disk.
_FULL_BYTES = 128 * 1024


class DataDirectoryInUse(UnusableDataDirectory):
    """Another program has the file locked: nothing is wrong with it."""


def wal_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def shm_of(path: Path) -> Path:
    """Return where SQLite keeps the index of the write-ahead log of a database."""
    return path.with_name(f"{path.name}-shm")


def is_locked(error: sqlite3.Error) -> bool:
    """Say whether it is only that somebody else holds a lock."""
    return _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def connect(path: Path, mode: str, patience_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the file, `mode` being ro, rw or rwc. Raises: sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=patience_seconds,
    )


def open_writer(path: Path, mode: str) -> sqlite3.Connection:
    """Open for writing, so that whatever stands in the write-ahead log has been written again and
    synced before anything is built on it. Raises: UnusableDataDirectory.
    """
    with explained(path, "cannot be opened"):
        connection = connect(path, mode, 0.0 if mode == "rw" else BUSY_SECONDS)
    try:
        with explained(path, "cannot be used"):
            _prepare(connection, path)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1_000:.0f}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _pragma(connection, "journal_mode", "WAL", expected="wal")
    _pragma(connection, "synchronous", "FULL", expected=2)
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute("PRAGMA cache_size = -16000")  # KiB
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {FILE_SCHEMA_VERSION}; COMMIT;"
        )
    else:
        upgrade(connection)
        # The probe: a page is really written, and synced below.
        connection.execute(f"PRAGMA user_version = {FILE_SCHEMA_VERSION}")
    # Without waiting: somebody may read from the write-ahead log for hours.
    connection.execute("PRAGMA busy_timeout = 0")
    is_read = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if is_read:
        connection.execute("BEGIN IMMEDIATE")  # so that nobody changes it meanwhile
        _write_again(wal_of(path))
        connection.execute("ROLLBACK")
    # The names of the files must survive a power loss as well.
    _sync_directory(path.parent)


def _write_again(path: Path) -> None:
    """Write every byte of a file in its place once more, and sync: for programs that read it
    meanwhile nothing changes, and pages that the kernel wrongly takes for written are written.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        offset = 0
        while data := os.pread(descriptor, _CHUNK_BYTES, offset):
            offset += os.pwrite(descriptor, data, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pragma(connection: sqlite3.Connection, name: str, value: str, *, expected: object) -> None:
    connection.execute(f"PRAGMA {name} = {value}")
    actual = connection.execute(f"PRAGMA {name}").fetchone()[0]
    if actual != expected:
        raise sqlite3.OperationalError(
            f"PRAGMA {name} is {actual!r}, not {expected!r}:"
            " this file system cannot keep the promise"
        )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_directory(directory: Path) -> int:
    """Make the directory and lock it for this process; the lock goes with the process."""
    try:
        if not directory.exists():
            directory.mkdir(0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)  # whatever the umask
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if _is_full(directory, error):
            raise _full(directory, error) from error
        raise UnusableDataDirectory(
            f"--data-dir {directory}: cannot be written ({error.strerror});"
            " choose a directory that this user may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise UnusableDataDirectory(
            f"--data-dir {directory}: in use by another process ({owner or 'unknown'});"
            " stop that one or choose another directory"
        ) from None
    try:
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the note is a courtesy, the lock is what counts
    return descriptor


def process_of(directory: Path) -> int | None:
    """Return the id of the process that has locked the directory, None where nobody has."""
    pid = None
    try:
        with (directory / LOCK_NAME).open("rb") as file:
            pid = int(file.read(32).decode("ascii").removeprefix("pid "))
            with suppress(PermissionError):  # somebody else's, so it runs
                os.kill(pid, 0)
            # Only now: while nobody holds it, it is free for a server that starts just then.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return pid
    except (OSError, ValueError, OverflowError):
        pass
    return None


def check_file(path: Path) -> None:
    """Refuse a file that is not ours, newer, or damaged, before anything opens it for writing."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(path, f"cannot be read ({error.strerror})") from error
    if not header:
        # SQLite would remove the log, and begin with nothing.
        if wal_of(path).exists() and wal_of(path).stat().st_size > 0:
            raise refused(path, f"is empty, though {wal_of(path).name} is not: it was emptied")
        return
    version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    if len(header) < 100 or not header.startswith(_HEADER):
        raise refused(path, "is damaged or not a database")
    if application not in (0, APPLICATION_ID):
        raise refused(path, "belongs to another program")
    if version > FILE_SCHEMA_VERSION:
        raise refused(
            path,
            f"was written by a newer Landline (schema {version}, this one: {FILE_SCHEMA_VERSION})",
        )
    with explained(path, "is damaged"), closing(connect(path, "ro")) as connection:
        problem = _check_pages(connection)
    if problem is not None:
        raise refused(path, f"is damaged ({problem})")


def _check_pages(connection: sqlite3.Connection) -> str | None:
    tables = connection.execute(_COUNT_TABLES).fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != APPLICATION_ID:
        return "its tables are not Landline's"
    began, began_cpu = time.monotonic(), time.thread_time()

    def is_over() -> bool:
        seconds = time.monotonic() - began
        has_worked = time.thread_time() - began_cpu > _CHECK_CPU_SECONDS
        return seconds > (_CHECK_SECONDS if has_worked else _LONGEST_CHECK_SECONDS)

    connection.set_progress_handler(is_over, 10_000)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None  # as far as the time allowed, nothing was found
        raise
    return None if verdict == "ok" else " ".join(str(verdict).split())


def refused(path: Path, why: str, remedy: str = "") -> UnusableDataDirectory:
    """Return the sentence: what is wrong with the file, and what to do."""
    usual = "restore a backup, use a matching version, or choose another directory"
    return UnusableDataDirectory(f"--data-dir {path.parent}: {path.name} {why}; {remedy or usual}")


def _full(directory: Path, error: Exception) -> UnusableDataDirectory:
    why = error.strerror if isinstance(error, OSError) else error
    return UnusableDataDirectory(
        f"--data-dir {directory}: the disk is full ({why}); make room on it,"
        " or choose another directory"
    )


def _is_full(directory: Path, error: Exception) -> bool:
    """Say whether the disk is full, or the user's share of it."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    code = _code(error) if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_ERROR
    if code != sqlite3.SQLITE_IOERR:
        return code == sqlite3.SQLITE_FULL
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _FULL_BYTES


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn errors of the block into sentences.

    Raises: UnusableDataDirectory, DataDirectoryInUse.
    """
    try:
        yield
    except sqlite3.Error as error:
        if is_locked(error):
            raise DataDirectoryInUse(
                f"--data-dir {path.parent}: {path.name} is locked by another program; end that one"
                " (a backup, a database browser, an open transaction), then start again"
            ) from error
        if _is_full(path.parent, error):
            raise _full(path.parent, error) from error
        if _code(error) == sqlite3.SQLITE_IOERR:  # of the disk, which says nothing of the file
            what = "cannot be read or written"
        raise refused(path, f"{what} ({error})") from error
    except OSError as error:
        if _is_full(path.parent, error):
            raise _full(path.parent, error) from error
        raise refused(path, f"{what} ({error.strerror})") from error

"""One SQLite file: opened with care, written by one thread in group commits, read by another.

Durability: `journal_mode=WAL` and `synchronous=FULL`, both asserted, so a commit returns after the
write-ahead log was fsynced. Every job that waits when the writer thread comes round shares one
transaction and one fsync.

Trouble with the disk: the transaction is rolled back, the connection is dropped, never used
again, and every job fails at once, until a *new* connection has copied the write-ahead log into
the database file, synced both, and written a probe. The copy matters: after a failed fsync the
kernel may call pages clean that never reached the disk, so a commit that was only in the
write-ahead log is written a second time, to another place, before anything is built on it.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from landline.errors import StorageRefused

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C414E44  # "LAND", in the file's header: this is no stranger's database
FILE_NAME = "landline.db"

_HEADER = b"SQLite format 3\x00"
_RECOVER_SECONDS = 1.0
# A check of the whole file would delay the start of a large one for minutes. What one second can
# reach is checked.
_CHECK_SECONDS = 1.0
# Errors of a job alone; every other error of SQLite is trouble with the file.
_JOB_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
_JOBS_PER_COMMIT = 64
# The write-ahead log is cut back to this after a burst.
_WAL_BYTES = 64 * 1024 * 1024


class WriteFailed(Exception):
    """A job was not carried out. `certain`: it is not in the file and never will be.

    `is_refusal`: not for trouble with the file, but for what the job itself wanted to write.
    """

    def __init__(self, certain: bool, reason: str, *, is_refusal: bool = False) -> None:
        super().__init__(reason)
        self.certain = certain
        self.reason = reason
        self.is_refusal = is_refusal


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    done: Callable[[Any], None]  # gets the result of the work, or WriteFailed; on the loop's thread


class Database:
    """The file `landline.db` in a data directory that this process alone uses."""

    def __init__(self, directory: Path, on_trouble: Callable[[str | None], None]) -> None:
        """Open or create the file. `on_trouble` hears, on the loop's thread, why writes fail,
        and None when they work again.

        Raises: StorageRefused. An existing file is not changed then.
        """
        self._directory = directory
        self._path = directory / FILE_NAME
        self._on_trouble = on_trouble
        self._recovery_listeners: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: str | None = None
        self._lock_file = _lock(directory)
        try:
            check_file(self._path)
            self._writer = self._open_writer()
        except BaseException:
            os.close(self._lock_file)
            raise
        self._reader: sqlite3.Connection | None = None
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="sqlite-reader")
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def health(self) -> str | None:
        """Return None when writes work, otherwise the reason in words."""
        return self._failure

    def on_recovery(self, listen: Callable[[], None]) -> None:
        """Have `listen` called on the loop's thread when writes work again: a commit that was
        reported as failed may be in the file.
        """
        self._recovery_listeners.append(listen)

    def submit(self, work: Work[T], done: Callable[[T | WriteFailed], None]) -> None:
        """Have `work` done in the next commit; `done` is called on the loop's thread after it."""
        self._jobs.put(_Job(work, done))

    async def write(self, work: Work[T]) -> T:
        """Have `work` done in the next commit and return its result. Raises: WriteFailed."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: T | WriteFailed) -> None:
            if future.cancelled():
                return
            if isinstance(result, WriteFailed):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.submit(work, done)
        return await future

    async def read(self, work: Work[T]) -> T:
        """Return the result of `work` on a read-only connection. Raises: sqlite3.Error."""
        return await self._loop.run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        """Carry out every job that was submitted, then close the file and unlock the directory."""
        # The reader first: the last one to close moves the write-ahead log into the file, and
        # only the writer can.
        await self._loop.run_in_executor(self._readers, self._close_reader)
        self._jobs.put(None)
        await self._loop.run_in_executor(self._readers, self._thread.join)
        self._readers.shutdown()
        os.close(self._lock_file)

    # The writer thread -----------------------------------------------------------------------

    def _run(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._next_jobs()
            if self._failure is None:
                results = self._commit(jobs)
            else:
                results = [WriteFailed(True, self._failure)] * len(jobs)
            if jobs:
                self._on_loop(_settle, jobs, results)
            if self._failure is not None and is_open:
                self._recover()
        if self._failure is None:
            with suppress(sqlite3.Error):
                self._writer.close()

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take what else is there. False: the last ones."""
        jobs: list[_Job] = []
        try:
            job = self._jobs.get(timeout=_RECOVER_SECONDS if self._failure else None)
            while job is not None:
                jobs.append(job)
                if len(jobs) == _JOBS_PER_COMMIT:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        results: list[Any] = []
        if not jobs:
            return results
        is_committing = False
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            results += [self._step(job.work) for job in jobs]
            is_committing = True
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            # A commit that failed may still be found in the file by whoever opens it next.
            self._fail(error)
            return [WriteFailed(not is_committing, str(self._failure))] * len(jobs)
        return results

    def _step(self, work: Work[Any]) -> Any:
        """Do one job so that its own failure leaves the others of the commit alone."""
        self._writer.execute("SAVEPOINT job")
        try:
            result = work(self._writer)
        except Exception as error:  # the job's own defect must not end the thread
            if isinstance(error, sqlite3.Error) and not isinstance(error, _JOB_ERRORS):
                raise
            self._writer.execute("ROLLBACK TO job")
            result = WriteFailed(
                True, f"the database refuses it ({type(error).__name__})", is_refusal=True
            )
        self._writer.execute("RELEASE job")
        return result

    def _fail(self, error: sqlite3.Error) -> None:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        self._failure = f"cannot write {self._path}: {error} ({name})"
        with suppress(sqlite3.Error):
            self._writer.rollback()
        with suppress(sqlite3.Error):
            self._writer.close()
        self._on_loop(self._on_trouble, self._failure)

    def _recover(self) -> None:
        try:
            self._writer = self._open_writer()
        except (sqlite3.Error, StorageRefused, OSError):
            return
        self._failure = None
        for listen in self._recovery_listeners:
            self._on_loop(listen)
        self._on_loop(self._on_trouble, None)

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)

    # Opening ---------------------------------------------------------------------------------

    def _open_writer(self) -> sqlite3.Connection:
        """Open for writing; what stands in the write-ahead log is moved to the file and synced."""
        try:
            connection = connect(self._path, "rwc")
        except sqlite3.Error as error:
            raise refused(self._path, f"cannot be opened: {error}") from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise refused(self._path, f"cannot be used: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _pragma(connection, "journal_mode", "WAL", expected="wal")
        _pragma(connection, "synchronous", "FULL", expected=2)
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.execute("PRAGMA cache_size = -16000")  # KiB
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            script = files("landline.adapters.sqlite").joinpath("schema.sql").read_text()
            connection.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        else:
            # The probe: a page is really written, synced, and moved to the file below.
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise sqlite3.OperationalError("the write-ahead log is still being read")
        # The names of the files must survive a power loss as well.
        _sync_directory(self._directory)

    # The reader thread -----------------------------------------------------------------------

    def _read(self, work: Work[T]) -> T:
        if self._reader is None:
            self._reader = connect(self._path, "ro")
        try:
            return work(self._reader)
        except sqlite3.Error:
            self._close_reader()  # whatever it was, the next one starts afresh
            raise

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(sqlite3.Error):
                reader.close()


def _settle(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        job.done(result)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file, `mode` being ro or rwc. Raises: sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
    )


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


def _lock(directory: Path) -> int:
    """Make the directory and lock it for this process; the lock goes with the process."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageRefused(
            f"--data-dir {directory}: cannot be written ({error.strerror});"
            " choose a directory that this user may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StorageRefused(
            f"--data-dir {directory}: in use by another process ({owner or 'unknown'});"
            " stop that one or choose another directory"
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the note is a courtesy, the lock is what counts
    return descriptor


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
        return
    version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    if len(header) < 100 or not header.startswith(_HEADER):
        raise refused(path, "is damaged or not a database")
    if application not in (0, APPLICATION_ID):
        raise refused(path, "belongs to another program")
    if version > SCHEMA_VERSION:
        raise refused(
            path, f"was written by a newer Landline (schema {version}, this one: {SCHEMA_VERSION})"
        )
    try:
        with closing(connect(path, "ro")) as connection:
            problem = _check_pages(connection)
    except sqlite3.Error as error:
        raise refused(path, f"is damaged ({error})") from error
    if problem is not None:
        raise refused(path, f"is damaged ({problem})")


def _check_pages(connection: sqlite3.Connection) -> str | None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != APPLICATION_ID:
        return "its tables are not Landline's"
    deadline = time.monotonic() + _CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None  # as far as the time allowed, nothing was found
        raise
    return None if verdict == "ok" else " ".join(str(verdict).split())


def refused(path: Path, why: str) -> StorageRefused:
    """Return the sentence: what is wrong with the file, and what to do."""
    return StorageRefused(
        f"--data-dir {path.parent}: {path.name} {why};"
        " restore a backup, use a matching version, or choose another directory"
    )

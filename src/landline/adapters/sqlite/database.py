"""One SQLite file: opened with care, written by one thread in group commits, read by two others.

Durability: `journal_mode=WAL` and `synchronous=FULL`, both asserted, so a commit returns after the
write-ahead log was fsynced. Every job that waits when the writer thread comes round shares one
transaction and one fsync.

Trouble of three kinds. Every job fails at once, until it is over:

- The disk. The transaction is rolled back, the connection is dropped and never used again, until a
  *new* one has written a probe, copied the write-ahead log into the database file, and synced both.
  The copy matters: after a failed fsync the kernel may call pages clean that never reached the
  disk. So a commit that was only in the write-ahead log is written a second time before anything is
  built on it. While another program reads from the log it cannot be emptied; then its bytes are
  written again in their places. Nobody has to leave for that.
- Another program holds the lock for writing. The connection stays; the lock is tried again and
  again.
- The files are not where they were. The connection stays: what was accepted is in the files that
  it has open. It is used again when the same files are back. It is never closed meanwhile, because
  SQLite removes the write-ahead log by its name, and that may be somebody else's now. The same when
  somebody else has emptied, cut or overwritten a file in its place; then for good.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from landline.adapters.sqlite.opened_files import OpenedFiles, make_private
from landline.adapters.sqlite.opening import (
    BUSY_SECONDS,
    FILE_NAME,
    DataDirectoryInUse,
    check_file,
    explained,
    is_locked,
    lock_directory,
    open_writer,
)
from landline.adapters.sqlite.reader import Reader
from landline.backoff import Backoff
from landline.errors import UnusableDataDirectory

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# How long a start waits for somebody else's lock.
_START_SECONDS = 15.0
# How often a disk that failed is tried, and a lock that somebody holds.
_RECOVER_SECONDS = 1.0
_LOCKED_SECONDS = 0.1
# How often a thread without jobs looks whether the files are where they were.
_LOOK_SECONDS = 0.5
# Errors of a job alone; every other error of SQLite is trouble with the file.
_JOB_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
_JOBS_PER_COMMIT = 64


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

    def __init__(
        self,
        directory: Path,
        on_trouble: Callable[[str | None], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Open or create the file, which may wait for a lock. `on_trouble` hears, on the loop's
        thread, why writes fail, and None when they work again. `loop`: the running one, unless
        this is called in another thread.

        Raises: UnusableDataDirectory. An existing file is not changed then.
        """
        self._path = directory / FILE_NAME
        self._place = OpenedFiles(self._path)
        self._on_trouble = on_trouble
        self._recovery_listeners: list[Callable[[], None]] = []
        self._loop = loop or asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: str | None = None
        self._recovery_due = 0.0
        self._given_up: list[sqlite3.Connection] = []
        self._lock_file = lock_directory(directory)
        # What others can read although they should not, and we could not change.
        self.warning: str | None = None
        self._writer: sqlite3.Connection | None
        try:
            self._writer = self._open_at_start()
        except BaseException:
            os.close(self._lock_file)
            raise
        self._reader = Reader(self._path, self._loop, "sqlite-reader")
        self._answerer = Reader(self._path, self._loop, "sqlite-answerer")
        self._ended = threading.Event()
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
        return await self._reader.read(work)

    async def answer(self, work: Work[T]) -> T:
        """As `read`, for what people look through. They wait for each other, and nobody waits for
        them. How many may wait, their callers say.
        """
        return await self._answerer.read(work)

    async def close(self) -> None:
        """Carry out every job that was submitted, then close the file and unlock the directory."""
        # The readers first: the last one to close moves the write-ahead log into the file, and
        # only the writer can.
        await asyncio.gather(self._reader.close(), self._answerer.close())
        self._jobs.put(None)
        await asyncio.to_thread(self._ended.wait)
        if not self._given_up:
            self._place.close()
        os.close(self._lock_file)

    # The writer thread -----------------------------------------------------------------------

    def _run(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._next_jobs()
            self._look()
            if self._failure is None:
                results = self._commit(jobs)
            else:
                results = [WriteFailed(True, self._failure)] * len(jobs)
            if jobs:
                self._on_loop(_settle, jobs, results)
            if self._failure is not None and is_open and time.monotonic() >= self._recovery_due:
                self._recover()
        self._let_go()
        self._ended.set()
        if self._given_up:
            # For as long as the process lives: the end of this thread would close them.
            threading.Event().wait()

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take what else is there. False: the last ones."""
        jobs: list[_Job] = []
        try:
            job = self._jobs.get(timeout=self._patience())
            while job is not None:
                jobs.append(job)
                if len(jobs) == _JOBS_PER_COMMIT:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _patience(self) -> float:
        if self._failure is None:
            return _LOOK_SECONDS
        return max(0.0, self._recovery_due - time.monotonic())

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        if not jobs:
            return []
        assert self._writer is not None  # there is one while nothing has failed
        is_committing = False
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            results = [self._step(self._writer, job.work) for job in jobs]
            is_committing = True
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            # A commit that failed may still be in the file when it is opened next.
            self._fail(error)
            return [WriteFailed(not is_committing, str(self._failure))] * len(jobs)
        self._look()
        if self._failure is not None:  # it is in a file that was taken away meanwhile
            return [WriteFailed(False, self._failure)] * len(jobs)
        return results

    def _step(self, writer: sqlite3.Connection, work: Work[Any]) -> Any:
        """Do one job so that its own failure leaves the others of the commit alone."""
        writer.execute("SAVEPOINT job")
        try:
            result = work(writer)
        except Exception as error:  # the job's own defect must not end the thread
            if isinstance(error, sqlite3.Error) and not isinstance(error, _JOB_ERRORS):
                raise
            writer.execute("ROLLBACK TO job")
            result = WriteFailed(
                True, f"the database refuses it ({type(error).__name__})", is_refusal=True
            )
        writer.execute("RELEASE job")
        return result

    # Trouble, and the way back ------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the files are where they were."""
        if self._failure is None and (problem := self._place.problem()) is not None:
            self._save_log()  # before it is told: the listener may end the process
            self._fails(problem)

    def _fail(self, error: sqlite3.Error) -> None:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if is_locked(error) and self._writer is not None and not self._writer.in_transaction:
            self._fails(
                f"cannot write {self._path}: another program has it locked ({name})",
                again_seconds=_LOCKED_SECONDS,
            )
            return
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.rollback()
        self._let_go()
        self._fails(f"cannot write {self._path}: {error} ({name})")

    def _fails(self, why: str, again_seconds: float = _RECOVER_SECONDS) -> None:
        self._recovery_due = time.monotonic() + again_seconds
        if why != self._failure:
            self._failure = why
            self._on_loop(self._on_trouble, why)

    def _let_go(self) -> None:
        """Close the connection, or keep it from being closed: see on top."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._place.database_problem() is not None:
            self._given_up.append(writer)
            return
        with suppress(sqlite3.Error):
            writer.close()

    def _recover(self) -> None:
        problem = self._place.database_problem() if self._writer is None else self._place.problem()
        if problem is not None:
            self._save_log()  # before it is told: the listener may end the process
            self._fails(problem)
            return
        try:
            if self._writer is None:
                self._writer = self._open()
            else:
                self._try_lock(self._writer)
        except UnusableDataDirectory:
            self._recovery_due = time.monotonic() + _RECOVER_SECONDS
            return
        except sqlite3.Error as error:
            self._fail(error)
            return
        self._failure = None
        for listen in self._recovery_listeners:
            self._on_loop(listen)
        self._on_loop(self._on_trouble, None)

    def _try_lock(self, writer: sqlite3.Connection) -> None:
        """Take the lock for writing and give it back, without waiting: jobs come meanwhile."""
        writer.execute("PRAGMA busy_timeout = 0")
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("ROLLBACK")
        finally:
            writer.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1_000:.0f}")

    def _save_log(self) -> None:
        """When only the write-ahead log was taken away, move what it holds to the database: the
        file that is open is the last place where that is.
        """
        if self._writer is not None and self._place.database_problem() is None:
            with suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _open(self) -> sqlite3.Connection:
        """Open the file that was open before. Raises: UnusableDataDirectory."""
        writer = open_writer(self._path, "rw")
        try:
            if self._place.database_problem() is None:
                with explained(self._path, "cannot be seen"):
                    self._place.note()
                return writer
        except BaseException:
            writer.close()
            raise
        self._given_up.append(writer)
        raise UnusableDataDirectory("the file was replaced while it was opened")

    def _open_at_start(self) -> sqlite3.Connection:
        deadline = time.monotonic() + _START_SECONDS
        backoff = Backoff(last_seconds=0.5)
        while True:
            try:
                check_file(self._path)
                with explained(self._path, "cannot be made readable by its owner alone"):
                    self.warning = make_private(self._path)
                writer = open_writer(self._path, "rwc")
                with explained(self._path, "cannot be seen"):
                    self._place.note()
            except DataDirectoryInUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(backoff.next_seconds())
            else:
                return writer

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        # A loop that is closed has no waiters left.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)


def _settle(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        job.done(result)

"""Whether the files hold what SQLite has written to them, by SQLite's own index of the log.

A file that is emptied, cut short or overwritten in its place keeps its device and inode, and SQLite
goes on with it. But what SQLite itself does to the files shows in the index (`-shm`, laid out in
https://sqlite.org/walformat.html), whichever program does it:

* The write-ahead log is as long as the frames that the index counts, and each bears the log's salt.
  A program that empties the log, after all was copied to the database, sets the count to 0 before.
  One that starts the log again changes the salt.
* Once all was copied, the database is as long as the index says; until then it shrinks only to what
  some commit has made of it (a VACUUM).
* The database changes only when frames are copied to it from the log, and the index counts that.

So foreign readers, writers, checkpoints and backups explain themselves, and nothing else does.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from landline.adapters.sqlite.opening import shm_of, wal_of

_VERSION = 3007000  # of the index, for all SQLite from 3.7 on
# version, unused, changes, is initialized, byte order, page size, frames, pages, sums, salt, sums
_HEADER = struct.Struct("=III??HII8s8s8s")
_COUNT = struct.Struct("=I")
_COPIED_AT, _TRIED_AT, _INDEX_BYTES = 96, 128, 136
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_LOG_HEADER_SALT, _FRAME_SALT = 16, 8  # where it is in these headers
_HEADER_BYTES = 100  # of the database
# How often the files are looked at again when another program was at them meanwhile.
_LOOKS = 3


class _Index(NamedTuple):
    changes: int  # commits, modulo 2**32
    page_bytes: int
    frames: int
    pages: int
    salt: bytes
    copied: int  # of the frames
    tried: int

    @property
    def database_bytes(self) -> int:
        return max(1, self.pages) * self.page_bytes

    @property
    def log_bytes(self) -> int:
        return 0 if self.frames == 0 else self.end_of(self.frames)

    def end_of(self, frames: int) -> int:
        """Return where in the log so many frames end."""
        return _LOG_HEADER_BYTES + frames * (self.page_bytes + _FRAME_HEADER_BYTES)

    @property
    def copies(self) -> tuple[bytes, int] | None:
        """Return what changes whenever the database does; None while that is going on."""
        return (self.salt, self.copied) if self.copied == self.tried else None


class Contents:
    """Looks at the files of one database beside the connection that is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Closing one of these would drop the locks that SQLite has in this process.
        self._database: int | None = None
        self._indexes: list[tuple[int, int, mmap.mmap]] = []  # inode, descriptor, what it holds
        self._log: int | None = None
        self._changes: int | None = None
        self._floor = 0
        self._salt = b""
        self._frames = 0
        self._copies: tuple[bytes, int] | None = None
        self._header = b""
        self._size = self._modified_ns = 0

    def follow(self) -> None:
        """Begin with the files that are there now: a connection was just opened."""
        if self._database is None:
            self._database = os.open(self._path, os.O_RDONLY)
        if self._log is not None:
            os.close(self._log)  # nobody locks this one
        self._log = os.open(wal_of(self._path), os.O_RDONLY)
        self._follow_index()
        self._changes, self._floor, self._copies = None, 0, None
        self._salt, self._frames = b"", 0

    def close(self) -> None:
        """Let go of the files. Every connection has to be closed."""
        for _inode, _descriptor, index in self._indexes:
            index.close()
        indexes = [descriptor for _inode, descriptor, _index in self._indexes]
        for descriptor in (self._database, self._log, *indexes):
            if descriptor is not None:
                os.close(descriptor)
        self._indexes, self._database, self._log = [], None, None

    def damage(self) -> str | None:
        """Say which file does not hold what it should, if so. It takes microseconds."""
        for _ in range(_LOOKS):
            index = self._read_index()
            if index is None or self._database is None or self._log is None:
                return None  # before the first connection, or somebody writes just now
            try:
                why = self._compare(index, os.fstat(self._database), self._log)
            except OSError:
                return None  # a disk that fails: SQLite says so
            # What was compared holds only if nobody wrote meanwhile.
            if self._read_index() == index:
                return why
            self._copies = None
        return None

    def _compare(self, index: _Index, database: os.stat_result, log: int) -> str | None:
        if os.fstat(log).st_size < index.log_bytes:
            return f"{wal_of(self._path)} was cut short by another program"
        is_ours = self._changes is not None and index.changes - self._changes in (0, 1)
        if index.frames > 0 and self._has_hole(index, log):
            return f"{wal_of(self._path)} was cut short by another program"
        self._changes = index.changes
        if index.copied >= index.frames:
            self._floor = index.database_bytes
        else:
            # Of somebody else's commits we have seen the last one only.
            before = self._floor if is_ours else index.page_bytes
            self._floor = min(before, index.database_bytes)
        if database.st_size < self._floor:
            return f"{self._path} was cut short by another program"
        return self._compare_copied(index, database)

    def _has_hole(self, index: _Index, log: int) -> bool:
        """Say whether what was the last frame, or what is before the first, is not there any more.

        A commit that comes just after a cut makes the log longer than before, with a hole in it.
        """
        at = _LOG_HEADER_SALT
        if self._frames > 0 and index.salt == self._salt:
            at = index.end_of(min(self._frames, index.frames) - 1) + _FRAME_SALT
        self._salt, self._frames = index.salt, index.frames
        return os.pread(log, len(index.salt), at) != index.salt

    def _compare_copied(self, index: _Index, now: os.stat_result) -> str | None:
        """Compare with what the database was since somebody last copied to it."""
        assert self._database is not None
        is_same = index.copies is not None and index.copies == self._copies
        if is_same and (now.st_size, now.st_mtime_ns) == (self._size, self._modified_ns):
            return None
        header = os.pread(self._database, _HEADER_BYTES, 0)
        if is_same and (now.st_size, header) != (self._size, self._header):
            what = "cut short" if now.st_size < self._size else "overwritten"
            return f"{self._path} was {what} by another program"
        self._copies, self._header = index.copies, header
        self._size, self._modified_ns = now.st_size, now.st_mtime_ns
        return None

    def _follow_index(self) -> None:
        path = shm_of(self._path)
        inode = path.stat().st_ino
        if self._indexes and self._indexes[-1][0] == inode:
            return
        descriptor = os.open(path, os.O_RDONLY)
        mapped = mmap.mmap(descriptor, _INDEX_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        self._indexes.append((inode, descriptor, mapped))

    def _read_index(self) -> _Index | None:
        if not self._indexes:
            return None
        data = self._indexes[-1][2][:_INDEX_BYTES]
        size = _HEADER.size
        if data[:size] != data[size : 2 * size]:
            return None  # somebody writes it
        version, _, changes, is_there, _, page, frames, pages, _, salt, _ = _HEADER.unpack_from(
            data
        )
        if version != _VERSION or not is_there:
            return None
        (copied,), (tried,) = (_COUNT.unpack_from(data, at) for at in (_COPIED_AT, _TRIED_AT))
        page_bytes = (page & 0xFE00) + ((page & 1) << 16)
        return _Index(changes, page_bytes, frames, pages, salt, copied, tried)

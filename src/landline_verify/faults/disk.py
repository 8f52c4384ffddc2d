"""A disk that lies, below a server: a commit reports failure and is in the file all the same.

The server's SQLite is handed another way to sync and to read, by SQLite's own interface for file
systems (https://www.sqlite.org/vfs.html): no compiler is needed, and no right to mount anything.
As a program it runs `landline` on such a disk: `python -m landline_verify.faults.disk FILE serve`.
While FILE exists the disk is broken; otherwise nothing comes between SQLite and the system.
"""

import ctypes
import runpy
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

_LOOK_SECONDS: Final = 0.02
_ASK_SECONDS: Final = 30.0
_SQLITE_OK: Final = 0
# https://www.sqlite.org/rescode.html
_IOERR_READ: Final = 266
_IOERR_FSYNC: Final = 1034
_NAME: Final = b"landline-disk"
_PROGRAM: Final = (sys.executable, "-m", "landline_verify.faults.disk")

_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_READ = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, of which we change name and opener."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 15),
    )


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`: what can be done with an open file."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 13),
    )


class Disk:
    """The disk of every file that this process opens with SQLite from now on.

    One instance a process, and it stays: SQLite keeps pointers into it. While nothing is wrong,
    SQLite calls its own functions as ever, so that a run with this disk is a run like others.
    """

    def __init__(self) -> None:
        """Take the place of the system's. Raises: AttributeError, OSError where SQLite hides."""
        library = _sqlite()
        library.sqlite3_vfs_find.restype = ctypes.c_void_p
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
        system = library.sqlite3_vfs_find(None)
        if system is None:
            raise OSError("SQLite knows no file system")
        self._lock = threading.Lock()
        self._is_failing = False
        self._methods: dict[int, tuple[_Methods, Any, Any]] = {}  # with their own read and sync
        self._vfs = _Vfs.from_buffer_copy(ctypes.string_at(system, ctypes.sizeof(_Vfs)))
        self._open_really = _OPEN(self._vfs.open)
        self._open, self._read, self._sync = (
            _OPEN(self._open_file), _READ(self._fail_read), _SYNC(self._fail_sync),
        )  # fmt: skip
        self._vfs.name, self._vfs.open = _NAME, ctypes.cast(self._open, ctypes.c_void_p).value
        if library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1) != _SQLITE_OK:
            raise OSError("SQLite takes no other file system")

    def fail(self) -> None:
        """Let the next sync fail; once one has, no page can be read either.

        In that order: the write-ahead log holds the whole commit by then, and a connection that
        cannot read is closed. After the last one, the next to open the file finds the commit.
        """
        with self._lock:
            self._is_failing = True
            for methods, _, _ in self._methods.values():
                methods.sync = ctypes.cast(self._sync, ctypes.c_void_p).value

    def heal(self) -> None:
        """Work again."""
        with self._lock:
            self._is_failing = False
            for methods, read, sync in self._methods.values():
                methods.read, methods.sync = read, sync

    def _open_file(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        # As the pointer it was: behind the name SQLite keeps what a URI asked for.
        code: int = self._open_really(vfs, name, file, flags, out)
        first = ctypes.c_void_p.from_address(file)
        if code == _SQLITE_OK and first.value is not None:
            first.value = ctypes.addressof(self._own(first.value))
        return code

    def _own(self, address: int) -> _Methods:
        """Return our copy of a table of methods."""
        with self._lock:
            if address not in self._methods:
                copy = _Methods.from_buffer_copy(ctypes.string_at(address, ctypes.sizeof(_Methods)))
                self._methods[address] = (copy, copy.read, copy.sync)
                if self._is_failing:
                    copy.sync = ctypes.cast(self._sync, ctypes.c_void_p).value
            return self._methods[address][0]

    def _fail_sync(self, _file: int, _flags: int) -> int:
        with self._lock:
            if self._is_failing:
                for methods, _, _ in self._methods.values():
                    methods.read = ctypes.cast(self._read, ctypes.c_void_p).value
        return _IOERR_FSYNC

    def _fail_read(self, _file: int, _into: int, _size: int, _at: int) -> int:
        return _IOERR_READ


def _sqlite() -> ctypes.CDLL:
    """Return the library that `sqlite3` uses: what it is linked with is found through it."""
    import _sqlite3  # noqa: PLC0415 - some Pythons have it built in

    return ctypes.CDLL(getattr(_sqlite3, "__file__", None))


def _follow(disk: Disk, control: Path) -> None:
    """Do for ever what the file says."""
    is_broken = False
    while True:
        if control.exists() != is_broken:
            is_broken = not is_broken
            (disk.fail if is_broken else disk.heal)()
        time.sleep(_LOOK_SECONDS)


@cache
def obstacle() -> str | None:
    """Return why no disk can lie on this machine, or None. It is tried, in a process of its own."""
    tried = subprocess.run(  # noqa: S603 - our own module
        _PROGRAM,
        capture_output=True, text=True, check=False, timeout=_ASK_SECONDS,
    )  # fmt: skip
    if tried.returncode == 0:
        return None
    said = (tried.stderr.strip() or f"it ended with {tried.returncode}").splitlines()[-1]
    return f"this Python's SQLite lets nobody come between it and its files ({said})"


def _try() -> None:
    """Break a disk and heal it. Raises: whatever keeps it from working."""
    disk = Disk()
    with TemporaryDirectory(prefix="landline-disk-") as directory:
        path = Path(directory) / "a.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            file.execute("CREATE TABLE a (b)")
            disk.fail()
            try:
                file.execute("INSERT INTO a VALUES (1)")
            except sqlite3.OperationalError:
                pass
            else:
                raise OSError("a commit did not fail")
        disk.heal()
        with closing(sqlite3.connect(path)) as file:
            if file.execute("SELECT count(*) FROM a").fetchone() != (1,):
                raise OSError("a commit that failed is not in the file")


def main() -> None:
    """Run `landline` on such a disk; without arguments, find out whether one can be had."""
    if len(sys.argv) == 1:
        _try()
        return
    disk, control = Disk(), Path(sys.argv[1])
    threading.Thread(target=_follow, args=(disk, control), name="disk", daemon=True).start()
    sys.argv[:] = ["landline", *sys.argv[2:]]
    runpy.run_module("landline", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

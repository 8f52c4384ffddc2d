"""Where the files of a database are: still there, and readable by their owner alone."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from landline.adapters.sqlite.contents import Contents
from landline.adapters.sqlite.opening import FILE_NAME, LOCK_NAME, shm_of, wal_of

_OTHERS = 0o077
_OURS = frozenset(
    (FILE_NAME, LOCK_NAME, *(f"{FILE_NAME}-{end}" for end in ("wal", "shm", "journal")))
)

_REMEDY = "stop the server, restore a backup, start it again"


class OpenedFiles:
    """Knows the files by device and inode, as they were when they were opened.

    An open file outlives its name. What is written to one that was removed, moved or replaced is
    lost: the next server that starts opens another file, or none. The same is true of one that was
    emptied or overwritten in its place (see `contents`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lasting: dict[Path, tuple[int, int]] = {}
        self._passing: dict[Path, tuple[int, int]] = {}
        self._contents = Contents(path)
        self._damage: str | None = None

    def note(self) -> None:
        """Remember what is there, just opened. The database itself stays the one it was first."""
        if not self._lasting:
            self._lasting = _identities(
                (self._path.parent, self._path, self._path.with_name(LOCK_NAME))
            )
        self._passing = _identities((wal_of(self._path), shm_of(self._path)))
        self._contents.follow()

    def problem(self) -> str | None:
        """Say what is not where it was, if so. It takes microseconds: asked at each commit."""
        problem = self._damage or _difference(self._lasting) or _difference(self._passing)
        if problem is None and (damage := self._contents.damage()) is not None:
            # For good: that the files look well again does not bring back what was in them.
            problem = self._damage = f"{damage}; {_REMEDY}"
        return problem

    def database_problem(self) -> str | None:
        """The same of the directory and the database alone: SQLite makes the others again. But
        with what is left of damaged files nothing is begun.
        """
        problem = self._damage or _difference(self._lasting)
        if problem is None and self._is_emptied():
            problem = self._damage = f"{self._path} was emptied by another program; {_REMEDY}"
        return problem

    def close(self) -> None:
        """Let go of the files. Every connection has to be closed."""
        self._contents.close()

    def _is_emptied(self) -> bool:
        try:
            return bool(self._lasting) and self._path.stat().st_size == 0
        except OSError:
            return False  # gone, or not to be seen


def make_private(path: Path) -> str | None:
    """Make the database, and have it and what belongs to it readable by the owner alone, whatever
    the umask and the modes that are there. Returns what could not be changed.

    Before SQLite opens it: closing a file that SQLite has open would drop its locks. SQLite gives
    the files that it makes beside it the modes of the database.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        path.chmod(0o600)
    directory = path.parent
    names = {each.name for each in directory.iterdir()}
    paths = [directory / name for name in sorted(names & _OURS)]
    # A directory that holds other things as well is not for us to close.
    if names <= _OURS and not directory.stat().st_mode & stat.S_ISVTX:
        paths.append(directory)
    open_ones = [str(each) for each in paths if not _close_to_others(each)]
    return f"{', '.join(open_ones)} can be read by others" if open_ones else None


def _close_to_others(path: Path) -> bool:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        try:
            path.chmod(mode & ~_OTHERS)
        except OSError:
            return False
    return not path.stat().st_mode & _OTHERS


def _identities(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    return {path: _identity(path) for path in paths}


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _difference(known: dict[Path, tuple[int, int]]) -> str | None:
    for path, identity in known.items():
        try:
            found = _identity(path)
        except (FileNotFoundError, NotADirectoryError):
            return f"{path} is gone: it was removed or moved away"
        except OSError as error:
            return f"{path} cannot be seen any more ({error.strerror})"
        if found != identity:
            return f"{path} was replaced: it is not the file that this server has open"
    return None

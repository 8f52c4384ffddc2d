"""Where the terminal keeps its unsent lines."""

import os
import re
import sqlite3
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from landline.client import ClientError, OutboxInUse
from landline.client.address import read_address

_HOST_CHARACTERS = 80


def default_outbox(url: str, username: str) -> Path:
    """Return the file that keeps this user's unsent lines for this server.

    It is of one user at one address. The name shows user and host to people, and has the rest (the
    scheme, the path) in a hash: it never shows what may be secret.
    """
    server = read_address(url).server
    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(server).netloc)[:_HOST_CHARACTERS]
    digest = blake2b(f"{username}\n{server}".encode(), digest_size=8).hexdigest()
    return _directory() / f"{username}@{host}-{digest}.db"


def take_over(url: str, username: str, outbox: Path) -> None:
    """Rename the file that an earlier version kept for this user, unless there is one of this.

    Raises: OutboxInUse.
    """
    before = outbox.with_name(f"{username}@{re.sub('[:/]', '_', urlsplit(url).netloc)}.db")
    if outbox.exists() or not before.is_file():
        return
    try:
        with closing(sqlite3.connect(before, isolation_level=None, timeout=0)) as connection:
            # Applies what a killed process left in the journal, which has the old name.
            connection.executescript("BEGIN EXCLUSIVE; COMMIT;")
            before.rename(outbox)
    except sqlite3.OperationalError:
        raise OutboxInUse(f"another process uses the outbox {before}") from None
    except sqlite3.Error as error:
        raise ClientError(f"cannot use the outbox {before}: {error}; move it away") from error


def _directory() -> Path:
    # A relative path is invalid there (XDG Base Directory Specification).
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given / "landline"
    with suppress(RuntimeError):
        return Path.home() / ".local" / "state" / "landline"
    raise ClientError("there is no home directory for unsent lines: set XDG_STATE_HOME to one")

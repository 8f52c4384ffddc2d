"""Where the terminal keeps its unsent lines."""

import os
import re
import shlex
import sqlite3
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from landline.client import ClientError, OutboxInUse
from landline.client.address import read_address
from landline.client.looking import Looks, look, resolved
from landline.client.outbox import close_to_others

_HOST_CHARACTERS = 80
_USUAL_PATHS = frozenset({"/ws", "/ws/chat"})


def default_outbox(url: str, username: str, device: str | None = None) -> Path:
    """Return the file that keeps this user's unsent lines for this server.

    It belongs to one user at one address, and to one device: what one has shown is still to be
    shown on another. Its name shows user, host and device to people. The rest of the address is in
    a hash, because it may be secret.
    """
    server = read_address(url).server
    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(server).netloc)[:_HOST_CHARACTERS]
    hashed = f"{username}\n{server}" if device is None else f"{username}\n{server}\n{device}"
    digest = blake2b(hashed.encode(), digest_size=8).hexdigest()
    shown = host if device is None else f"{host}-{device}"
    return _directory() / f"{username}@{shown}-{digest}.db"


def left_without_device(url: str, username: str) -> str | None:
    """Return what to tell a user whose chats without a device have left lines, if they have."""
    outbox = default_outbox(url, username)
    try:
        drafts = look(outbox).drafts if outbox.is_file() else 0
    except (ClientError, sqlite3.Error, OSError):
        return None  # another chat uses it, or the next one that does says what is wrong
    if not drafts:
        return None
    lines = "1 unsent line is" if drafts == 1 else f"{drafts} unsent lines are"
    return f"{lines} kept of a chat without --device; the next chat without it sends what is kept"


def take_over(url: str, username: str, outbox: Path) -> str | None:
    """Rename the file that an earlier version kept for this user, unless this version has one.

    The old name had host and port of the address only. If its lines may be for another address the
    file stays as it is. Returns what to tell the user then. Raises: OutboxInUse, ClientError.
    """
    before = outbox.with_name(f"{username}@{re.sub('[:/]', '_', urlsplit(url).netloc)}.db")
    is_new = False
    try:
        is_new = not outbox.exists()
        if not before.is_file():
            return None
        left = look(before)
        if is_new and _is_this_ones(left, url, username):
            _rename(before, outbox)
            return None
        with suppress(PermissionError):  # it belongs to another account
            close_to_others(resolved(before))  # an earlier version left it open to everybody
    except sqlite3.OperationalError:
        if not (is_new and _is_this_ones(Looks(), url, username)):
            return None  # the chat that uses it sends its lines
        raise OutboxInUse(f"another process uses the outbox {before}") from None
    except sqlite3.Error as error:
        raise ClientError(f"cannot use the outbox {before}: {error}; move it away") from error
    except (ClientError, FileNotFoundError):
        if before.is_file():
            raise
        raise OutboxInUse(f"another process has just taken over the outbox {before}") from None
    except OSError as error:
        raise ClientError(
            f"cannot use the outbox {outbox}: {error.strerror}; set XDG_STATE_HOME to a directory "
            "that you can write to"
        ) from error
    return _left_alone(before, outbox, left.drafts) if left.drafts else None


def _is_this_ones(left: Looks, url: str, username: str) -> bool:
    """Say whether the lines in a file of an earlier version are for this address.

    If the file does not note it, a port decides: one port is one server, with or without TLS, and
    these are its paths. Without a port ws:// and wss:// are different servers. An @ may belong to
    the user or to the host.
    """
    server = read_address(url).server
    if left.owner is not None:
        return left.owner == (username, server)
    parts = urlsplit(url)
    return parts.port is not None and parts.path in _USUAL_PATHS and "@" not in username


def _rename(before: Path, outbox: Path) -> None:
    # Not made if it is gone: an empty file would replace the one that another process renamed.
    address = f"{before.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)) as connection:
        # Applies what a killed process left in the journal, which has the old name.
        connection.executescript("BEGIN EXCLUSIVE; COMMIT;")
        before.rename(outbox)


def _left_alone(before: Path, outbox: Path, drafts: int) -> str:
    lines = "1 unsent line is" if drafts == 1 else f"{drafts} unsent lines are"
    move = shlex.join(["mv", str(before), str(outbox)])
    return (
        f"{lines} in {before} of an earlier version, which did not note the whole address: they "
        "may be for another server and are not sent. If they are for this one, end this chat with "
        f"nothing unsent, and then: {move}. If they are not wanted, delete that file."
    )


def _directory() -> Path:
    # A relative path is invalid there (XDG Base Directory Specification).
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given / "landline"
    with suppress(RuntimeError):
        return Path.home() / ".local" / "state" / "landline"
    raise ClientError("there is no home directory for unsent lines: set XDG_STATE_HOME to one")

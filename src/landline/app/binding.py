"""Sockets of the listeners: bound first of all, so that a port that is taken ends the start."""

import errno
import socket
from dataclasses import dataclass
from typing import Final

from landline.adapters.sqlite.opening import process_of
from landline.config import Settings
from landline.errors import StartupError

# An address that no interface has, or of a kind that the machine lacks.
_NOT_HERE: Final = frozenset(
    {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENODEV, errno.ENXIO}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, and the options that say so."""

    host: str
    port: int
    host_option: str = "--host"
    port_option: str = "--port"


def main_place(settings: Settings) -> Place:
    """Return where clients connect."""
    return Place(settings.host, settings.port)


def admin_place(settings: Settings) -> Place | None:
    """Return where operators look, if that is another listener."""
    if settings.admin_port is None:
        return None
    return Place(settings.admin_host, settings.admin_port, "--admin-host", "--admin-port")


def bind(settings: Settings, place: Place) -> socket.socket:
    """Return a socket that is bound there. Raises: StartupError."""
    try:
        # A name with both kinds of address is listened on by IPv4; an address has its zone.
        found = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(settings, place, error) from error
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise cannot_listen(settings, place, error) from error
    return sock


def cannot_listen(settings: Settings, place: Place, error: OSError | UnicodeError) -> StartupError:
    """Return what an operator is told who wanted to have a server listen there."""
    why = getattr(error, "strerror", None) or str(error)
    host, port = place.host_option, place.port_option
    if isinstance(error, socket.gaierror | UnicodeError) or error.errno in _NOT_HERE:
        remedy = f"give a {host} of this machine, such as 127.0.0.1, or 0.0.0.0 for all it has"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"choose a {port} above 1023, or let this user have it"
    elif settings.kafka is None and (pid := process_of(settings.data_dir)) is not None:
        # It goes on when its terminal is closed, and an operator may not know that.
        remedy = (
            f"the server with this --data-dir ({settings.data_dir}) runs already, as process {pid}:"
            f" use that one, or stop it (kill {pid})"
        )
    else:
        remedy = f"choose another {port}, or stop what uses it"
    return StartupError(
        f"{host} {place.host} {port} {place.port}: cannot listen there ({why}); {remedy}"
    )

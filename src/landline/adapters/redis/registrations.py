"""How the directory lies in Redis.

    landline:user:<user>        hash   <server id>/<incarnation>/<session> -> beat
    landline:server:<server id> string <incarnation>/<beat>

`beat` counts a server's heartbeats. The server's key says that it is alive, and is written with
every beat. A registration is written when it changes, and again when the server's slow walk comes
past it; it holds the beat in which that was. It counts only while the server's own key holds the
same incarnation and a beat that is not a few walks later. So every registration has an expiry of
its own, measured by its server and by no clock. Both keys have a time to live as well, which Redis
keeps, so that what no server writes again goes.

Names are sent as they are: Redis is told how long each key is, and no command here takes a
pattern, so no name can mean anything but itself.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

# Registrations in one command: a millisecond of this loop's time, and less of Redis's.
CHUNK: Final = 200
# Registrations to take out that are remembered while that is not possible. Those beyond it are left
# alone and expire.
_REMEMBERED: Final = 10_000
_USER = b"landline:user:"
_SERVER = b"landline:server:"


class ServerLife(NamedTuple):
    """What a server's own key says: which run of it is alive, and its latest beat."""

    incarnation: str
    beat: int

    def encode(self) -> bytes:
        """Return the value of the server's key."""
        return f"{self.incarnation}/{self.beat}".encode()


class Registration(NamedTuple):
    """A registration as it was read."""

    user: str
    member: bytes
    value: bytes
    server_id: str
    incarnation: str
    beat: int

    @property
    def session(self) -> str:
        """Return the session that it is about."""
        return self.member.decode().rpartition("/")[2]

    @property
    def address(self) -> str:
        """Return the address of the run of a server that made it."""
        return f"{self.server_id}/{self.incarnation}"

    def is_alive(self, life: ServerLife | None, beats_kept: int) -> bool:
        """Say whether it counts, by what is known of its server."""
        return (
            life is not None
            and life.incarnation == self.incarnation
            and life.beat - self.beat <= beats_kept
        )


def user_key(user: str) -> bytes:
    """Return the key of a user's registrations."""
    # A lone surrogate never comes this far; if one did, it would be a name like any other.
    return _USER + user.encode("utf-8", "surrogatepass")


def server_key(server_id: str) -> bytes:
    """Return the key that says whether a server is alive."""
    return _SERVER + server_id.encode()


def member(address: str, session: str) -> bytes:
    """Return the name of a session's registration."""
    return f"{address}/{session}".encode()


def read_life(value: bytes | None) -> ServerLife | None:
    """Return what a server's key says; None when it is absent or nothing of ours."""
    try:
        incarnation, beat = (value or b"").decode().split("/")
        return ServerLife(incarnation, int(beat))
    except ValueError:
        return None


def read_registrations(user: str, reply: Mapping[bytes, bytes]) -> list[Registration]:
    """Return a user's registrations; what is nothing of ours is left out."""
    found = []
    for name, value in reply.items():
        try:
            server_id, incarnation, _session = name.decode().split("/")
            found.append(Registration(user, name, value, server_id, incarnation, int(value)))
        except ValueError:
            continue
    return found


def chunks(items: Collection[T]) -> Iterator[list[T]]:
    """Yield the items, as many at a time as one command takes."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keep what is to be taken out later; of too many the oldest is forgotten."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]

"""A client that sends as fast as its socket takes it: `python -m landline_verify.clients.flooder`.

Its arguments are `KIND URL USER SECONDS FRAMES`. It prints how many frames were taken, again and
again. A token comes in the environment, because everybody can read arguments.
"""

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import orjson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

_FRAME_BYTES: Final = 64 * 1024
_IDS: Final = 256
_BATCH_BYTES: Final = 256 * 1024
_BAD_IN_A_ROW: Final = 19
_CONNECT_SECONDS: Final = 5.0
# A server that lets nobody in for so long is not flooded.
FIRST_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.1
TOKEN_VARIABLE: Final = "LANDLINE_VERIFY_TOKEN"  # noqa: S105 - the name of a variable


def _text(value: object) -> list[Frame]:
    return [Frame(Opcode.TEXT, orjson.dumps(value))]


def _junk(_user: str) -> list[Frame]:
    """Pings as large as a frame may be, with a useless field, once in sight and once hidden."""
    spare = _FRAME_BYTES - len(b'{"type":"ping","x":[],"x":0}')
    hidden = b'{"type":"ping","x":[%s[]],"x":0}' % (b"[]," * (spare // 3 - 1))
    return [*_text({"type": "ping", "x": [0] * (spare // 2)}), Frame(Opcode.TEXT, hidden)]


def _acks(_user: str) -> list[Frame]:
    return _text({"type": "ack", "ids": [str(uuid.uuid4()) for _ in range(_IDS)]})


def _bad(_user: str) -> list[Frame]:
    """Nineteen frames that are no JSON, and a good one, so that the connection stays."""
    return [Frame(Opcode.TEXT, b'{"type":') for _ in range(_BAD_IN_A_ROW)] + _pings(_user)


def _sends(user: str) -> list[Frame]:
    return _text({"type": "send", "to": user, "content": "flood " + uuid.uuid4().hex})


def _pings(_user: str) -> list[Frame]:
    return _text({"type": "ping"})


def _fragments(_user: str) -> list[Frame]:
    """A ping, a byte a fragment."""
    ping = orjson.dumps({"type": "ping"}).ljust(1_024)
    first, *middle, last = (bytes([byte]) for byte in ping)
    return [
        Frame(Opcode.TEXT, first, fin=False),
        *(Frame(Opcode.CONT, each, fin=False) for each in middle),
        Frame(Opcode.CONT, last),
    ]


FLOOD_KINDS: Final[dict[str, Callable[[str], list[Frame]]]] = {
    "junk": _junk, "acks": _acks, "bad": _bad, "sends": _sends, "pings": _pings,
    "fragments": _fragments,
}  # fmt: skip


class Flooder:
    """One client, which connects again when it is thrown out. It repeats the same frames.

    `tell` is called with the number of frames that were taken since the last time.
    """

    def __init__(
        self,
        url: str,
        user: str,
        frames: Sequence[Frame],
        tell: Callable[[int], None],
        *,
        token: str | None = None,
    ) -> None:
        self._address = f"{url}?username={quote(user, safe='')}"
        self._token = token
        self._frames = frames
        self._tell = tell

    def run(self, seconds: float, most: int) -> None:
        """Send until the time is over, which begins with the first connection and lasts for a
        batch at least, or until `most` frames were sent.
        """
        batch, count = self._batch()
        end, left, is_first = time.monotonic() + FIRST_SECONDS, most, True
        while left > 0 and time.monotonic() < end:
            with suppress(OSError), self._connect() as sock:
                if is_first:
                    end, is_first = time.monotonic() + seconds, False
                threading.Thread(target=_drain, args=(sock,), daemon=True).start()
                while True:
                    sock.sendall(batch)
                    left -= count
                    self._tell(count)
                    if left <= 0 or time.monotonic() >= end:
                        break
            time.sleep(_AGAIN_SECONDS)

    def _batch(self) -> tuple[bytes, int]:
        """Return the bytes of whole frames, and how many frames they are."""
        once = b"".join(each.serialize(mask=True) for each in self._frames)
        times = max(1, _BATCH_BYTES // len(once))
        return once * times, times * len(self._frames)

    def _connect(self) -> socket.socket:
        uri = parse_uri(self._address)
        sock = socket.create_connection((uri.host, uri.port), timeout=_CONNECT_SECONDS)
        try:
            _upgrade(sock, ClientProtocol(uri), self._token)
        except BaseException:
            sock.close()
            raise
        return sock


def _upgrade(sock: socket.socket, protocol: ClientProtocol, token: str | None) -> None:
    """Shake hands. Raises: OSError where the server does not."""
    request = protocol.connect()
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    protocol.send_request(request)
    for data in protocol.data_to_send():
        sock.sendall(data)
    while not protocol.events_received():
        if not (data := sock.recv(4_096)):
            raise OSError("the server hung up")
        protocol.receive_data(data)
        if protocol.handshake_exc is not None:
            raise OSError("the server refused") from protocol.handshake_exc


def _drain(sock: socket.socket) -> None:
    """Take what the server says, so that it has no reason to stop reading."""
    with suppress(OSError):
        while sock.recv(_FRAME_BYTES):
            pass


def main(arguments: Sequence[str]) -> None:
    """Flood, and say how much."""
    kind, url, user, seconds, frames = arguments
    sent = 0

    def tell(count: int) -> None:
        nonlocal sent
        sent += count
        sys.stdout.write(f"{sent}\n")
        sys.stdout.flush()

    token = os.environ.get(TOKEN_VARIABLE)
    flooder = Flooder(url, user, FLOOD_KINDS[kind](user), tell, token=token)
    flooder.run(float(seconds), int(frames))


if __name__ == "__main__":
    main(sys.argv[1:])

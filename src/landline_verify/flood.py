"""A client that sends as fast as its socket takes it, from a process of its own.

Off unless asked for, bounded in time and frames, at loopback alone unless that is asked for too.
As a program: `python -m landline_verify.flood KIND URL USER SECONDS FRAMES`. It prints how many
frames were taken, again and again.
"""

import asyncio
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlsplit

import orjson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from landline_verify.clients import Recorder
from landline_verify.events import FaultEvent, Sample

# The load begins before it and goes on after it.
CALM_SECONDS: Final = 3.0
LONGEST_SECONDS: Final = 20.0
MOST_FRAMES: Final = 2_000_000

_FRAME_BYTES: Final = 64 * 1024
_IDS: Final = 256
_BATCH_BYTES: Final = 256 * 1024
_BAD_IN_A_ROW: Final = 19
_CONNECT_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.1
# For the other process to begin and to end.
_GRACE_SECONDS: Final = 10.0


def _text(value: object) -> list[Frame]:
    return [Frame(Opcode.TEXT, orjson.dumps(value))]


def _junk(_user: str) -> list[Frame]:
    """Pings that carry nothing anybody wants, as large as a frame may be, in sight or hidden."""
    spare = _FRAME_BYTES - len(b'{"type":"ping","x":[],"x":0}')
    hidden = b'{"type":"ping","x":[%s[]],"x":0}' % (b"[]," * (spare // 3 - 1))
    return [*_text({"type": "ping", "x": [0] * (spare // 2)}), Frame(Opcode.TEXT, hidden)]


def _acks(_user: str) -> list[Frame]:
    return _text({"type": "ack", "ids": [str(uuid.uuid4()) for _ in range(_IDS)]})


def _bad(_user: str) -> list[Frame]:
    """Nineteen frames that are none, and a good one, so that the connection stays."""
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


def is_loopback(url: str) -> bool:
    """Say whether an address is on this machine. A name that may be elsewhere is not."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


async def flood(kind: str, url: str, user: str, seconds: float, recorder: Recorder) -> None:
    """Flood a server after a moment of calm, and write down from when until when, and how much."""
    await asyncio.sleep(CALM_SECONDS)
    name, seconds = f"flood-{kind}", min(seconds, LONGEST_SECONDS)
    program = [sys.executable, "-m", __name__, kind, url, user, str(seconds), str(MOST_FRAMES)]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    recorder.record(FaultEvent(recorder.now(), name, "start", url))
    assert process.stdout is not None
    count = 0.0
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            async for line in process.stdout:
                count = float(line)
    except TimeoutError:
        pass  # a server that takes nothing for long keeps it
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        recorder.record(Sample(recorder.now(), f"flood:{kind}", count))
        recorder.record(FaultEvent(recorder.now(), name, "stop", url))


# In the other process ----------------------------------------------------------------------------


class _Flood:
    """One client, which comes again when it is thrown out."""

    def __init__(self, kind: str, url: str, user: str, seconds: float, frames: int) -> None:
        self._frames = FLOOD_KINDS[kind](user)
        self._address = f"{url}?username={quote(user, safe='')}"
        self._end = time.monotonic() + seconds
        self._left = frames
        self._sent = 0

    def run(self) -> None:
        """Send until the time is over or all frames are sent."""
        batch, count = self._batch()
        while self._is_on():
            with suppress(OSError), self._connect() as sock:
                reader = threading.Thread(target=_drain, args=(sock,), daemon=True)
                reader.start()
                while self._is_on():
                    sock.sendall(batch)
                    self._left -= count
                    self._tell(count)
            time.sleep(_AGAIN_SECONDS)

    def _tell(self, count: int) -> None:
        self._sent += count
        sys.stdout.write(f"{self._sent}\n")
        sys.stdout.flush()

    def _is_on(self) -> bool:
        return self._left > 0 and time.monotonic() < self._end

    def _batch(self) -> tuple[bytes, int]:
        """Return frames as they go over the line, whole ones, and how many they are."""
        once = b"".join(each.serialize(mask=True) for each in self._frames)
        times = max(1, _BATCH_BYTES // len(once))
        return once * times, times * len(self._frames)

    def _connect(self) -> socket.socket:
        uri = parse_uri(self._address)
        sock = socket.create_connection((uri.host, uri.port), timeout=_CONNECT_SECONDS)
        try:
            _upgrade(sock, ClientProtocol(uri))
        except BaseException:
            sock.close()
            raise
        return sock


def _upgrade(sock: socket.socket, protocol: ClientProtocol) -> None:
    """Shake hands. Raises: OSError where the server does not."""
    protocol.send_request(protocol.connect())
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
    _Flood(kind, url, user, float(seconds), int(frames)).run()


if __name__ == "__main__":
    main(sys.argv[1:])

"""A message in several WebSocket frames: put together again, within bounds (RFC 6455, 5.4)."""

from codecs import IncrementalDecoder, getincrementaldecoder
from typing import NamedTuple

from picows import WSMsgType

from landline.protocol.codes import CloseCode
from landline.protocol.limits import FRAME_BYTES

# A message in more pieces than this is an attack on the reassembly, not a message.
FRAGMENTS = 128

_utf8 = getincrementaldecoder("utf-8")


class Frame(NamedTuple):
    """A WebSocket frame of the peer, copied out of the read buffer."""

    kind: WSMsgType
    is_final: bool
    payload: bytes


class BadFragment(Exception):
    """A fragment that ends its connection, with the code and the reason to close it with."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Fragments:
    """The pieces of the text message that is under way.

    A piece that makes it no UTF-8 is refused at once: the rest is not waited for (section 8.1).
    """

    __slots__ = ("_decoder", "_pieces", "_size_bytes")

    def __init__(self) -> None:
        self._decoder: IncrementalDecoder | None = None
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def clear(self) -> None:
        """Forget the message."""
        self._decoder = None
        self._pieces.clear()
        self._size_bytes = 0

    def add(self, payload: bytes, *, is_first: bool, is_final: bool) -> bytes | None:
        """Take a piece. Returns the message if this was the last piece, else None.

        Raises: BadFragment where pieces are out of order, too many, too large, or no UTF-8.
        """
        if is_first == bool(self._pieces):
            raise BadFragment(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
        self._pieces.append(payload)
        self._size_bytes += len(payload)
        if self._size_bytes > FRAME_BYTES or len(self._pieces) > FRAGMENTS:
            raise BadFragment(
                CloseCode.TOO_LARGE,
                f"a message has at most {FRAME_BYTES} bytes in {FRAGMENTS} fragments",
            )
        self._check_text(payload, is_final=is_final)
        if not is_final:
            return None
        message = b"".join(self._pieces)
        self.clear()
        return message

    def _check_text(self, payload: bytes, *, is_final: bool) -> None:
        if self._decoder is None:
            self._decoder = _utf8()
        try:
            self._decoder.decode(payload, is_final)
        except UnicodeDecodeError:
            raise BadFragment(CloseCode.INVALID_TEXT, "text frames are UTF-8") from None

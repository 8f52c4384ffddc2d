"""Close frames (RFC 6455, section 7.4): which code is noted, which is answered, what fits in."""

from typing import Final

from picows import WSTransport

from landline.protocol.codes import CloseCode

# What a close frame may hold (RFC 6455, section 7.4, and IANA's registry), and the words for
# one that is empty and one that never came; those two are never sent.
_PEERS_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
NO_CODE: Final = 1005
NO_CLOSE_FRAME: Final = 1006
_NORMAL: Final = 1000
# A control frame has 125 bytes at the most (RFC 6455, section 5.5), and two are the code.
_REASON_BYTES: Final = 123


def answer_to(payload: bytes) -> tuple[int, int]:
    """Return the code that is noted for a close frame of the peer, and the one that answers it."""
    if not payload:
        return NO_CODE, _NORMAL
    code = int.from_bytes(payload[:2], "big")
    if code not in _PEERS_CLOSE_CODES:  # picows lets some through that must not be sent
        code = int(CloseCode.PROTOCOL_ERROR)
    return code, code


def goodbye_heard(transport: WSTransport) -> bytes | None:
    """Return what the peer's close frame held, if picows has read one; without the reason."""
    handshake = transport.close_handshake
    # The stub does not know that there is none before somebody has said goodbye.
    if handshake is None or handshake.recv is None:  # type: ignore[redundant-expr]
        return None
    code = int(handshake.recv.code)  # type: ignore[call-overload]  # an IntEnum; 0: it was empty
    return code.to_bytes(2, "big") if code else b""


def code_said(transport: WSTransport) -> int:
    """Return the code of the close frame that was sent to the peer."""
    if not transport.is_close_frame_sent:
        return NO_CLOSE_FRAME
    sent = transport.close_handshake.sent
    assert sent is not None
    return int(sent.code)  # type: ignore[call-overload,no-any-return]  # an IntEnum


def fitting(reason: str) -> str:
    """Return as much of a reason as a close frame takes."""
    return reason.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore")

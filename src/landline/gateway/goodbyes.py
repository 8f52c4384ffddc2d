"""Close frames of the peer (RFC 6455, section 7.4): which code is noted, and which is answered."""

from typing import Final

from landline.protocol.codes import CloseCode

# What a close frame may hold (RFC 6455, section 7.4, and IANA's registry), and the words for
# one that is empty and one that never came; those two are never sent.
_PEERS_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
NO_CODE: Final = 1005
NO_CLOSE_FRAME: Final = 1006
_NORMAL: Final = 1000


def answer_to(payload: bytes) -> tuple[int, int]:
    """Return the code that is noted for a close frame of the peer, and the one that answers it."""
    if not payload:
        return NO_CODE, _NORMAL
    code = int.from_bytes(payload[:2], "big")
    if code not in _PEERS_CLOSE_CODES:  # picows lets some through that must not be sent
        code = int(CloseCode.PROTOCOL_ERROR)
    return code, code

"""The limits on what one user or address may have on one server: their defaults, in one table."""

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """0 is no limit. Rates are per second; what each may save up for is its burst.

    `messages` and `bytes` are a user's, `frames` a session's, `handshakes` an address's.
    """

    messages: float = 0.0
    bytes: float = 0.0
    frames: float = 0.0
    user_connections: int = 0
    address_connections: int = 0
    handshakes: float = 0.0


# What somebody who was quiet may send at once, in seconds' worth of the rate.
MESSAGES_BURST: Final = 2.0
BYTES_BURST: Final = 8.0
FRAMES_BURST: Final = 4.0
HANDSHAKES_BURST: Final = 5.0

NO_LIMITS: Final = Limits()
USUAL_LIMITS: Final = Limits(
    messages=20,
    bytes=128 * KIB,
    frames=50,
    user_connections=20,
    address_connections=100,
    handshakes=20,
)

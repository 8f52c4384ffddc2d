"""What a connection asks of its owner, the hub: it is told what the peer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from landline.gateway.connection import Connection
    from landline.gateway.lobby import Lobby
    from landline.gateway.turns import Turns
    from landline.ports import Clock
    from landline.protocol.client_frames import BadFrame, ClientFrame


class Owner(Protocol):
    """The hub: it is told what the peers of connections do."""

    clock: Clock
    turns: Turns
    lobby: Lobby

    def opened(self, connection: Connection) -> None:
        """A connection is open, and it is known whose it is."""

    def closed(self, connection: Connection, code: int) -> None:
        """A connection is gone, signed in or not; `code` is that of the first close frame."""

    def received(self, connection: Connection, frame: ClientFrame) -> None:
        """A good frame has arrived."""

    def received_bad(self, connection: Connection, bad: BadFrame) -> None:
        """A bad frame has arrived."""

    def writable(self, connection: Connection, is_writable: bool) -> None:
        """A write buffer has filled up or drained."""

    def reading(self, connection: Connection, is_read: bool) -> None:
        """Its socket is read from now on, or is not, for whatever reason."""

    def left_unread(self, connection: Connection, since: float) -> None:
        """What a connection has said until now may have waited since then."""

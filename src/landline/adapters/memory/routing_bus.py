"""The routing bus in memory."""

import asyncio
from collections.abc import Callable

# address -> its listener: what all servers of one process share.
Exchange = dict[str, Callable[[bytes], None]]


class MemoryRoutingBus:
    """See `landline.ports.RoutingBus`. One per server; servers that share an exchange hear each
    other.
    """

    def __init__(self, exchange: Exchange, address: str) -> None:
        self._exchange = exchange
        self._address = address
        self._loop = asyncio.get_running_loop()

    def publish(self, address: str, hint: bytes) -> None:
        """Hand the hint over in the next turn of the loop; without a listener it is lost."""
        self._loop.call_soon(self._hand_over, address, hint)

    def publish_to_all(self, hint: bytes) -> None:
        """Hand it to everybody who listens by then."""
        self._loop.call_soon(self._hand_to_all, hint)

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        """Listen at this server's address."""
        self._exchange[self._address] = receive

    def health(self) -> str | None:
        """Memory is always there."""
        return None

    async def close(self) -> None:
        """Stop listening."""
        self._exchange.pop(self._address, None)

    def _hand_over(self, address: str, hint: bytes) -> None:
        receive = self._exchange.get(address)
        if receive is not None:
            receive(hint)

    def _hand_to_all(self, hint: bytes) -> None:
        for address in list(self._exchange):
            self._hand_over(address, hint)

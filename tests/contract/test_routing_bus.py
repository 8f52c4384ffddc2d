"""What every `RoutingBus` keeps to. It may lose, repeat and reorder hints, but in good weather a
hint arrives. Another adapter joins with a line in `buses`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import pytest

from landline.adapters.kafka import KafkaCluster, KafkaRoutingBus
from landline.adapters.memory import Exchange, MemoryRoutingBus
from landline.ports import RoutingBus
from landline_stack import Stack
from simulation.good_weather import ModelBuses
from support.stack import MakeTopic
from support.waiting import WAIT_SECONDS, until


class Buses(Protocol):
    """Servers that hear each other."""

    async def join(self, address: str) -> RoutingBus:
        """Return the bus of one more server; nobody listens there yet."""

    async def close(self) -> None:
        """Close every bus that is left."""


class MemoryBuses:
    """Servers of one process."""

    def __init__(self) -> None:
        self._exchange: Exchange = {}

    async def join(self, address: str) -> RoutingBus:
        """Return a bus on the shared exchange."""
        return MemoryRoutingBus(self._exchange, address)

    async def close(self) -> None:
        """Nothing is held."""


class KafkaBuses:
    """Servers that share a topic."""

    def __init__(self, servers: str, topic: str) -> None:
        self._cluster = KafkaCluster([servers], "test")
        self._topic = topic
        self._joined: list[KafkaRoutingBus] = []

    async def join(self, address: str) -> RoutingBus:
        """Return a bus on the topic."""
        self._joined.append(KafkaRoutingBus(self._cluster, self._topic, address))
        return self._joined[-1]

    async def close(self) -> None:
        """Close them all at once."""
        await asyncio.gather(*(bus.close() for bus in self._joined))


class Ear:
    """Keeps what a bus hands over."""

    def __init__(self, bus: RoutingBus) -> None:
        self.bus = bus
        self.heard: list[bytes] = []

    async def listen(self) -> None:
        """Listen from now on."""
        await self.bus.listen(self.heard.append)

    async def until_heard_by_all(self, ears: Sequence["Ear"], hint: bytes) -> None:
        """Publish a hint to all, again while it is lost, until each of them has it."""

        def have_all() -> bool:
            return all(hint in ear.heard for ear in ears)

        async with asyncio.timeout(WAIT_SECONDS):
            while not have_all():
                self.bus.publish_to_all(hint)
                with suppress(AssertionError):
                    await until(have_all, "it has come", 5.0)

    async def until_heard(self, sender: RoutingBus, address: str, hints: Iterable[bytes]) -> None:
        """Have `sender` publish hints to us, those that were lost again, until all have come."""
        wanted = missing = set(hints)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while missing := wanted.difference(self.heard):
                    for hint in missing:
                        sender.publish(address, hint)
                    with suppress(AssertionError):
                        await until(lambda: wanted.issubset(self.heard), "they have come", 5.0)
        except TimeoutError:
            raise AssertionError(f"{len(missing)} hints have not come") from None


@pytest.fixture(params=["memory", "model", pytest.param("kafka", marks=pytest.mark.stack)])
async def buses(request: pytest.FixtureRequest, patient_kafka: None) -> AsyncIterator[Buses]:
    made: Buses
    match request.param:
        case "memory":
            made = MemoryBuses()
        case "kafka":
            stack: Stack = request.getfixturevalue("stack")
            make_topic: MakeTopic = request.getfixturevalue("make_topic")
            made = KafkaBuses(stack.kafka_servers, make_topic(32))
        case "model":
            made = ModelBuses()
    yield made
    await made.close()


async def listening(buses: Buses, address: str) -> Ear:
    ear = Ear(await buses.join(address))
    await ear.listen()
    return ear


async def test_hints_arrive_in_both_directions_and_at_home(buses: Buses) -> None:
    one, two = await listening(buses, "ws-1/a"), await listening(buses, "ws-2/b")
    await two.until_heard(one.bus, "ws-2/b", [b"to two"])
    await one.until_heard(two.bus, "ws-1/a", [b"to one"])
    await one.until_heard(one.bus, "ws-1/a", [b"to myself"])
    assert set(one.heard) == {b"to one", b"to myself"}
    assert set(two.heard) == {b"to two"}


async def test_thousands_in_one_go_arrive(buses: Buses) -> None:
    one, two = await listening(buses, "ws-1/a"), await listening(buses, "ws-2/b")
    await two.until_heard(one.bus, "ws-2/b", [str(number).encode() for number in range(5_000)])


async def test_a_hint_is_for_one_run_of_one_server(buses: Buses) -> None:
    """F51: a server does not get what was meant for an earlier run under its id."""
    sender = await listening(buses, "ws-1/a")
    receiver = await listening(buses, "ws-2/today")
    neighbour = await listening(buses, "ws-3/c")
    for address in ("ws-2/yesterday", "ws-2", "ws-2/", "ws-2/today/", "WS-2/today", "ws-22/today"):
        sender.bus.publish(address, f"for {address}".encode())
    # What was published before a hint that has come would have come as well, sooner or later.
    for number in range(3):
        await receiver.until_heard(sender.bus, "ws-2/today", [f"marker {number}".encode()])
    await neighbour.until_heard(sender.bus, "ws-3/c", [b"marker"])
    assert set(receiver.heard) == {b"marker 0", b"marker 1", b"marker 2"}
    assert set(neighbour.heard) == {b"marker"}
    assert sender.heard == []


async def test_a_hint_for_all_reaches_each_server_and_each_run(buses: Buses) -> None:
    names = [f"ws-{number}/{run}" for number in range(6) for run in ("a", "b")]
    ears = [await listening(buses, name) for name in names]
    await ears[0].until_heard_by_all(ears, b"leave")
    assert {hint for ear in ears for hint in ear.heard} == {b"leave"}


async def test_no_hint_is_too_odd(buses: Buses) -> None:
    """Bytes are carried as they are: what they mean is not the bus's business."""
    one, two = await listening(buses, "ws-1/a"), await listening(buses, "ws-2/b")
    odd = [b"\x00", bytes(range(256)), b"\xff\xfe", b"{", b"[" * 10_000, "🦊".encode()]
    await two.until_heard(one.bus, "ws-2/b", odd)
    assert set(two.heard) == set(odd)


async def test_publishing_never_raises_and_ill_hints_do_not_stop_the_others(buses: Buses) -> None:
    one, two = await listening(buses, "ws-1/a"), await listening(buses, "ws-2/b")
    for address in ("ws-2/b", "nobody/x", "", "/", "ä/🦊", "x" * 10_000):
        for hint in (b"", bytes(5_000_000)):
            one.bus.publish(address, hint)  # lost or not, both is fine
    for number in range(50_000):
        one.bus.publish("nobody/x", str(number).encode())
    one.bus.publish_to_all(bytes(5_000_000))
    await two.until_heard(one.bus, "ws-2/b", [b"as ever"])


async def test_before_somebody_listens_and_after_close_nothing_is_heard(buses: Buses) -> None:
    sender = await listening(buses, "ws-1/a")
    deaf = Ear(await buses.join("ws-2/b"))
    sender.bus.publish("ws-2/b", b"too early")
    await deaf.listen()
    await deaf.until_heard(sender.bus, "ws-2/b", [b"in time"])
    sender.bus.publish("ws-2/b", b"on its way")
    await deaf.bus.close()
    heard = list(deaf.heard)
    neighbour = await listening(buses, "ws-3/c")
    sender.bus.publish("ws-2/b", b"too late")
    for number in range(3):
        await neighbour.until_heard(sender.bus, "ws-3/c", [f"marker {number}".encode()])
    assert deaf.heard == heard
    assert b"too late" not in deaf.heard


async def test_a_closed_bus_publishes_nothing_and_raises_nothing(buses: Buses) -> None:
    one, two = await listening(buses, "ws-1/a"), await listening(buses, "ws-2/b")
    await one.bus.close()
    one.bus.publish("ws-2/b", b"anything")
    one.bus.publish_to_all(b"anything")
    await one.bus.close()
    assert two.bus.health() is None


async def test_health_is_good(buses: Buses) -> None:
    assert (await listening(buses, "ws-1/a")).bus.health() is None

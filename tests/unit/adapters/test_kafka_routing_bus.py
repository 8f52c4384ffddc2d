"""Hints may be lost, listening for them may not end: by a cluster that answers without a broker."""

import asyncio
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from landline.adapters.kafka import KafkaCluster, KafkaRoutingBus, routing_bus
from support.waiting import until, wait_until

ADDRESS = "ws-1/run"


class Consumer:
    """Brings one hint for `ADDRESS`, then nothing."""

    def __init__(self) -> None:
        self._hints = iter([_hint(b"hello")])

    def assign(self, _places: list[Any]) -> None: ...

    def poll(self, _seconds: float) -> Any:
        return next(self._hints, None)

    def consume(self, *_: Any) -> list[Any]:
        return []

    def close(self) -> None: ...


class Broken(KafkaCluster):
    """Behaves at first as nobody foresaw."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(["127.0.0.1:1"], "test")
        self._answers: Iterator[Any] = iter(answers)

    def consumer(self, _options: Any) -> Any:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def describe(self, _topic: str) -> Any:
        return SimpleNamespace(topic_id="1", partitions=[object()])

    async def offsets(self, _topic: str, places: Iterable[int], _spec: Any) -> dict[int, int]:
        return dict.fromkeys(places, 0)


def _hint(value: bytes) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        offset=lambda: 0,
        headers=lambda: [("address", ADDRESS.encode())],
        value=lambda: value,
    )


async def test_a_defect_while_reading_is_told_and_reading_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing_bus, "_FIRST_RETRY_SECONDS", 0.01)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    failures: list[str | None] = []
    bus = KafkaRoutingBus(Broken(ValueError("surprise"), Consumer()), "topic", ADDRESS)
    monkeypatch.setattr(bus, "_note", failures.append)
    await bus.listen(heard.put_nowait)
    async with asyncio.timeout(60):
        assert await heard.get() == b"hello"
    await bus.close()
    assert "a defect of Landline, please report it: ValueError('surprise')" in failures


async def test_a_defect_while_looking_after_the_topic_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing_bus, "_FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(routing_bus, "BUS_WATCH_SECONDS", 0.01)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    cluster = Broken(Consumer(), Consumer())
    bus = KafkaRoutingBus(cluster, "topic", ADDRESS)
    await bus.listen(heard.put_nowait)
    async with asyncio.timeout(60):
        assert await heard.get() == b"hello"
        described, cluster.describe = cluster.describe, surprise  # type: ignore[method-assign]
        while bus.health() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert "surprise" in str(bus.health())
        cluster.describe = described  # type: ignore[method-assign]
        assert await heard.get() == b"hello"
    await bus.close()


async def test_a_defect_while_the_consumer_is_made_begins_anew_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The topic was found, and what is wrong with it is noticed before it is read."""
    monkeypatch.setattr(routing_bus, "_FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(routing_bus, "BUS_WATCH_SECONDS", 0.01)
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    class Slow(Broken):
        is_first = True

        def consumer(self, options: Any) -> Any:
            if self.is_first:
                self.is_first = False
                described, self.describe = self.describe, surprise  # type: ignore[method-assign]
                wait_until(lambda: "surprise" in str(bus.health()), "the defect is noticed")
                self.describe = described  # type: ignore[method-assign]
            return super().consumer(options)

    bus = KafkaRoutingBus(Slow(Consumer(), Consumer()), "topic", ADDRESS)
    await bus.listen(heard.put_nowait)
    async with asyncio.timeout(60):
        assert await heard.get() == b"hello"
    await until(lambda: bus.health() is None, "it is well again", 20)
    await bus.close()


async def surprise(_topic: str) -> Any:
    raise ValueError("surprise")

"""A consumer takes what waits in batches, in order."""

import asyncio

import pytest

from landline.gateway.batcher import Batcher
from support.waiting import go_round, running, until


class Consumer:
    """Notes the batches it is given; does not come back while it is held up."""

    def __init__(self, limit: int = 10) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.queue: Batcher[int] = Batcher(self.take, limit)

    async def take(self, batch: list[int]) -> None:
        self.batches.append(batch)
        await self.may_go_on.wait()

    def put(self, *items: int) -> None:
        for item in items:
            self.queue.put(item)


async def test_all_that_waits_is_one_batch() -> None:
    consumer = Consumer()
    consumer.put(1, 2, 3)
    assert len(consumer.queue) == 3
    async with running(consumer.queue.run()):
        await until(lambda: consumer.batches == [[1, 2, 3]], "they came together")
    assert len(consumer.queue) == 0


async def test_a_batch_has_no_more_than_the_limit() -> None:
    consumer = Consumer(limit=2)
    consumer.put(1, 2, 3, 4, 5)
    async with running(consumer.queue.run()):
        await until(lambda: consumer.batches == [[1, 2], [3, 4], [5]], "all came, in order")


async def test_what_comes_meanwhile_is_the_next_batch() -> None:
    consumer = Consumer()
    consumer.may_go_on.clear()
    async with running(consumer.queue.run()):
        consumer.put(1)
        await until(lambda: consumer.batches == [[1]], "the first came alone")
        consumer.put(2, 3)
        await go_round(5)
        assert consumer.batches == [[1]]
        consumer.may_go_on.set()
        await until(lambda: consumer.batches == [[1], [2, 3]], "the others came together")


async def test_what_was_taken_out_is_not_handed_over() -> None:
    """Nothing at all is no batch."""
    consumer = Consumer()
    consumer.put(1, 2, 3)
    consumer.queue.keep(lambda item: item > 3)
    async with running(consumer.queue.run()):
        await go_round(5)
        consumer.put(4, 5, 6)
        consumer.queue.keep(lambda item: item != 5)
        await until(lambda: consumer.batches == [[4, 6]], "what was kept came")


async def test_a_consumer_that_fails_ends_it() -> None:
    """The owner of the task hears of it; what was not handed over still waits."""

    async def fail(_batch: list[int]) -> None:
        raise RuntimeError("a defect")

    queue = Batcher(fail, 1)
    queue.put(1)
    queue.put(2)
    with pytest.raises(RuntimeError, match="a defect"):
        await queue.run()
    assert len(queue) == 1

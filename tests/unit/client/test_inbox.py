"""The inbox: a message is handed out once, and kept before it is acknowledged."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from landline.client.events import Message
from landline.client.inbox import Inbox
from landline.client.outbox import MemoryOutbox
from landline.protocol.limits import ACK_IDS


def message(id: str) -> Message:
    return Message(id, "dm:a:b", "b", "a", "hi", datetime(2026, 1, 2, tzinfo=UTC), 1, replay=False)


class Line:
    """An inbox, its outbox, and what both write, in one list."""

    def __init__(self, handed: Iterable[str] = ()) -> None:
        self.written: list[tuple[str, list[str]]] = []
        self.is_free = asyncio.Event()
        self.is_free.set()
        line = self

        class Outbox(MemoryOutbox):
            async def hand(self, ids: Sequence[str]) -> None:
                await line.is_free.wait()
                line.written.append(("kept", list(ids)))

        self.has_work = asyncio.Event()
        self.inbox = Inbox(Outbox(), self.has_work)
        self.inbox.remember(handed)

    async def write(self) -> None:
        """Write the acknowledgements."""

        async def send(frame: bytes) -> None:
            self.written.append(("acked", orjson.loads(frame)["ids"]))

        await self.inbox.write_acks(send)

    def take(self, *ids: str) -> None:
        for id in ids:
            self.inbox.take(message(id))

    def handed(self) -> str | None:
        """Hand out the next one, as a loop does that has finished the one before."""
        if self.inbox.current is not None:
            self.inbox.acknowledge(self.inbox.current)
        following = self.inbox.next()
        return None if following is None else following.id


def test_messages_are_handed_out_in_their_order_and_once() -> None:
    line = Line()
    line.take("1", "2", "1", "3", "2")
    assert [line.handed() for _ in range(4)] == ["1", "2", "3", None]


async def test_one_that_comes_again_after_it_was_handed_is_acknowledged_again() -> None:
    line = Line(handed=["before"])
    line.take("before", "1")
    assert [line.handed(), line.handed()] == ["1", None]
    line.inbox.disconnected()
    line.take("1", "before")
    assert line.handed() is None
    await line.write()
    assert ("acked", ["1", "before"]) in line.written


async def test_a_message_is_kept_before_it_is_acknowledged() -> None:
    line = Line()
    line.take("1", "2")
    for _ in range(3):
        line.handed()
    assert line.has_work.is_set()
    assert line.inbox.has_acks
    await line.write()
    assert line.written == [("kept", ["1", "2"]), ("acked", ["1", "2"])]
    assert not line.inbox.has_acks


def test_one_whose_body_did_not_finish_is_the_first_of_the_next_loop() -> None:
    line = Line()
    line.take("1", "2")
    assert line.handed() == "1"
    line.inbox.begin_loop()
    assert not line.inbox.has_acks
    assert [line.handed(), line.handed()] == ["1", "2"]


def test_one_that_was_acknowledged_by_hand_is_not_handed_out_again() -> None:
    line = Line()
    line.take("1", "2")
    assert line.handed() == "1"
    line.inbox.acknowledge(message("1"))
    line.inbox.begin_loop()
    assert line.handed() == "2"


async def test_where_keeping_is_cancelled_it_is_kept_later() -> None:
    line = Line()
    line.take("1")
    line.handed()
    line.handed()
    line.is_free.clear()
    writing = asyncio.create_task(line.write())
    await asyncio.sleep(0)
    assert line.inbox.has_acks, "it is on its way"
    writing.cancel()
    await asyncio.wait({writing})
    line.inbox.disconnected()
    line.is_free.set()
    await line.inbox.keep_handed()
    assert line.written == [("kept", ["1"])]


@given(st.integers(0, 3 * ACK_IDS))
def test_a_frame_has_no_more_ids_than_the_protocol_allows(count: int) -> None:
    async def scenario() -> None:
        line = Line()
        ids = [str(number) for number in range(count)]
        line.take(*ids)
        while line.handed() is not None:
            pass
        await line.write()
        acked = [each for what, each in line.written if what == "acked"]
        assert [id for frame in acked for id in frame] == ids
        assert all(0 < len(frame) <= ACK_IDS for frame in acked)

    asyncio.run(scenario())


async def test_the_end_wakes_whoever_waits() -> None:
    line = Line()
    waiting = asyncio.create_task(line.inbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    line.inbox.wake()
    await waiting

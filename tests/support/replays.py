"""A replay without heart and vendor: who was answered, by a store with mailboxes that are bad."""

import asyncio
import functools
import inspect
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from landline.delivery import Delivery
from landline.delivery.decisions import ReadPending
from landline.errors import StoreUnavailable
from landline.gateway.replay import Replay
from landline.model import Mailbox, Pending, PendingQuery
from landline.ports import MessageStore
from simulation.loop import SimulatedLoop
from support.waiting import running


class Bookkeeper:
    """In the place of the heart: notes who was answered, and has everybody swept."""

    def __init__(self, users: Sequence[str]) -> None:
        self.paged: list[str] = []
        self.swept: list[str] = []
        self._sweeping: list[PendingQuery] = []
        self.users = list(users)

    def page(self, session: str, asked: PendingQuery, _pending: Pending) -> None:
        if not any(asked is each for each in self._sweeping):
            self.paged.append(session)
            return
        self.swept.append(session)
        self.users.remove(session)
        self.users.append(session)

    def sweep(self) -> list[ReadPending]:
        swept = [
            ReadPending(user, query(user.partition("#")[0]), is_sweep=True) for user in self.users
        ]
        self._sweeping += [each.query for each in swept]
        return swept


class Store:
    """Answers with nothing, unless a mailbox is bad or it is away."""

    def __init__(self, *bad: str, hangs: bool = False) -> None:
        self.bad = set(bad)
        self.hangs = hangs
        self.is_away = False
        self.asked: list[list[PendingQuery]] = []

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        self.asked.append(list(queries))
        await asyncio.sleep(0)
        if self.is_away or not self.bad.isdisjoint(each.mailbox.user for each in queries):
            if self.hangs and not self.is_away:
                await asyncio.Event().wait()
            raise StoreUnavailable("a page of the index is damaged")
        return [Pending((), True, {}) for _ in queries]


def query(user: str) -> PendingQuery:
    return PendingQuery(Mailbox(user), {}, 64)


def make(
    store: Store,
    users: Sequence[str] = (),
    *,
    sweeps: bool = False,
    interval: float = 0.02,
    gone: Sequence[str] = (),
) -> tuple[Replay, Bookkeeper]:
    heart = Bookkeeper(users)
    made = Replay(
        store=cast("MessageStore", store),
        delivery=cast("Delivery", heart),
        is_connected=lambda session: session not in gone,
        spawn=asyncio.create_task,
        happened=lambda: None,
        sweep_interval=interval if sweeps else 3_600.0,
    )
    return made, heart


class Timed(Store):
    """Each mailbox takes its own time; what takes longer than PostgreSQL is given fails.

    `seconds` are those of the mailboxes that are not quick.
    """

    GIVEN = 8.0

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = self.peak = 0

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        self.asked.append(list(queries))
        self.now += 1
        self.peak = max(self.peak, self.now)
        seconds = max(self.seconds.get(each.mailbox.user, 0.001) for each in queries)
        try:
            await asyncio.sleep(min(seconds, self.GIVEN))
        finally:
            self.now -= 1
        if seconds > self.GIVEN:
            raise StoreUnavailable("PostgreSQL does not answer in time")
        return [Pending((), True, {}) for _ in queries]


HANGS = 3_600.0


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test with its minutes over at once. A task that is left fails it."""

    @functools.wraps(test)
    def run(seed: int = 1, **arguments: Any) -> None:
        given = {"seed": seed} if "seed" in inspect.signature(test).parameters else {}
        SimulatedLoop(random.Random(seed)).run(test(**given, **arguments))

    return run


async def run_for(made: Replay, seconds: float) -> None:
    async with running(made.run()) as task:
        await asyncio.sleep(seconds)
        assert not task.done()


def names(count: int) -> list[str]:
    return [f"u{number}" for number in range(count)]


def ask_for(made: Replay, *sessions: str) -> None:
    for session in sessions:
        made.put(ReadPending(session, query(session.partition("#")[0])))

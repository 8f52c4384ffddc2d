"""An event loop without time, sockets or threads: the same seed takes the same turns.

Every callback belongs to a *lane*: one per server process, one for the world around them. Within a
lane callbacks run in the order in which asyncio promises it, first in, first out; which lane is
next the seed decides, as the scheduler of a machine does with processes. When nothing is ready,
time jumps to the next timer. A paused lane takes no turn, whatever becomes due: SIGSTOP.
"""

import asyncio
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WORLD = "world"
LANE: ContextVar[str] = ContextVar("lane", default=WORLD)

# The turns after which a run is stuck: the longest that ended took a twentieth of them.
TURNS = 400_000
# What is left after a schedule that has no end may take so many more to go.
_LAST_TURNS = 1_000


class Stuck(Exception):
    """Nothing will ever happen again, or something happens for ever."""


class Leaked(Exception):
    """A task outlived its owner."""


def lane_context(lane: str) -> Context:
    """Return a context whose callbacks and tasks belong to `lane`."""
    context = copy_context()
    context.run(LANE.set, lane)
    return context


class _Task(asyncio.Task[Any]):
    """A task whose place in a set follows from its number, not from its address in memory: task
    groups keep sets, and cancel in their order.
    """

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the top of this file. `unhandled` collects what no task caught."""

    def __init__(self, rng: random.Random) -> None:
        self._is_running = False
        super().__init__()
        self._rng = rng
        self._now = 1_000.0
        self._lanes: dict[str, deque[asyncio.Handle]] = {}
        self._paused: set[str] = set()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._task_count = 0
        self.turns = 0
        self.unhandled: list[str] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` is done. Raises: Stuck, Leaked, and what `main` raises."""
        self._is_running = True
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._turn()
            leaked = [each.get_name() for each in asyncio.all_tasks(self)]
            if leaked and task.exception() is None:
                raise Leaked(f"tasks are left: {leaked}")
            result: T = task.result()
            return result
        finally:
            self._put_away()
            self._is_running = False
            events._set_running_loop(None)
            self.close()

    def _put_away(self) -> None:
        """End the tasks that a schedule without an end has left: a task group that is collected
        while it waits complains, in whatever test runs then.
        """
        self._paused.clear()
        self.turns = min(self.turns, TURNS - _LAST_TURNS)
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        with suppress(Exception):
            for _ in range(_LAST_TURNS):
                if all(task.done() for task in left):
                    break
                self._turn()
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()  # looked at

    def pause(self, lane: str) -> None:
        """Let a lane take no turn."""
        self._paused.add(lane)

    def resume(self, lane: str) -> None:
        """Let a lane take turns again: first what became due in the meantime."""
        self._paused.discard(lane)

    # What asyncio asks of a loop ---------------------------------------------------------------

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have a callback run in a turn of its lane, after all that are waiting there."""
        context = copy_context() if context is None else context  # an empty one is false
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(handle, context)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run once `delay` virtual seconds are over."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run at a virtual time; of the same time, in the order of the calls."""
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Start a task; it belongs to the lane of its context."""
        self._task_count += 1
        name = name or f"task {self._task_count}"
        return _Task(self._task_count, coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody caught: the run fails by it."""
        self.unhandled.append(f"{context['message']}: {context.get('exception')!r}")

    def is_running(self) -> bool:
        """Say whether `run` is under way."""
        return self._is_running

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    # Inside ------------------------------------------------------------------------------------

    def _make_ready(self, handle: asyncio.Handle, context: Context) -> None:
        lane = context.get(LANE, WORLD)
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = deque()
        queue.append(handle)

    def _waiting_lanes(self) -> list[deque[asyncio.Handle]]:
        """Return the lanes that have a callback to run, always in the same order."""
        if not self._paused:
            return list(filter(None, self._lanes.values()))
        return [queue for lane, queue in self._lanes.items() if queue and lane not in self._paused]

    def _turn(self) -> None:
        """Run one callback; let time jump first if none is ready."""
        while not (ready := self._waiting_lanes()):
            self._jump()
        queue = ready[0] if len(ready) == 1 else ready[int(self._rng.random() * len(ready))]
        handle = queue.popleft()
        self.turns += 1
        if self.turns > TURNS:
            raise Stuck(f"{TURNS} turns, and still something to do: {handle!r}")
        if not handle.cancelled():
            handle._run()

    def _jump(self) -> None:
        """Make ready what is due next."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing will ever happen again")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled():
                self._make_ready(handle, handle._context)  # type: ignore[attr-defined]

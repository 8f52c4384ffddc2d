"""The hub: carries out what the heart decides, for all connections of this server.

Everything that happens is told to the heart at once; what it decides is carried out once per turn
of the event loop. Work that waits (directory, log, store) is done by a handful of tasks, each with
a queue of its own and a batch per round; they belong to the hub, not to any connection, so work
after an append goes on when the sender has left.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from landline.delivery import Delivery
from landline.delivery.decisions import (
    Append,
    AwaitApplied,
    Close,
    Decision,
    Find,
    PauseReading,
    ReadPending,
    Register,
    ResumeReading,
    RouteMessage,
    RouteStatus,
    Transmit,
    Unregister,
)
from landline.delivery.unread import PULSE_SECONDS
from landline.errors import LogUnavailable, StoreUnavailable, Unavailable
from landline.gateway.batcher import Batcher
from landline.gateway.connection import Connection
from landline.gateway.finder import Finder
from landline.gateway.replay import Replay
from landline.gateway.turns import Turns
from landline.model import Message, Positions
from landline.observability.logging import get_logger
from landline.observability.metrics import Histogram, Value, close_code_label
from landline.ports import Clock, Directory, EventLog, MessageStore, RoutingBus
from landline.protocol.frames import BadFrame, ClientFrame
from landline.protocol.hints import (
    StatusHint,
    decode_hint,
    encode_message_hint,
    encode_status_hint,
)

# The directory has a deadline of its own (200 ms, and a breaker); this one is for its defects.
DIRECTORY_SECONDS = 0.5
LOG_SECONDS = 5.0

BATCH = 1_000
# Hints that wait for the directory. One that is dropped costs latency: the sweep delivers.
ROUTED_WAITING = 10_000

DRAIN_SECONDS = 8.0
FAREWELL_SECONDS = 3.5
FIRST_RETRY_MS = 200
RETRY_STEP_MS = 5
LAST_RETRY_MS = 10_000

_FIRST_BACKOFF_SECONDS = 0.1
_LAST_BACKOFF_SECONDS = 2.0
TICK_SECONDS = 1.0

log = get_logger(__name__)


class Hub:
    """All connections of this server, and the tasks that serve them."""

    def __init__(
        self,
        *,
        delivery: Delivery,
        clock: Clock,
        event_log: EventLog,
        store: MessageStore,
        directory: Directory,
        bus: RoutingBus,
        sweep_interval: float,
        repeat_seconds: float,
    ) -> None:
        """`repeat_seconds`: how long a repeat waits before its original is looked for; 0 where
        there is no other server that may still be at it (see `landline.delivery.sends`).
        """
        self.clock = clock
        self.turns = Turns(clock)
        self._delivery = delivery
        self._event_log = event_log
        self._store = store
        self._directory = directory
        self._bus = bus
        self._sweep_interval = sweep_interval
        self._loop = asyncio.get_running_loop()
        self._connections: dict[str, Connection] = {}
        self._is_performing_due = False
        self._is_over = False
        self._fatal: asyncio.Future[None] = self._loop.create_future()
        self._tasks: asyncio.TaskGroup | None = None
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._members = Batcher(self._keep_directory, BATCH)
        self._entries = Batcher(self._read_ends, BATCH)
        self._replay = Replay(
            store=store,
            delivery=delivery,
            is_connected=self._connections.__contains__,
            happened=self._happened,
            sweep_interval=sweep_interval,
        )
        self._has_others = repeat_seconds > 0  # who may be faster with a repeat
        self._finder = Finder(
            event_log=event_log,
            store=store,
            delivery=delivery,
            spawn=self._spawn,
            happened=self._happened,
            repeat_seconds=repeat_seconds,
        )
        self._routes = Batcher(self._route, BATCH)
        self._append_seconds = Histogram()
        self._loop_lag_seconds = 0.0
        self._directory_failures = 0
        self._hints_dropped = 0
        self._closes: dict[str, int] = {}
        self._perform_one: dict[type[Decision], Callable[[Any], None]] = {
            Transmit: self._transmit,
            Append: self._append,
            RouteMessage: self._queue_route,
            RouteStatus: self._queue_route,
            Close: self._close,
            Register: self._members.put,
            Unregister: self._unregister,
            ReadPending: self._replay.put,
            AwaitApplied: self._await_applied,
            Find: self._finder.put,
            PauseReading: self._pause_reading,
            ResumeReading: self._resume_reading,
        }

    async def listen(self) -> None:
        """Hear hints from now on: before the first session is in the directory."""
        await self._bus.listen(self._routed)

    async def run(self) -> None:
        """Serve until cancelled. A defect in any task ends all of them, loudly."""
        async with asyncio.TaskGroup() as self._tasks:
            for service in (self._members, self._entries, self._replay, self._routes):
                self._tasks.create_task(service.run())
            self._tasks.create_task(self._tick_for_ever())
            if self._has_others:
                self._tasks.create_task(self._pulse_for_ever())
            try:
                await self._fatal
            finally:
                self._is_over = True  # before the tasks end: a group that ends takes no more

    def measure(self) -> Mapping[str, Value]:
        """Return what the metrics show of connections and deliveries."""
        counters = self._delivery.counters
        measured: dict[str, Value] = {
            "landline_connections": len(self._connections),
            "landline_inflight_sends": self._delivery.flight_count,
            "landline_append_seconds": self._append_seconds,
            "landline_event_loop_lag_seconds": self._loop_lag_seconds,
            "landline_sessions_opened_total": counters.sessions_opened,
            'landline_sends_total{outcome="accepted"}': counters.accepted,
            'landline_sends_total{outcome="rejected"}': counters.rejected,
            'landline_sends_total{outcome="unknown"}': counters.unknown,
            'landline_pushes_total{path="live"}': counters.pushed_live,
            'landline_pushes_total{path="replay"}': counters.pushed_replay,
            'landline_pushes_total{path="sweep"}': counters.pushed_sweep,
            "landline_acks_total": counters.acknowledged,
            "landline_receipts_total": counters.receipts,
            "landline_receipts_dropped_total": self._delivery.receipts_dropped,
            "landline_directory_failures_total": self._directory_failures,
            "landline_hints_dropped_total": self._hints_dropped,
            "landline_bad_frames_total": counters.bad_frames,
        }
        for error, count in counters.errors.items():
            measured[f'landline_errors_total{{code="{error}"}}'] = count
        for close, count in self._closes.items():
            measured[f'landline_closes_total{{code="{close}"}}'] = count
        return measured

    async def drain(self) -> None:
        """Answer what is in flight, then close every connection with a time to come back."""
        self._delivery.drain()
        self._happened()
        await self._until(self._delivery.is_drained, DRAIN_SECONDS)
        spread = min(LAST_RETRY_MS, RETRY_STEP_MS * len(self._connections))
        self._delivery.close_all(FIRST_RETRY_MS, FIRST_RETRY_MS + spread)
        self._happened()
        await self._until(lambda: not self._connections, FAREWELL_SECONDS)
        for connection in list(self._connections.values()):
            connection.abort()

    # What connections tell -------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    def opened(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections[connection.session] = connection
        self._delivery.connect(connection.session, connection.user, auto_ack=connection.auto_ack)
        self._happened()

    def closed(self, connection: Connection, code: int) -> None:
        """A connection is gone; `code` is that of the first close frame, 1006 if there was none."""
        label = close_code_label(code)
        self._closes[label] = self._closes.get(label, 0) + 1
        self._connections.pop(connection.session, None)
        self._delivery.disconnect(connection.session)
        self._happened()

    def received(self, connection: Connection, frame: ClientFrame) -> None:
        """A good frame has arrived."""
        self._delivery.receive(connection.session, frame)
        self._happened()

    def received_bad(self, connection: Connection, bad: BadFrame) -> None:
        """A bad frame has arrived."""
        self._delivery.receive_bad(connection.session, bad)
        self._happened()

    def writable(self, connection: Connection, is_writable: bool) -> None:
        """A write buffer has filled up or drained."""
        self._delivery.writable(connection.session, is_writable)
        self._happened()

    def left_unread(self, connection: Connection, since: float) -> None:
        """What a connection has said until now may have waited since then."""
        if self._has_others:
            self._delivery.left_unread(connection.session, since)

    # Carrying out ----------------------------------------------------------------------------

    def _happened(self) -> None:
        if not self._is_performing_due:
            self._is_performing_due = True
            self._loop.call_soon(self._perform)

    def _perform(self) -> None:
        self._is_performing_due = False
        if self._is_over:
            return  # nobody is left to carry anything out
        written: list[Connection] = []
        try:
            for decision in self._delivery.take_decisions():
                self._perform_one[type(decision)](decision)
                if type(decision) is Transmit:
                    connection = self._connections.get(decision.session)
                    if connection is not None and connection.auto_ack:
                        written.append(connection)
        except Exception as error:  # noqa: BLE001 - a defect, decisions are lost: it must end
            self.fail(error)
        for connection in written:
            self._check_written(connection)

    def fail(self, error: BaseException) -> None:
        """End the server because of a defect. Nothing accepted is lost by that."""
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _check_written(self, connection: Connection) -> None:
        if connection.is_flushed():
            self._delivery.written(connection.session)
            self._happened()

    def _transmit(self, decision: Transmit) -> None:
        connection = self._connections.get(decision.session)
        if connection is not None:
            connection.transmit(decision.frame)

    def _close(self, decision: Close) -> None:
        connection = self._connections.get(decision.session)
        if connection is not None:
            connection.close(decision.code, decision.reason)

    def _pause_reading(self, decision: PauseReading) -> None:
        connection = self._connections.get(decision.session)
        if connection is not None:
            connection.pause_reading()

    def _resume_reading(self, decision: ResumeReading) -> None:
        connection = self._connections.get(decision.session)
        if connection is not None:
            connection.resume_reading()

    def _append(self, decision: Append) -> None:
        token = decision.token
        started = self.clock.monotonic()

        def done(result: Any) -> None:
            # Called by the log, which is no place for a defect of ours to end in.
            try:
                self._append_seconds.observe(self.clock.monotonic() - started)
                self._delivery.appended(token, result)
                self._happened()
            except Exception as error:  # noqa: BLE001
                self.fail(error)

        self._event_log.append(decision.key, decision.value, done)

    # Directory: enter, then read the log's ends; leave -------------------------------------------

    def _unregister(self, decision: Unregister) -> None:
        wait = self._waits.pop(decision.session, None)
        if wait is not None:
            wait.cancel()
        self._members.put(decision)

    async def _keep_directory(self, decisions: list[Register | Unregister]) -> None:
        joined = [decision for decision in decisions if isinstance(decision, Register)]
        left = [decision for decision in decisions if isinstance(decision, Unregister)]
        # A session that came and went stands in both: it leaves last. Each is told in any case,
        # for the directory asserts what it was told whenever it can.
        for tell, members in (
            (self._directory.register, joined),
            (self._directory.unregister, left),
        ):
            if not members:
                continue
            try:
                async with asyncio.timeout(DIRECTORY_SECONDS):
                    await tell([(each.user, each.session) for each in members])
            except (TimeoutError, Unavailable):
                self._directory_failures += 1  # no hint; the sweep delivers
        for decision in joined:
            self._entries.put(decision)

    async def _read_ends(self, decisions: list[Register]) -> None:
        entered = [decision for decision in decisions if decision.session in self._connections]
        if not entered:
            return
        ends = await self._with_backoff("log_ends", self._ends)
        for decision in entered:
            self._delivery.registered(decision.session, ends)
        self._happened()

    async def _ends(self) -> Positions:
        async with asyncio.timeout(LOG_SECONDS):
            return await self._event_log.ends()

    # Waiting for the writer ------------------------------------------------------------------

    def _await_applied(self, decision: AwaitApplied) -> None:
        self._waits[decision.session] = self._spawn(self._wait_applied(decision))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work)

    async def _wait_applied(self, decision: AwaitApplied) -> None:
        # Not for ever: a partition that lags keeps nobody from what is applied of the others.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sweep_interval):
                await self._with_backoff(
                    "catching_up", lambda: self._store.wait_applied(decision.target)
                )
        self._waits.pop(decision.session, None)
        self._delivery.applied(decision.session)
        self._happened()

    async def _with_backoff(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer. The sessions concerned wait; nothing is skipped."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                return await ask()
            except (TimeoutError, LogUnavailable, StoreUnavailable) as error:
                log.warning("waiting", what=what, reason=str(error) or "no answer in time")
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
            backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)

    # Hints -----------------------------------------------------------------------------------

    def _queue_route(self, decision: RouteMessage | RouteStatus) -> None:
        if len(self._routes) < ROUTED_WAITING:
            self._routes.put(decision)
        else:
            self._hints_dropped += 1

    async def _route(self, decisions: list[RouteMessage | RouteStatus]) -> None:
        users: set[str] = set()
        for decision in decisions:
            if isinstance(decision, RouteMessage):
                users.update(decision.message.recipients)
            else:
                users.add(decision.hint.sender)
        try:
            async with asyncio.timeout(DIRECTORY_SECONDS):
                found = await self._directory.lookup(users)
        except (TimeoutError, Unavailable):
            self._directory_failures += 1
            return  # no hint; the sweep delivers
        if not found:
            return
        for decision in decisions:
            if isinstance(decision, RouteMessage):
                recipients = decision.message.recipients
                hint = encode_message_hint(decision.message)
            else:
                recipients = (decision.hint.sender,)
                hint = encode_status_hint(decision.hint)
            addresses = {address for user in recipients for address in found.get(user, ())}
            for address in addresses:
                self._bus.publish(address, hint)

    def _routed(self, value: bytes) -> None:
        hint: Message | StatusHint | None = decode_hint(value)
        if hint is not None:
            self._delivery.routed(hint)
            self._happened()

    # Time ------------------------------------------------------------------------------------

    async def _pulse_for_ever(self) -> None:
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            self._delivery.pulse()

    async def _tick_for_ever(self) -> None:
        while True:
            due = self.clock.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = self.clock.monotonic()
            self._loop_lag_seconds = max(0.0, now - due)
            self._delivery.tick()
            # What they wait for may be away for hours, while clients come and give up.
            if len(self._entries) > len(self._connections):
                self._entries.keep(lambda decision: decision.session in self._connections)
            self._replay.forget_gone(len(self._connections))
            for connection in list(self._connections.values()):
                connection.beat(now)
                if connection.auto_ack:
                    self._check_written(connection)
            self._happened()

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = self.clock.monotonic() + seconds
        while not is_so() and self.clock.monotonic() < deadline:  # noqa: ASYNC110 - at the end, once
            await asyncio.sleep(0.01)

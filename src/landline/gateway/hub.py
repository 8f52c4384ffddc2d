"""The hub: all connections of this server, and what carries out the heart's decisions for them.

Everything that happens is told to the heart at once; what it decides is carried out once per turn
of the event loop. What waits (directory, log, store) is done by a handful of parts, each with a
queue of its own and a batch per round: membership, replay, repeats, routing. They belong to the
hub, not to any connection, so work after an append goes on when the sender has left.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, assert_never

from landline.delivery import Delivery
from landline.delivery.decisions import (
    AppendMessage,
    AppendReads,
    AppendReceipts,
    AwaitApplied,
    Close,
    ConfirmPosition,
    Decision,
    FindOriginal,
    NoteChange,
    OpenDevice,
    PauseReading,
    PushToRoom,
    ReadEnds,
    ReadPending,
    Recognise,
    Register,
    ResumeReading,
    RouteMessage,
    RouteRead,
    RouteStatus,
    TellRoom,
    Transmit,
    Unregister,
)
from landline.delivery.sends import REPEAT_SECONDS
from landline.delivery.unread import PULSE_SECONDS
from landline.gateway.checks import Checks
from landline.gateway.connection import Connection
from landline.gateway.departures import HEARD_SECONDS, Departures
from landline.gateway.devices import Devices
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.held_requests import HeldRequests
from landline.gateway.lobby import Lobby
from landline.gateway.marks import Marks
from landline.gateway.membership import Membership
from landline.gateway.meters import Meters
from landline.gateway.pauses import Pause
from landline.gateway.permissions import NOTHING_ASKED, Authorizing, Permissions
from landline.gateway.posts import Posts
from landline.gateway.reading import Reading
from landline.gateway.repeats import Repeats
from landline.gateway.replay import Replay
from landline.gateway.revocations import Revocations
from landline.gateway.rooms import Rooms
from landline.gateway.routing import Routing
from landline.gateway.sessions import Sessions
from landline.gateway.turns import Turns
from landline.model import Appended, AppendResult
from landline.observability.metrics import (
    Measured,
    series,
)
from landline.ports import (
    Clock,
    ConversationStore,
    DeviceStore,
    Directory,
    EventLog,
    MessageStore,
    RevocationStore,
    RoutingBus,
)
from landline.protocol.client_frames import (
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    BadFrame,
    ChangeMember,
    ChangeRoom,
    ClientFrame,
    Create,
    MarkRead,
    Send,
)
from landline.protocol.codes import CloseCode
from landline.protocol.records import ReadRecord

DRAIN_SECONDS = 6.5
ANSWERED_SECONDS = 0.5
FAREWELL_SECONDS = 3.5
FIRST_RETRY_MS = 200
RETRY_STEP_MS = 5
LAST_RETRY_MS = 10_000

TICK_SECONDS = 1.0


class Hub:
    """All connections of this server, and the tasks that serve them."""

    def __init__(
        self,
        *,
        delivery: Delivery,
        clock: Clock,
        new_id: Callable[[], str],
        event_log: EventLog,
        store: MessageStore,
        devices: DeviceStore,
        conversations: ConversationStore,
        revocations: RevocationStore,
        directory: Directory,
        bus: RoutingBus,
        sweep_interval: float,
        device_expiry: float,
        gate: Gatekeeper,
        doors: Doors,
        authorizing: Authorizing | None = None,
        are_rooms_for_everybody: bool = True,
    ) -> None:
        """`authorizing`: who says who may write to whom; None: everybody may to everybody.
        `are_rooms_for_everybody`: or for the product alone.
        """
        self.clock = clock
        self.turns = Turns(clock)
        self._delivery = delivery
        self._event_log = event_log
        self._store = store
        self._connections: dict[str, Connection] = {}
        self._is_performing_due = False
        self._is_over = False
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: asyncio.TaskGroup | None = None
        self._meters = Meters()
        is_connected, happened = self._connections.__contains__, self._happened
        self._membership = Membership(
            event_log=event_log,
            directory=directory,
            delivery=delivery,
            is_connected=is_connected,
            happened=happened,
        )
        self._devices = Devices(
            event_log=event_log,
            store=devices,
            delivery=delivery,
            is_connected=is_connected,
            spawn=self._spawn,
            happened=happened,
            expiry_seconds=device_expiry,
            clock=clock,
            has_sessions_elsewhere=self._membership.has_sessions_elsewhere,
            recognised=self._recognised,
        )
        self._replay = Replay(
            store=store,
            delivery=delivery,
            is_connected=is_connected,
            spawn=self._spawn,
            happened=happened,
            sweep_interval=sweep_interval,
        )
        self._repeats = Repeats(
            event_log=event_log,
            store=store,
            delivery=delivery,
            spawn=self._spawn,
            happened=happened,
            repeat_seconds=REPEAT_SECONDS if delivery.has_others else 0.0,
        )
        self._doors = doors
        self.lobby = Lobby(gate, doors, self._spawn)
        self._permissions: Permissions | None = None
        if authorizing is not None:
            self._permissions = Permissions(authorizing, clock=clock, spawn=self._spawn)
        self._rooms = Rooms(
            event_log=event_log,
            store=store,
            conversations=conversations,
            delivery=delivery,
            clock=clock,
            spawn=self._spawn,
            happened=happened,
        )
        checks = Checks(
            self._rooms,
            self._permissions,
            record_version=lambda: store.record_version,
            is_for_everybody=are_rooms_for_everybody,
        )
        self._held = HeldRequests(checks, delivery=delivery, spawn=self._spawn, happened=happened)
        self.questions = Reading(
            event_log=event_log,
            store=store,
            conversations=conversations,
            tell=self._answered,
            spawn=self._spawn,
        )
        self.posts = Posts(delivery=delivery, new_id=new_id, happened=happened, checks=checks)
        self.marks = Marks(delivery=delivery, happened=happened, checks=checks)
        self.revocations = Revocations(
            store=revocations,
            bus=bus,
            clock=clock,
            close_sessions=self._close_sessions,
            poll_seconds=sweep_interval,
        )
        self.departures = Departures(
            event_log=event_log,
            store=store,
            devices=devices,
            conversations=conversations,
            revocations=self.revocations,
            posts=self.posts,
            heard_seconds=HEARD_SECONDS if delivery.has_others else 0.0,
        )
        self.sessions = Sessions(delivery, directory, self._connections, clock)
        self._routing = Routing(
            directory=directory,
            bus=bus,
            delivery=delivery,
            happened=happened,
            revoked=self.revocations.heard,
            room_changed=self._rooms.changed,
        )

    async def listen(self) -> None:
        """Hear hints from now on: before the first session is in the directory."""
        await self._routing.listen()
        await self.revocations.load()

    async def run(self) -> None:
        """Serve until cancelled. A defect in any task ends all of them, loudly."""
        async with asyncio.TaskGroup() as self._tasks:
            for part in (
                self._membership,
                self._devices,
                self._replay,
                self._routing,
                self.revocations,
            ):
                self._tasks.create_task(part.run())
            self._tasks.create_task(self._tick_for_ever())
            if self._delivery.has_others:
                self._tasks.create_task(self._pulse_for_ever())
            try:
                await self._fatal
            finally:
                self._is_over = True  # before the tasks end: a group that ends takes no more
                self._ask_nobody()

    def measure(self) -> Measured:
        """Return what the metrics show of connections and deliveries."""
        measured = self._meters.measure(self._delivery)
        measured |= {
            series("landline_connections"): len(self._connections),
            series("landline_directory_failures_total"): (
                self._membership.failures + self._routing.failures
            ),
            series("landline_hints_dropped_total"): self._routing.dropped,
            series("landline_room_pushes_dropped_total"): self._rooms.dropped,
            series("landline_revocations_total"): self.revocations.obeyed,
        }
        asked = self._permissions.measure() if self._permissions is not None else NOTHING_ASKED
        return {**measured, **asked}

    async def drain(self) -> None:
        """Answer what is in flight, then close every connection with a time to come back."""
        self._delivery.drain()
        self._ask_nobody()
        self._happened()
        await self._until(lambda: self._delivery.is_drained() and not self._held, DRAIN_SECONDS)
        # Answers are on their way.
        await self._until(lambda: not len(self.posts) and not len(self.marks), ANSWERED_SECONDS)
        self.posts.end()
        self.marks.end()
        spread = min(LAST_RETRY_MS, RETRY_STEP_MS * len(self._connections))
        self._delivery.close_all(FIRST_RETRY_MS, FIRST_RETRY_MS + spread)
        self.lobby.close_all(CloseCode.RESTARTING, f"retry_after_ms={FIRST_RETRY_MS}")
        self._happened()
        await self._until(lambda: not self._connections and not len(self.lobby), FAREWELL_SECONDS)
        for connection in list(self._connections.values()):
            connection.abort()

    # What connections tell -------------------------------------------------------------------

    @property
    def knows_rooms(self) -> bool:
        """Say whether records of version 2 may be written: every server knows rooms and devices."""
        return self._store.record_version > 1

    @property
    def connection_count(self) -> int:
        """Return how many connections are open, those that have not signed in yet included."""
        return len(self._connections) + len(self.lobby)

    def opened(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections[connection.session] = connection
        if self.revocations.is_refused(connection.user):
            # It became known while this one was being let in.
            connection.close(CloseCode.FORBIDDEN, CloseCode.FORBIDDEN.means)
            return
        principal = connection.principal
        assert principal is not None, "it is known whose it is"
        if connection.device is None and self._store.record_version == 2:
            # Which mailbox it uses is to be known before it sends, or it might get it back.
            connection.pause(Pause.RECOGNITION)
        self._delivery.connect(
            connection.session,
            principal.user,
            auto_ack=connection.auto_ack,
            is_limited=not principal.is_service,
            device=connection.device,
        )
        self._happened()

    def _recognised(self, session: str) -> None:
        if (connection := self._connections.get(session)) is not None:
            connection.resume(Pause.RECOGNITION)

    def closed(self, connection: Connection, code: int) -> None:
        """A connection is gone; `code` is that of the first close frame, 1006 if there was none."""
        self._meters.closed(code)
        self._connections.pop(connection.session, None)
        self._delivery.disconnect(connection.session)
        self._replay.forget(connection.session)
        self._happened()

    def received(self, connection: Connection, frame: ClientFrame) -> None:
        """A good frame has arrived."""
        if self._is_over:
            return  # nobody is left who could find out whether it is allowed, or answer it
        if isinstance(frame, Send | Create | ChangeMember | ChangeRoom | MarkRead):
            self._held.take(connection, frame)
        elif isinstance(frame, AskList | AskHistory | AskMembers | AskDelivery):
            self._delivery.heard(connection.session)
            self.questions.put(connection, frame)
        else:
            self._delivery.receive(connection.session, frame)
        self._happened()

    def _answered(self, connection: Connection, frame: bytes) -> None:
        """There is an answer to a question. It waits behind the welcome, as everything does."""
        self._delivery.answer(connection.session, frame)
        self._happened()

    def received_bad(self, connection: Connection, bad: BadFrame) -> None:
        """A bad frame has arrived."""
        self._delivery.receive_bad(connection.session, bad)
        self._happened()

    def writable(self, connection: Connection, is_writable: bool) -> None:
        """A write buffer has filled up or drained."""
        self._delivery.writable(connection.session, is_writable)
        self._happened()

    def reading(self, connection: Connection, is_read: bool) -> None:
        """Its socket is read from now on, or is not, for whatever reason."""
        if self._delivery.has_others:
            self._delivery.reading(connection.session, is_read)

    def left_unread(self, connection: Connection, since: float) -> None:
        """What a connection has said until now may have waited since then."""
        if self._delivery.has_others:
            self._delivery.left_unread(connection.session, since)

    def _ask_nobody(self) -> None:
        if self._permissions is not None:
            self._permissions.end()

    # Carrying out ----------------------------------------------------------------------------

    def _happened(self) -> None:
        if not self._is_performing_due:
            self._is_performing_due = True
            self._fatal.get_loop().call_soon(self._perform)

    def _perform(self) -> None:
        self._is_performing_due = False
        if self._is_over:
            return  # nobody is left to carry anything out
        written: list[Connection] = []
        try:
            self._delivery.end_turn()
            for decision in self._delivery.take_decisions():
                self._carry_out(decision, written)
            if self._delivery.has_more:
                self._happened()
        except Exception as error:  # noqa: BLE001 - a defect, decisions are lost: it must end
            self.fail(error)
        for connection in written:
            self._check_written(connection)

    def _carry_out(  # noqa: C901, PLR0912 - a branch for each decision
        self, decision: Decision, written: list[Connection]
    ) -> None:
        """Carry out a decision. `written` collects connections that a frame was written to.
        Frequent decisions come first.
        """
        if isinstance(decision, Transmit):
            if (connection := self._connections.get(decision.session)) is not None:
                connection.transmit(decision.frame)
                if connection.auto_ack:
                    written.append(connection)
            else:
                self.posts.answer(decision.session, decision.frame)
            return
        # Patterns without fields: those with fields take several times as long.
        match decision:
            case AppendMessage():
                tell = partial(self._delivery.message_appended, decision.flight)
                self._append(decision.flight.record.conversation, decision.value, tell)
            case AppendReceipts():
                tell = partial(self._delivery.receipts_appended, decision.batch)
                self._append(decision.batch.conversation, decision.value, tell)
            case RouteMessage() | RouteStatus() | RouteRead():
                self._routing.put(decision)
            case PushToRoom() | TellRoom():
                self._rooms.put(decision)
            case NoteChange():
                self._rooms.changed(decision.room, decision.offset)
                if self._delivery.has_others:
                    self._routing.tell_change(decision.room, decision.offset)
            case AppendReads():
                tell = partial(self._reads_appended, decision.record)
                self._append(decision.record.conversation, decision.value, tell)
            case ReadPending():
                self._replay.put(decision)
            case AwaitApplied():
                self._replay.await_applied(decision)
            case PauseReading() | ResumeReading() | Close():
                if (connection := self._connections.get(decision.session)) is not None:
                    _order(connection, decision)
            case FindOriginal():
                self._repeats.find(decision)
            case ConfirmPosition():
                self._repeats.confirm(decision)
            case Register() | ReadEnds() | Unregister():
                self._membership.put(decision)
            case Recognise() | OpenDevice():
                self._devices.put(decision)
            case _:
                assert_never(decision)

    def _reads_appended(self, record: ReadRecord, result: AppendResult) -> None:
        self._delivery.reads_appended(record, result)
        if isinstance(result, Appended):
            self.marks.appended(record, result.position.offset)

    def _append(self, key: str, value: bytes, tell: Callable[[AppendResult], None]) -> None:
        started = self.clock.monotonic()

        def done(result: AppendResult) -> None:
            # Called by the log, which is no place for a defect of ours to end in.
            try:
                self._meters.append_seconds.observe(self.clock.monotonic() - started)
                tell(result)
                self._happened()
            except Exception as error:  # noqa: BLE001
                self.fail(error)

        self._event_log.append(key, value, done)

    def fail(self, error: BaseException) -> None:
        """End the server because of a defect. Nothing accepted is lost by that."""
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _close_sessions(self, user: str) -> int:
        self._happened()
        return self._delivery.close_user(user, CloseCode.FORBIDDEN, CloseCode.FORBIDDEN.means)

    def _check_written(self, connection: Connection) -> None:
        if connection.is_flushed():
            self._delivery.written(connection.session)
            self._happened()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work)

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
            self._meters.loop_lag_seconds = max(0.0, now - due)
            self._delivery.tick()
            self._membership.forget_gone(len(self._connections))
            self._devices.forget_gone(len(self._connections))
            self._replay.forget_gone(len(self._connections))
            self._doors.forget_idle(now)
            if self._permissions is not None:
                self._permissions.forget_old()
            for connection in list(self._connections.values()):
                connection.beat(now)
                if connection.auto_ack:
                    self._check_written(connection)
            self._happened()

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = self.clock.monotonic() + seconds
        while not is_so() and self.clock.monotonic() < deadline:  # noqa: ASYNC110 - at the end, once
            await asyncio.sleep(0.01)


def _order(connection: Connection, decision: PauseReading | ResumeReading | Close) -> None:
    match decision:
        case PauseReading():
            connection.pause(Pause.FLIGHTS)
        case ResumeReading():
            connection.resume(Pause.FLIGHTS)
        case Close():
            connection.close(decision.code, decision.reason)
        case _:
            assert_never(decision)

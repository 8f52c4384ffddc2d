"""Revocations: whoever is open when a server learns of one has to go, by whatever way it learns."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import structlog

from landline.adapters.memory import MemoryRoutingBus
from landline.errors import StoreUnavailable
from landline.gateway import revocations
from landline.gateway.revocations import Revocations
from landline.model import Revocation
from landline.ports import RevocationStore
from landline.protocol.hints import decode_hint
from simulation.good_weather import ModelRevocationStores
from support.clock import Clock
from support.waiting import running, until

SECOND_MS = 1_000


class Bus(MemoryRoutingBus):
    """Keeps what is for all, for the test to hand over or to lose."""

    def __init__(self) -> None:
        super().__init__({}, "ws/run")
        self.sent: list[Revocation] = []

    def publish_to_all(self, hint: bytes) -> None:
        revocation = decode_hint(hint)
        assert isinstance(revocation, Revocation)
        self.sent.append(revocation)


class Store:
    """Rows that everybody shares, behind a line that can fail, or hold up an answer."""

    def __init__(self, rows: RevocationStore) -> None:
        self.rows = rows
        self.is_down = False
        self.looks = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        self._check()
        return await self.rows.revoke(user, until_ms)

    async def standing(self, now_ms: int) -> Sequence[Revocation]:
        self._check()
        return await self.rows.standing(now_ms)

    async def since(self, revoked_at: int, limit: int) -> Sequence[Revocation]:
        self._check()
        found = await self.rows.since(revoked_at, limit)
        self.looks += 1
        await self.answers.wait()
        return found

    def _check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("not now")


@dataclass
class Server:
    """The sessions of one server, and what ends them."""

    clock: Clock
    store: Store
    bus: Bus = field(default_factory=Bus)
    sessions: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.revocations = Revocations(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            close_sessions=self.close,
            poll_seconds=0.01,
        )

    def open(self, user: str, number: int = 0) -> None:
        """Let somebody in, as the hub does."""
        if not self.revocations.is_refused(user):
            self.sessions.setdefault(user, []).append(number)

    def close(self, user: str) -> int:
        return len(self.sessions.pop(user, []))

    async def polled(self) -> None:
        """Look into the store as `run` does now and then."""
        await self.revocations._has_done(self.revocations._read)


@pytest.fixture
async def servers() -> list[Server]:
    clock, stores = Clock(), ModelRevocationStores()
    servers = [Server(clock, Store(await stores.revocations())) for _ in range(3)]
    for server in servers:
        await server.revocations.load()
    return servers


async def test_the_server_that_is_asked_ends_its_sessions_and_tells_the_others(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    for server in (one, two):
        server.open("alice")
        server.open("bob")
    revocation = await one.revocations.revoke("alice", None, "backend")
    assert one.sessions.keys() == {"bob"}
    assert one.bus.sent == [revocation]
    two.revocations.heard(revocation)
    assert two.sessions.keys() == {"bob"}
    assert two.bus.sent == [], "one tells all, and nobody passes it on"


async def test_without_the_hint_the_poll_finds_it(servers: list[Server]) -> None:
    one, two, _ = servers
    two.open("alice")
    async with running(two.revocations.run()):
        await one.revocations.revoke("alice", None, "backend")
        await until(lambda: not two.sessions, "alice is closed there too")


async def test_what_a_hint_has_told_is_not_obeyed_again_by_the_poll(servers: list[Server]) -> None:
    """Whoever has come back meanwhile stays."""
    one, two, _ = servers
    revocation = await one.revocations.revoke("alice", None, "backend")
    two.revocations.heard(revocation)
    for server in (one, two):
        server.open("alice")
        await server.polled()
        server.revocations.heard(revocation)
        assert "alice" in server.sessions
    assert two.revocations.obeyed == 1


async def test_an_older_hint_means_nothing_behind_a_newer_one(servers: list[Server]) -> None:
    one, two, _ = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    older = await one.revocations.revoke("alice", until_ms, "backend")
    newer = await one.revocations.revoke("alice", 0, "backend")
    two.revocations.heard(newer)
    two.open("alice")
    two.revocations.heard(older)
    assert "alice" in two.sessions
    assert not two.revocations.is_refused("alice")


async def test_until_then_nobody_is_let_in_and_then_they_are(servers: list[Server]) -> None:
    one, two, three = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    revocation = await one.revocations.revoke("alice", until_ms, "backend")
    assert revocation.until_ms == until_ms
    two.revocations.heard(revocation)
    await three.polled()
    for server in servers:
        assert server.revocations.is_refused("alice")
        assert not server.revocations.is_refused("bob")
    one.clock.now += 30
    for server in servers:
        await server.polled()
        assert server.revocations.is_refused("alice"), "it is not forgotten meanwhile"
    one.clock.now += 30
    for server in servers:
        assert not server.revocations.is_refused("alice")


async def test_until_stays_when_sessions_are_closed_again_and_ends_with_one_in_the_past(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    await one.revocations.revoke("alice", until_ms, "backend")
    assert (await two.revocations.revoke("alice", None, "backend")).until_ms == until_ms
    assert (await two.revocations.revoke("alice", 1, "backend")).until_ms is None
    await one.polled()
    assert not one.revocations.is_refused("alice")
    assert not two.revocations.is_refused("alice")


async def test_a_server_that_starts_knows_who_is_refused_and_closes_nobody_for_what_was_before(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    await one.revocations.revoke("alice", until_ms, "backend")
    await one.revocations.revoke("bob", None, "backend")
    again = Server(two.clock, two.store)
    await again.revocations.load()
    assert again.revocations.is_refused("alice")
    again.open("bob")
    await again.polled()
    assert "bob" in again.sessions


async def test_a_start_waits_for_the_store(servers: list[Server]) -> None:
    """Else somebody who is refused would be let in."""
    one, two, _ = servers
    await one.revocations.revoke("alice", one.clock.wall_ms() + 60 * SECOND_MS, "backend")
    again = Server(two.clock, two.store)
    two.store.is_down = True
    loading = asyncio.create_task(again.revocations.load())
    await asyncio.wait({loading}, timeout=0.05)
    assert not loading.done()
    two.store.is_down = False
    await loading
    assert again.revocations.is_refused("alice")


async def test_a_store_in_trouble_is_asked_again_and_misses_nothing(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(revocations, "READ_SECONDS", 0.05)
    one, two, _ = servers
    users = [f"user{number}" for number in range(7)]
    for user in users:
        two.open(user)
    with structlog.testing.capture_logs() as lines:
        async with running(two.revocations.run()):
            two.store.is_down = True
            for user in users:
                await one.revocations.revoke(user, None, "backend")
            await until(lambda: bool(lines), "it says that it cannot read")
            two.store.is_down = False
            two.store.answers.clear()
            await asyncio.sleep(0.1)  # a store that is silent, beyond the deadline
            two.store.answers.set()
            await until(lambda: not two.sessions, "all are closed")
    assert [line["event"] for line in lines].count("revocations_unread") == 1


async def test_what_cannot_be_entered_closes_nobody(servers: list[Server]) -> None:
    """The answer says so, and the one who asks does it again."""
    one = servers[0]
    one.open("alice")
    one.store.is_down = True
    with pytest.raises(StoreUnavailable):
        await one.revocations.revoke("alice", None, "backend")
    assert one.bus.sent == []
    assert "alice" in one.sessions


async def test_the_log_says_who_closed_whom_and_how_many_were_there(servers: list[Server]) -> None:
    one = servers[0]
    one.open("alice")
    one.open("alice")
    with structlog.testing.capture_logs() as lines:
        await one.revocations.revoke("alice", None, "backend")
    assert [{**line, "log_level": ""} for line in lines] == [
        {"event": "user_revoked", "user": "alice", "by": "backend", "until": None, "log_level": ""},
        {"event": "user_sessions_closed", "user": "alice", "count": 2, "log_level": ""},
    ]


async def test_what_is_over_is_forgotten(servers: list[Server]) -> None:
    one, two, _ = servers
    for number in range(50):
        until_ms = one.clock.wall_ms() + SECOND_MS if number % 2 else None
        two.revocations.heard(await one.revocations.revoke(f"user{number}", until_ms, "backend"))
    one.clock.now += 2 + revocations.KEPT_MS / SECOND_MS
    for server in (one, two):
        await server.polled()
        assert server.revocations._known == {}


async def test_an_answer_of_the_store_does_not_undo_what_was_heard_since_the_question(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    await one.revocations.revoke("alice", None, "backend")
    two.store.answers.clear()
    reading = asyncio.create_task(two.polled())
    await until(lambda: two.store.looks == 1, "the store has looked, and not answered yet")
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    two.revocations.heard(await one.revocations.revoke("alice", until_ms, "backend"))
    two.store.answers.set()
    await reading
    assert two.revocations.is_refused("alice")
    await two.polled()
    assert two.revocations.is_refused("alice")


async def test_a_row_that_is_older_than_a_hint_from_before_the_question_is_believed(
    servers: list[Server],
) -> None:
    """Whoever can write hints alone can neither let anybody in nor keep anybody out for long."""
    one, two, _ = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    two.revocations.heard(Revocation("alice", 1_000_000, 0))
    two.revocations.heard(Revocation("bob", 1_000_000, None))
    await one.revocations.revoke("alice", until_ms, "backend")
    await two.polled()
    assert two.revocations.is_refused("alice")
    assert two.revocations._known.keys() == {"alice"}


async def test_a_clock_that_was_ahead_for_a_while_has_lifted_nothing_for_good(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    until_ms = one.clock.wall_ms() + 60 * SECOND_MS
    two.revocations.heard(await one.revocations.revoke("alice", until_ms, "backend"))
    one.clock.now += 3600
    again = Server(one.clock, one.store)
    await again.revocations.load()
    for server in (one, two, again):
        await server.polled()
        assert not server.revocations.is_refused("alice")
    one.clock.now -= 3600
    for server in (one, two, again):
        assert server.revocations.is_refused("alice")


async def restored(*servers: Server) -> None:
    """Put the store back to a time before there was any revocation, and its clock with it."""
    rows = await ModelRevocationStores().revocations()
    for server in servers:
        server.store.rows = rows


async def test_behind_a_store_that_has_gone_back_a_revocation_is_obeyed_where_it_was_made_and_read(
    servers: list[Server],
) -> None:
    one, two, _ = servers
    for user in ("alice", "bob", "carol"):
        await one.revocations.revoke(user, one.clock.wall_ms() + 60 * SECOND_MS, "backend")
    await one.revocations.revoke("alice", 0, "backend")
    await one.polled()
    await two.polled()
    await restored(one, two)
    one.open("alice")
    two.open("alice")
    await one.revocations.revoke("alice", one.clock.wall_ms() + 60 * SECOND_MS, "backend")
    assert not one.sessions
    with structlog.testing.capture_logs() as lines:
        for server in (one, two):
            await server.polled()
            assert not server.sessions
            assert server.revocations.is_refused("alice")
            assert not server.revocations.is_refused("bob"), "the store does not say so any more"
            await server.polled()
    assert [line["event"] for line in lines].count("revocations_gone_back") == 2
    two.open("carol")
    two.revocations.heard(await one.revocations.revoke("carol", None, "backend"))
    assert not two.sessions, "hints mean something again"


async def test_of_the_row_in_the_last_one_s_place_nothing_is_inferred(
    servers: list[Server],
) -> None:
    """The last user who was read of is revoked once more: the store has not gone back."""
    one, two, _ = servers
    await one.revocations.revoke("alice", None, "backend")
    await two.polled()
    await one.revocations.revoke("alice", None, "backend")
    with structlog.testing.capture_logs() as lines:
        await two.polled()
        await two.polled()
    assert {line["event"] for line in lines} <= {"user_sessions_closed"}
    assert two.revocations.obeyed == 2


async def test_a_look_that_has_failed_is_repeated_soon(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one failure alone takes the time that all servers have."""
    one, two, _ = servers
    two.open("alice")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        if not pauses:
            await one.revocations.revoke("alice", None, "backend")
        pauses.append(seconds)
        two.store.is_down = len(pauses) == 1
        if not two.sessions:
            await asyncio.Event().wait()

    two.revocations = Revocations(
        store=two.store, bus=two.bus, clock=two.clock, close_sessions=two.close, poll_seconds=60.0
    )
    monkeypatch.setattr("landline.gateway.revocations.asyncio.sleep", sleep)
    looking = asyncio.create_task(two.revocations.run())
    await asyncio.wait({looking}, timeout=0.05)
    looking.cancel()
    assert not two.sessions
    assert sum(pauses[:2]) + revocations.READ_SECONDS < 15
    assert pauses[:2] == [revocations.POLL_SECONDS, revocations.RETRY_SECONDS]


@pytest.mark.parametrize("seed", range(20))
async def test_nobody_slips_through_whatever_is_lost_late_or_out_of_order(
    servers: list[Server], seed: int
) -> None:
    """A session that was open before the last revocation of its user is gone in the end, and one
    that is refused is never there once its server has looked.
    """
    chance = random.Random(seed)
    clock = servers[0].clock
    users = ["alice", "bob", "carol"]
    on_their_way: list[tuple[Server, Revocation]] = []
    revoked_at = dict.fromkeys(users, 0)
    refused_until: dict[str, int] = {}
    for number in range(1, 400):
        server, user = chance.choice(servers), chance.choice(users)
        server.store.is_down = chance.random() < 0.3
        match chance.choice(["open", "open", "revoke", "hint", "poll", "time"]):
            case "open":
                server.open(user, number)
            case "revoke" if not server.store.is_down:
                until_ms = chance.choice([None, None, 0, clock.wall_ms() + 5 * SECOND_MS])
                revocation = await server.revocations.revoke(user, until_ms, "backend")
                on_their_way += [(each, revocation) for each in servers]
                revoked_at[user] = number
                refused_until[user] = revocation.until_ms or 0
            case "hint" if on_their_way:
                to, revocation = on_their_way.pop(chance.randrange(len(on_their_way)))
                if chance.random() < 0.6:
                    to.revocations.heard(revocation)
            case "poll":
                await server.polled()
            case "time":
                clock.now += 1
    for server in servers:
        server.store.is_down = False
        await server.polled()
        for user in users:
            assert all(opened > revoked_at[user] for opened in server.sessions.get(user, ()))
            is_refused = refused_until.get(user, 0) > clock.wall_ms()
            assert server.revocations.is_refused(user) == is_refused
            if is_refused:
                assert user not in server.sessions

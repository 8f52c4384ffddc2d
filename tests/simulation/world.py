"""The world: servers over one log and store, clients, and what happens to them, by seed.

A schedule has three parts. *Load*: clients do what clients do while faults strike. *Calm*: log and
store are healed, hints and directory are not; what is accepted now must arrive within the sweep.
*Final*: everything is healed, everybody connects once more, and all must come to rest.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from landline import retention, writer
from landline.delivery import (
    acceptances,
    ahead,
    delivery,
    flights,
    intake,
    memory,
    receipts,
    session,
    unread,
    window,
)
from landline.gateway import hub, membership, repeats, replay
from landline.model import PendingQuery
from landline.protocol.identity import direct_conversation, message_id
from landline.protocol.records import MessageRecord, decode_record
from simulation.bus import Exchange
from simulation.clients import BAD, EMPTY, PING, Client, Outgoing, digest
from simulation.directory import Registry
from simulation.log import Log
from simulation.loop import SimulatedLoop
from simulation.plan import Plan
from simulation.process import Process
from simulation.store import Store
from simulation.weather import Weather

# Small bounds and short deadlines, so that short schedules reach every edge.
BOUNDS: dict[Any, dict[str, Any]] = {
    session: {"WINDOW": 6, "PAGE_ROWS": 3, "DEAF_SECONDS": 1.0},
    window: {"WINDOW": 6},
    ahead: {"AHEAD_CONVERSATIONS": 2},
    memory: {"HELD_MESSAGES": 3, "REMEMBERED_IDS": 4, "PUSHED_IDS": 12, "OWN_IDS": 5},
    delivery: {"WRITE_TIMEOUT_SECONDS": 2.0},
    intake: {"SESSION_FLIGHTS": 4},
    flights: {"FLIGHTS": 14},
    receipts: {"RECEIPTS_PER_RECORD": 4},
    hub: {"DRAIN_SECONDS": 3.0, "FAREWELL_SECONDS": 1.0},
    membership: {"LOG_SECONDS": 1.0},
    replay: {"STORE_SECONDS": 1.5, "PART_SECONDS": 0.5, "SWEEP_QUERIES": 3, "PAGES_AT_ONCE": 4},
    repeats: {"FIND_SECONDS": 3.0, "CONFIRM_SECONDS": 1.0},
    retention: {"RETENTION_WATCH_SECONDS": 1.0, "LOG_ANSWER_SECONDS": 1.0},
    writer: {
        "BATCH_ENTRIES": 5,
        "APPLY_SECONDS": 2.0,
        "STORE_ANSWER_SECONDS": 1.0,
        "STAND_BY_SECONDS": 0.5,
        "_LAST_BACKOFF_SECONDS": 0.5,
    },
}
CRAMPED: dict[Any, dict[str, Any]] = {
    memory: {"HELD_BYTES": 1_600, "ALL_HELD_BYTES": 2_400, "ALL_PUSHED_BYTES": 6 * 320},
    acceptances: {"REMEMBERED_ACCEPTANCES": 3, "REMEMBERED_SECONDS": 2.0},
    flights: {"FLIGHTS": 5},
    receipts: {
        "QUEUED_RECEIPTS": 4,
        "SETTLED_RECEIPTS": 6,
        "TOLD_RECEIPTS": 8,
        "TOLD_SECONDS": 2.0,
    },
}

# Within this long after `accepted` a connected recipient has the message, once log and store are
# healthy: writer's lag + sweep + a second for what a page waits for.
STRANDED_SECONDS = 6.0
# In a run without faults a connected recipient has it before the next sweep could have helped.
PROMPT_SECONDS = 1.5
# Who has waited for a store that is away for this long (and a tick) hears live messages within
# this long: a message before it may have to be looked for in the store first, which fails.
DEAF_SECONDS = BOUNDS[session]["DEAF_SECONDS"] + hub.TICK_SECONDS
HEARD_SECONDS = PROMPT_SECONDS + BOUNDS[repeats]["CONFIRM_SECONDS"]
# Within this long after the last fault everything has come to rest.
REST_SECONDS = 20.0
# So many sessions may it take each user, where there is room for a few receipts only.
FINAL_ROUNDS = 12

NETWORK_FAULTS = frozenset({"directory", "hints", "gaps"})


@contextmanager
def bounds(plan: Plan) -> Iterator[None]:
    """Set the bounds of the server's modules for a run; silence its log."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    state = random.getstate()
    random.seed(plan.seed)
    changed: list[tuple[Any, str, Any]] = []
    try:
        for table in (BOUNDS, CRAMPED if "cramped" in plan.faults else {}):
            for module, values in table.items():
                for name, value in values.items():
                    changed.append((module, name, getattr(module, name)))
                    setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(changed):
            setattr(module, name, value)
        random.setstate(state)
        structlog.configure(**before)


class World:
    """Everything, and the history of what was seen."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, rng: random.Random) -> None:
        self.plan = plan
        self.rng = rng
        self.loop = loop
        self.history: list[dict[str, Any]] = []
        self.defects: list[str] = []
        self.happened: Counter[str] = Counter()
        self.weather = Weather(rng, plan.faults)
        self.log = Log(self.weather, plan.partitions)
        self.store = Store(self.weather)
        self.store.watch = lambda applied: self.note("sample", what="applied", value=applied)
        self.registry = Registry(self.weather)
        self.exchange = Exchange(self.weather, plan.seed)
        self.processes: dict[str, Process] = {}
        self.clients = [Client(self, f"user{n}") for n in range(plan.users)]
        if plan.has_auto:
            self.clients.append(Client(self, "auto", is_auto=True))
        self._names = 0
        self._background: set[asyncio.Task[None]] = set()
        self._actions = self._choose_actions()

    def note(self, kind: str, **fields: Any) -> None:
        """Write an event into the history."""
        self.history.append({"t": self.loop.time(), "kind": kind, **fields})

    def next_name(self, prefix: str) -> str:
        """Return a name that nothing else has."""
        self._names += 1
        return f"{prefix}{self._names}"

    # The schedule --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live through the whole schedule."""
        self.note("run", version=1, seed=self.plan.seed, urls=[], options={}, started_at="",
                  sweep_interval=2.0, deadline=10.0)  # fmt: skip
        for index in range(self.plan.servers):
            await self._start(f"ws-{index + 1}", is_writer=index < self.plan.writers)
        if "mailbox" in self.plan.faults:
            self.happened["mailbox"] += 1
            unreadable = self.clients[self.plan.users - 1].user
            self.store.unreadable.add(unreadable)
            self.note("mailbox", user=unreadable)
        self.note("phase", name="load")
        for client in self.clients:
            self._connect(client)
        actions, weights = zip(*self._actions, strict=True)
        for _ in range(self.plan.steps):  # one by one: fewer steps are the first of them
            self.rng.choices(actions, weights)[0]()
            await asyncio.sleep(self.rng.random() ** 3 * 0.6)
        await self._heal()
        if "away" in self.plan.faults:
            await self._miss_store()
        await self._calm()
        await self._finish()

    async def _heal(self) -> None:
        """Mend log, store and servers, and have every client behave."""
        self.note("phase", name="heal")
        self.weather.faults &= NETWORK_FAULTS
        while self._background:
            await asyncio.wait(self._background)
        for client in self.clients:
            for link in list(client.links):
                link.behaviour = "steady"
                link.read(True)
                client.acknowledge(link)

    async def _miss_store(self) -> None:
        """The store is away, and nothing else: people come all the same, and write to each other.

        A server that was paused asks the store about every send for a while; that is over by then.
        """
        await asyncio.sleep(unread.AFTER_SECONDS if "pause" in self.plan.faults else 0)
        await self._all_live()
        await self._until(self._is_all_told, REST_SECONDS)  # it may be more than may be held
        await asyncio.sleep(PROMPT_SECONDS)
        healed = self._strike("away", "store")
        self.weather.leave("store")
        self.note("phase", name="away")
        for client in self.clients:
            self._connect(client)
        await asyncio.sleep(self.rng.random())
        for _ in range(BOUNDS[memory]["HELD_MESSAGES"]):  # not more than may be held
            self._send()
        await asyncio.sleep(DEAF_SECONDS)
        for _ in range(6):
            self._send()
            await asyncio.sleep(self.rng.random())
        await asyncio.sleep(DEAF_SECONDS + HEARD_SECONDS)
        self.note("phase", name="back")
        self.weather.come_back("store")
        healed()

    async def _all_live(self) -> None:
        await asyncio.sleep(3.5)  # requests and black holes of before come to their end
        for client in self.clients:
            if not client.links:
                self._connect(client)
        well = [client for client in self.clients if client.user not in self.store.unreadable]

        def is_live() -> bool:
            return all(each.is_live for client in well for each in client.links)

        await self._until(is_live, 30.0)
        if self.store.unreadable and not is_live():
            self.note("sample", what="unfinished", value="not live, for somebody else's mailbox")

    async def _calm(self) -> None:
        """Send to people who are connected and stay so."""
        await self._all_live()
        if self.plan.faults & {"flood", "stuck"}:
            # What was sent before may be too much to be acknowledged in time beside a flood, and
            # what was sent into a full window just now is not in the store of a stuck writer.
            await self._until(self._is_all_told, REST_SECONDS)
        self.note("phase", name="calm")
        with self._stuck_partition() as stuck, self._flood(stuck) as flooded:
            repeated = self._repeat_outside(stuck)
            if flooded is not None:  # first it grows to more than they acknowledge in that time
                await asyncio.sleep(2.0)
            for number in range(5):
                self._send_in_calm(stuck, flooded if number == 0 else None)
                await asyncio.sleep(self.rng.random() * 0.3)
            await asyncio.sleep(STRANDED_SECONDS)
            if repeated is not None and any(each.is_waiting_for(repeated) for each in self.clients):
                self.note("sample", what="repeat", value=f"{repeated.ref} has no answer")

    @contextmanager
    def _stuck_partition(self) -> Iterator[int | None]:
        """Have the writers lose sight of a partition that holds something new."""
        if "stuck" not in self.plan.faults:
            yield None
            return
        self.happened["stuck"] += 1
        stuck = self.rng.randrange(self.log.partitions)
        self.log.unread.add(stuck)
        key = next(f"dm:{n}:x" for n in range(99) if self.log.partition_of(f"dm:{n}:x") == stuck)
        self.log.put(key, b"{}")
        yield stuck
        self.log.see(stuck)

    def _conversations_outside(self, stuck: int | None) -> Iterator[tuple[Client, Client]]:
        for one in self.clients:
            for other in self.clients:
                conversation = direct_conversation(one.user, other.user)
                if self.log.partition_of(conversation) != stuck:
                    yield one, other

    def _send_in_calm(self, stuck: int | None, flooded: Client | None) -> None:
        """Send something that has to arrive: to who is flooded by others, if anybody is."""
        if stuck is None and flooded is None and not self.store.unreadable:
            self._send()
            return
        pairs = [
            (recipient, sender)
            for sender, recipient in self._conversations_outside(stuck)
            if recipient.user not in self.store.unreadable
            and (flooded is None or (recipient is flooded and sender is not self.clients[1]))
        ]
        if pairs:
            self._send_to(*self.rng.choice(pairs))

    @contextmanager
    def _flood(self, stuck: int | None) -> Iterator[Client | None]:
        """Have one user write to another faster than that one acknowledges."""
        victim, sender = self.clients[:2]
        pairs = list(self._conversations_outside(stuck))
        if "flood" not in self.plan.faults or (sender, victim) not in pairs:
            yield None
            return
        self.happened["flood"] += 1
        self.note("flood", by=sender.user, to=victim.user)
        for link in victim.links:
            link.behaviour = "sipping"
        flood = self.loop.create_task(self._write_for_ever(victim, sender))
        yield victim
        flood.cancel()

    async def _write_for_ever(self, victim: Client, sender: Client) -> None:
        for _ in range(20):
            self._send_to(victim, sender)
        while True:
            await asyncio.sleep(0.08)
            self._send_to(victim, sender)

    def _repeat_outside(self, stuck: int | None) -> Outgoing | None:
        """Repeat something whose own partition is well."""
        if stuck is None:
            return None
        for sender, recipient in self._conversations_outside(stuck):
            for outgoing in sender.answered:
                if outgoing.to == recipient.user and sender.ask_again(outgoing):
                    return outgoing
        return None

    async def _finish(self) -> None:
        """Everybody connects once more; wait until all is quiet; end, and look at what is left."""
        self.weather.faults &= frozenset({"gaps"})
        self.store.unreadable.clear()
        for client in self.clients:
            for link in client.links:
                link.behaviour = "steady"
                client.acknowledge(link)
        self.note("phase", name="final")
        for _ in range(FINAL_ROUNDS):
            for client in self.clients:
                self._connect(client)
            await self._until(lambda: not self.unfinished(), REST_SECONDS)
            # A receipt that found no room is made up for when the message comes again; after a
            # flood that may take a few sessions.
            if "cramped" not in self.plan.faults or not self.unfinished():
                break
        self.note("phase", name="end")
        if left := self.unfinished():
            self.note("sample", what="unfinished", value=left)
        for client in self.clients:
            for link in list(client.links):
                link.lose("client", 1000)
        await asyncio.sleep(1.0)
        for process in list(self.processes.values()):
            left = self._left_in(process)
            if left:
                self.note("sample", what="left", value=f"{process.name}: {left}")
            await process.stop()
        self._dump()

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = self.loop.time() + seconds
        while not is_so() and self.loop.time() < deadline:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.25)

    def _is_all_told(self) -> bool:
        """Say whether all have their answers, and have acknowledged what can be read for them."""
        well = [client for client in self.clients if client.user not in self.store.unreadable]
        has_answers = not any(client.outbox for client in self.clients)
        return has_answers and not any(self._owed_to(client) for client in well)

    def _owed_to(self, client: Client) -> list[str]:
        owed = self.store.owed(PendingQuery(client.user, {}, 1_000))
        return [message.id for message in owed.messages]

    def unfinished(self) -> dict[str, Any]:
        """Return what is still owed to anybody."""
        owed = {
            "unanswered": [ref for client in self.clients for ref in client.outbox],
            "not live": [
                each.session for client in self.clients for each in client.links if not each.is_live
            ],
            "unapplied": [
                each for each, end in self.log.ends.items() if self.store.applied.get(each, 0) < end
            ],
            "pending": [id for client in self.clients for id in self._owed_to(client)],
        }
        return {name: what for name, what in owed.items() if what}

    def _left_in(self, process: Process) -> dict[str, Any]:
        left = {
            "sessions": process.delivery.session_count,
            "flights": process.delivery.flight_count,
            "waits": len(process.hub._replay._waits),
            "held bytes": process.delivery.memory.held.used_bytes,
            "bytes of ids": process.delivery.memory.pushed.used_bytes,
            "connections": process.hub.connection_count,
        }
        return {name: count for name, count in left.items() if count}

    # What may happen -----------------------------------------------------------------------------

    def _choose_actions(self) -> list[tuple[Callable[[], None], float]]:
        faults = self.plan.faults
        actions: list[tuple[Callable[[], None], float]] = [
            (self._send, 40),
            (self._burst, 6),
            (self._meet, 5),
            (self._repeat_answered, 3),
            (self._use_ref_again, 2),
            (self._send_without_ref, 2),
            (self._send_and_leave, 2),
            (self._disconnect, 5),
            (self._connect_somebody, 5),
        ]
        offered: dict[str, list[tuple[Callable[[], None], float]]] = {
            "away": [(self._lose_store, 4)],
            "crash": [(self._crash, 4)],
            "restart": [(self._restart, 3)],
            "pause": [(self._pause, 4)],
            "leader": [(self._lose_leader, 4)],
            "garbage": [(self._write_garbage, 4), (self._send_unstorable, 2)],
            "clients": [
                (self._fall_silent, 3),
                (self._read_slowly, 3),
                (self._connect_somebody, 5),
            ],
            "network": [(self._black_hole, 3), (self._disconnect, 6)],
            "directory": [(self._flush_directory, 3)],
            "bad_frames": [(self._send_bad_frames, 4), (self._forge_ack, 4)],
            "retention": [(self._age_log, 3)],
        }
        for fault, more in offered.items():
            if fault in faults:
                actions += more
        return actions

    def _somebody(self) -> Client:
        return self.clients[int(self.rng.random() * len(self.clients))]

    def _a_link(self) -> Any:
        links = [link for client in self.clients for link in client.open_links()]
        return self.rng.choice(links) if links else None

    def _send(self) -> None:
        sender = self._somebody()
        self._send_to(self._somebody(), sender)
        if not sender.links and self.rng.random() < 0.7:
            self._connect(sender)

    def _send_to(self, recipient: Client, sender: Client) -> None:
        self.happened["send"] += 1
        ref = self.next_name("r")
        sender.compose(recipient.user, f"text {ref}", ref)

    def _send_and_leave(self) -> None:
        """Write a message and close the window."""
        if link := self._a_link():
            self._send_to(self._somebody(), link.client)
            link.lose("client", 1000)

    def _meet(self) -> None:
        """Somebody comes while others are already writing to them."""
        recipient = self._somebody()
        if len(recipient.links) > 1:
            recipient.links[0].lose("client", 1000)
        self._connect(recipient)
        for _ in range(3):
            at = self.rng.random() * 10 * self.weather.pace
            self.loop.call_later(at, self._send_to, recipient, self._somebody())

    def _burst(self) -> None:
        """Many messages to one user in one go: windows and flights fill up."""
        sender, recipient = self._somebody(), self._somebody()
        for _ in range(self.rng.randint(4, 12)):
            self._send_to(recipient, sender)

    def _repeat_answered(self) -> None:
        """The answer was seen, and then the device forgot: it repeats."""
        client = self._somebody()
        links = client.open_links()
        outgoing = self.rng.choice(client.answered) if client.answered else None
        if links and outgoing is not None and client.ask_again(outgoing):
            self.happened["repeat"] += 1

    def _use_ref_again(self) -> None:
        """A ref for another text of its owner, or the same in the hands of somebody else."""
        client = self._somebody()
        if not client.answered:
            return
        old = self.rng.choice(client.answered)
        other = next(each for each in self.clients if each.user == old.to)
        if self.rng.random() < 0.5:
            self.happened["ref again"] += 1
            client.compose(old.to, f"{old.content} and more", old.ref)
        elif other is not client:
            self.happened["ref of another"] += 1
            other.compose(client.user, old.content, old.ref)

    def _send_without_ref(self) -> None:
        if link := self._a_link():
            self.happened["no ref"] += 1
            link.client.send_once(link, self._somebody().user, self.next_name("text "))

    def _connect_somebody(self) -> None:
        client = self._somebody()
        if len(client.links) < 3:
            self._connect(client)

    def _connect(self, client: Client) -> None:
        taking = [each for each in self.processes.values() if each.is_taking]
        if taking:
            client.connect(self.rng.choice(taking))

    def _disconnect(self) -> None:
        if link := self._a_link():
            link.lose("client", 1000)

    # Faults --------------------------------------------------------------------------------------

    async def _start(self, name: str, *, is_writer: bool) -> None:
        process = Process(self, name, is_writer=is_writer)
        self.processes[name] = process
        await process.start()

    def _in_background(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _a_process(self) -> Process | None:
        """Return a process that nothing is being done to, and keep it from a second thing."""
        idle = [each for each in self.processes.values() if each.is_alive and each.is_taking]
        return self.rng.choice(idle) if idle else None

    def _strike(self, name: str, target: str) -> Callable[[], None]:
        """Note a fault; return what notes its end."""
        self.happened[name] += 1
        self.note("nemesis", name=name, phase="start", detail=target)
        return lambda: self.note("nemesis", name=name, phase="stop", detail=target)

    def _crash(self) -> None:
        if process := self._a_process():
            self._in_background(self._crash_and_restart(process))

    async def _crash_and_restart(self, process: Process) -> None:
        healed = self._strike("crash", process.name)
        process.crash()
        await asyncio.sleep(self.rng.random() * 2)
        # Now and then its task is left to another.
        others = [each for each in self.processes.values() if each.is_alive and each.is_writer]
        is_relieved = bool(others) and self.rng.random() < 0.5
        await self._start(process.name, is_writer=process.is_writer and not is_relieved)
        healed()

    def _restart(self) -> None:
        if process := self._a_process():
            self._in_background(self._drain_and_restart(process))

    async def _drain_and_restart(self, process: Process) -> None:
        healed = self._strike("restart", process.name)
        await process.stop()
        await asyncio.sleep(self.rng.random())
        await self._start(process.name, is_writer=process.is_writer)
        healed()

    def _pause(self) -> None:
        if process := self._a_process():
            self._in_background(self._pause_and_resume(process))

    async def _pause_and_resume(self, process: Process) -> None:
        """SIGSTOP, SIGCONT. Some do not wait for so long, and go to another server."""
        healed = self._strike("pause", process.name)
        self.loop.pause(process.address)
        seconds = self.rng.random() ** 2 * 6
        patience = self.rng.random() * seconds
        await asyncio.sleep(patience)
        self._give_up(process)
        await asyncio.sleep(seconds - patience)
        self.loop.resume(process.address)
        healed()

    def _give_up(self, process: Process) -> None:
        """Write to a server that does not answer, leave it, and repeat elsewhere."""
        for client in self.clients:
            links = client.open_links()
            here = [link for link in links if link.process is process]
            if here and len(here) < len(links) and self.rng.random() < 0.5:
                self._send_to(self._somebody(), client)
                for link in here:
                    link.lose("client", 1000)

    def _lose_store(self) -> None:
        if "store" not in self.weather.away:
            self._in_background(self._find_store())

    async def _find_store(self) -> None:
        """The store is away while people come."""
        healed = self._strike("away", "store")
        self.weather.leave("store")
        for _ in range(2):
            self._connect_somebody()
        await asyncio.sleep(self.rng.random() ** 2 * 8)
        self.weather.come_back("store")
        healed()

    def _lose_leader(self) -> None:
        led = [each for each in self.log.ends if each not in self.log.leaderless]
        if led:
            self._in_background(self._elect_leader(self.rng.choice(led)))

    async def _elect_leader(self, partition: int) -> None:
        healed = self._strike("leader", str(partition))
        self.log.leaderless.add(partition)
        await asyncio.sleep(self.rng.random() ** 2 * 4)
        self.log.lead(partition)
        healed()

    def _write_garbage(self) -> None:
        self.happened["garbage"] += 1
        value = self.rng.choice([b"\xff", b"{}", b'{"v":2}', b'{"v":1,"status":"READ"}', b"[]"])
        self.log.put(f"dm:user0:user{self.rng.randrange(4)}", value)

    def _send_unstorable(self) -> None:
        """The store refuses this message for ever. It is sent as a repeat: so nobody accepts it."""
        client = self._somebody()
        links = client.open_links()
        if not links:
            return
        self.happened["unstorable"] += 1
        outgoing = Outgoing(client.user, "unstorable", self.next_name("r"), tries=1)
        conversation = f"dm:{client.user}:{client.user}"
        self.store.unstorable.add(
            message_id(client.user, outgoing.ref, conversation, outgoing.content)
        )
        client.send(self.rng.choice(links), outgoing)

    def _fall_silent(self) -> None:
        if link := self._a_link():
            self.happened["silent"] += 1
            link.behaviour = "silent"

    def _read_slowly(self) -> None:
        if link := self._a_link():
            self.happened["slow"] += 1
            link.read(False)
            self.loop.call_later(self.rng.random() * 4, link.read, True)

    def _black_hole(self) -> None:
        if link := self._a_link():
            self.happened["black hole"] += 1
            link.fall_into_black_hole()

    def _flush_directory(self) -> None:
        self.happened["flush"] += 1
        self.registry.registrations.clear()
        for process in self.processes.values():
            self.loop.call_later(self.rng.random() * 2, process.directory.beat)

    def _send_bad_frames(self) -> None:
        if link := self._a_link():
            self.happened["bad frames"] += 1
            link.send(EMPTY)
            for _ in range(self.rng.choice((1, 1, 1, 24))):
                link.send(BAD)
            link.send(PING)

    def _forge_ack(self) -> None:
        """Acknowledge what somebody else is owed."""
        link = self._a_link()
        pending = self.store.pending
        owed = [id for user, rows in pending.items() if link and user != link.user for id in rows]
        if link and owed:
            self.happened["forged ack"] += 1
            link.client.send_ack(link, (self.rng.choice(owed),))

    def _age_log(self) -> None:
        if not self.log.is_aged:
            self._in_background(self._be_aged())

    async def _be_aged(self) -> None:
        """What is not applied may soon be deleted."""
        healed = self._strike("retention", "")
        self.log.is_aged = True
        await asyncio.sleep(self.rng.random() * 4)
        self.log.is_aged = False
        healed()

    # The end -------------------------------------------------------------------------------------

    def _dump(self) -> None:
        """Write log and store into the history."""
        for partition, entries in self.log.entries.items():
            for entry in entries:
                self.note(
                    "record",
                    partition=partition,
                    offset=entry.position.offset,
                    appended_at=self.log.appended_at[entry.position],
                    **_record(entry.value),
                )
        self.note("dump", what="log", complete=True)
        for message in self.store.messages.values():
            self.note(
                "row",
                table="messages",
                id=message.id,
                sender=message.sender,
                recipients=message.recipients,
                conversation=message.conversation,
                digest=digest(message.content),
                partition=message.position.partition,
                offset=message.position.offset,
            )
        for id, recipient in self.store.receipts:
            self.note("row", table="deliveries", id=id, recipient=recipient, status="DELIVERED",
                      partition=None, offset=None)  # fmt: skip
        for partition, end in self.store.applied.items():
            self.note("row", table="applied", partition=partition, next=end)
        for position, bad in self.store.quarantine.items():
            self.note("row", table="quarantine", partition=position.partition,
                      offset=position.offset, reason=bad.reason)  # fmt: skip
        self.note("dump", what="store", complete=True)


def _record(value: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        record = decode_record(value)
        if isinstance(record, MessageRecord):
            return {
                "record": "message",
                "id": record.message_id,
                "sender": record.sender,
                "recipients": record.recipients,
                "conversation": record.conversation,
                "digest": digest(record.content),
            }
        return {
            "record": "receipts",
            "ids": list(record.message_ids),
            "recipient": record.recipient,
            "conversation": record.conversation,
        }
    return {"record": "foreign"}


def simulate(plan: Plan) -> World:
    """Run a schedule and return its world, history and all. A crash of the run is a defect."""
    rng = random.Random(f"run {plan.seed}")
    with bounds(plan):
        loop = SimulatedLoop(rng)
        world = World(plan, loop, rng)
        try:
            loop.run(world.run())
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed has found it
            world.defects.append(repr(error))
        world.defects += loop.unhandled
    return world

"""A run from start to end: load with faults, healing, calm, and the end; then the dump."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from landline.delivery import (
    memory,
    unread,
)
from landline.protocol.identity import direct_conversation
from simulation.bounds import (
    BOUNDS,
    DEAF_SECONDS,
    FINAL_ROUNDS,
    HEARD_SECONDS,
    NETWORK_FAULTS,
    PROMPT_SECONDS,
    REST_SECONDS,
    STRANDED_SECONDS,
    bounds,
)
from simulation.clients import Client
from simulation.dump import dump
from simulation.happenings import Happenings
from simulation.loop import SimulatedLoop
from simulation.outgoing import Outgoing
from simulation.plan import Plan
from simulation.process import Process
from simulation.rooms import Rooms
from simulation.world import World


class Schedule:
    """Has things happen in a world, then heals it, and sees what is left."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._log = world.log
        self._store = world.store
        self._clients = world.clients
        self._plan = world.plan
        self._rooms = Rooms(world)

    async def run(self) -> None:
        """Live through the whole schedule."""
        self._world.note("run", version=1, seed=self._plan.seed, urls=[], options={}, started_at="",
                  sweep_interval=2.0, deadline=10.0)  # fmt: skip
        for index in range(self._plan.servers):
            await self._world.start(f"ws-{index + 1}", is_writer=index < self._plan.writers)
        if "mailbox" in self._plan.faults:
            self._world.happened["mailbox"] += 1
            unreadable = self._clients[self._plan.users - 1].user
            self._store.unreadable.add(unreadable)
            self._world.note("mailbox", user=unreadable)
        self._world.note("phase", name="load")
        for client in self._clients:
            self._world.connect(client)
        self._rooms.make()
        happenings = Happenings(self._world).chosen() + self._rooms.chosen()
        actions, weights = zip(*happenings, strict=True)
        for _ in range(self._plan.steps):  # one by one: fewer steps are the first of them
            self._rng.choices(actions, weights)[0]()
            await asyncio.sleep(self._rng.random() ** 3 * 0.6)
        await self._heal()
        if "away" in self._plan.faults:
            await self._miss_store()
        await self._calm()
        await self._finish()

    async def _heal(self) -> None:
        """Repair log, store and servers, and have every client behave."""
        self._world.note("phase", name="heal")
        self._world.weather.faults &= NETWORK_FAULTS
        while self._world.background:
            await asyncio.wait(self._world.background)
        for client in self._clients:
            for link in list(client.links):
                link.behaviour = "steady"
                link.read(True)
                link.renew()
                client.acknowledge(link)

    async def _miss_store(self) -> None:
        """The store is away, and nothing else: people come all the same, and write to each other.

        A server that was paused asks the store about every send for a while; that is over by then.
        """
        await asyncio.sleep(unread.AFTER_SECONDS if "pause" in self._plan.faults else 0)
        await self._all_live()
        await self._until(self._is_all_told, REST_SECONDS)  # it may be more than may be held
        await asyncio.sleep(PROMPT_SECONDS)
        healed = self._world.strike("away", "store")
        self._world.weather.leave("store")
        self._world.note("phase", name="away")
        for client in self._clients:
            self._world.connect(client)
        await asyncio.sleep(self._rng.random())
        for _ in range(BOUNDS[memory]["HELD_MESSAGES"]):  # not more than may be held
            self._world.send()
        await asyncio.sleep(DEAF_SECONDS)
        for _ in range(6):
            self._world.send()
            await asyncio.sleep(self._rng.random())
        await asyncio.sleep(DEAF_SECONDS + HEARD_SECONDS)
        self._world.note("phase", name="back")
        self._world.weather.come_back("store")
        healed()

    async def _all_live(self) -> None:
        await asyncio.sleep(3.5)  # requests and black holes of before come to their end
        for client in self._clients:
            if not client.links:
                self._world.connect(client)
        well = [client for client in self._clients if client.user not in self._store.unreadable]

        def is_live() -> bool:
            return all(each.is_live for client in well for each in client.links)

        await self._until(is_live, 30.0)
        if self._store.unreadable and not is_live():
            self._world.note(
                "sample", what="unfinished", value="not live, for somebody else's mailbox"
            )

    async def _calm(self) -> None:
        """Send to people who are connected and stay so."""
        await self._all_live()
        if self._plan.faults & {"flood", "stuck"}:
            # What was sent before may be too much to be acknowledged in time beside a flood, and
            # what was sent into a full window just now is not in the store of a stuck writer.
            await self._until(self._is_all_told, REST_SECONDS)
        self._world.note("phase", name="calm")
        with self._stuck_partition() as stuck, self._flood(stuck) as flooded:
            repeated = self._repeat_outside(stuck)
            if flooded is not None:  # first it grows to more than they acknowledge in that time
                await asyncio.sleep(2.0)
            for number in range(5):
                self._send_in_calm(stuck, flooded if number == 0 else None)
                if flooded is None or number == 0:  # it acknowledges little beside the flood
                    self._talk_in_calm(stuck)
                await asyncio.sleep(self._rng.random() * 0.3)
            await asyncio.sleep(STRANDED_SECONDS)
            if repeated is not None and any(
                each.is_waiting_for(repeated) for each in self._clients
            ):
                self._world.note("sample", what="repeat", value=f"{repeated.ref} has no answer")

    @contextmanager
    def _stuck_partition(self) -> Iterator[int | None]:
        """Have the writers lose sight of a partition that holds something new."""
        if "stuck" not in self._plan.faults:
            yield None
            return
        self._world.happened["stuck"] += 1
        stuck = self._rng.randrange(self._log.partitions)
        self._log.unread.add(stuck)
        key = next(f"dm:{n}:x" for n in range(99) if self._log.partition_of(f"dm:{n}:x") == stuck)
        self._log.put(key, b"{}")
        yield stuck
        self._log.see(stuck)

    def _conversations_outside(self, stuck: int | None) -> Iterator[tuple[Client, Client]]:
        for one in self._clients:
            for other in self._clients:
                conversation = direct_conversation(one.user, other.user)
                if self._log.partition_of(conversation) != stuck:
                    yield one, other

    def _send_in_calm(self, stuck: int | None, flooded: Client | None) -> None:
        """Send something that has to arrive: to a user whom others flood, if there is one."""
        if stuck is None and flooded is None and not self._store.unreadable:
            self._world.send()
            return
        pairs = [
            (recipient, sender)
            for sender, recipient in self._conversations_outside(stuck)
            if recipient.user not in self._store.unreadable
            and (flooded is None or (recipient is flooded and sender is not self._clients[1]))
        ]
        if pairs:
            self._world.send_to(*self._rng.choice(pairs))

    def _talk_in_calm(self, stuck: int | None) -> None:
        """Write into a room what has to arrive."""
        places = [
            (name, sender)
            for name in self._rooms.names
            if self._log.partition_of(name) != stuck
            for sender in self._rooms.members_of(name)
        ]
        if places:
            self._rooms.talk_in(*self._rng.choice(places))

    @contextmanager
    def _flood(self, stuck: int | None) -> Iterator[Client | None]:
        """Have one user write to another faster than that one acknowledges."""
        victim, sender = self._clients[:2]
        pairs = list(self._conversations_outside(stuck))
        if "flood" not in self._plan.faults or (sender, victim) not in pairs:
            yield None
            return
        self._world.happened["flood"] += 1
        self._world.note("flood", by=sender.user, to=victim.user)
        for link in victim.links:
            link.behaviour = "sipping"
        flood = self._world.loop.create_task(self._write_for_ever(victim, sender))
        yield victim
        flood.cancel()

    async def _write_for_ever(self, victim: Client, sender: Client) -> None:
        for _ in range(20):
            self._world.send_to(victim, sender)
        while True:
            await asyncio.sleep(0.08)
            self._world.send_to(victim, sender)

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
        self._world.weather.faults &= frozenset({"gaps"})
        self._store.unreadable.clear()
        for client in self._clients:
            for link in client.links:
                link.behaviour = "steady"
                client.acknowledge(link)
        self._world.note("phase", name="final")
        for _ in range(FINAL_ROUNDS):
            for client in self._clients:
                for device in self._mailboxes_of(client):
                    self._world.connect_with(client, device)
            await self._until(lambda: not self._world.unfinished(), REST_SECONDS)
            # A receipt that found no room is made up for when the message comes again; after a
            # flood that may take a few sessions.
            if "cramped" not in self._plan.faults or not self._world.unfinished():
                break
        if self._rooms.names:
            await self._ask_in_the_end()
            # A session without a device may have had to come again, as there is one now.
            await self._until(lambda: not self._world.unfinished(), REST_SECONDS)
        self._world.note("phase", name="end")
        if left := self._world.unfinished():
            self._world.note("sample", what="unfinished", value=left)
        for client in self._clients:
            for link in list(client.links):
                link.lose("client", 1000)
        await asyncio.sleep(1.0)
        for process in list(self._world.processes.values()):
            left = self._left_in(process)
            if left:
                self._world.note("sample", what="left", value=f"{process.name}: {left}")
            await process.stop()
        dump(self._world)

    async def _ask_in_the_end(self) -> None:
        """All is quiet, and everybody asks for what there is."""
        await self._until(self._rooms.are_answered, REST_SECONDS)
        self._world.note("phase", name="quiet")
        self._rooms.ask_all()
        await self._until(self._rooms.are_answered, REST_SECONDS)
        if not self._rooms.are_answered():
            left = [(each.user, *each.asking.waiting, *each.asking.marks) for each in self._clients]
            self._world.note("sample", what="unfinished", value=f"no answers: {left}")

    def _mailboxes_of(self, client: Client) -> list[str | None]:
        """Return the devices with which a client collects all that it is owed. The first device of
        a user may have opened a mailbox for sessions without one as well.
        """
        has_nameless = "" in self._store.devices.get(client.user, {})
        used = client.used | ({None} if has_nameless or not client.used else set())
        return sorted(used, key=str)

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = self._world.loop.time() + seconds
        while not is_so() and self._world.loop.time() < deadline:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.25)

    def _is_all_told(self) -> bool:
        """Say whether all have their answers, and have acknowledged what can be read for them."""
        well = [client for client in self._clients if client.user not in self._store.unreadable]
        has_answers = not any(client.outbox for client in self._clients)
        return has_answers and not any(self._world.owed_to(client) for client in well)

    def _left_in(self, process: Process) -> dict[str, Any]:
        left = {
            "sessions": process.delivery.session_count,
            "flights": process.delivery.flight_count,
            "waits": len(process.hub._replay._waits),
            "held bytes": process.delivery.memory.held.used_bytes,
            "bytes of ids": process.delivery.memory.pushed.used_bytes,
            "connections": process.hub.connection_count,
            "requests held": len(process.hub._held),
            "questions": len(process.hub.questions._waiting),
            "pushes to rooms": len(process.hub._rooms._pushes),
        }
        return {name: count for name, count in left.items() if count}


def simulate(plan: Plan) -> World:
    """Run a schedule and return its world, history and all. A crash of the run is a defect."""
    rng = random.Random(f"run {plan.seed}")
    with bounds(plan):
        loop = SimulatedLoop(rng)
        world = World(plan, loop, rng)
        try:
            loop.run(Schedule(world).run())
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed has found it
            world.defects.append(repr(error))
        world.defects += loop.unhandled
    return world

"""What may happen in a run: what people do, and the faults of the plan."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from landline.errors import StoreUnavailable
from landline.protocol.identity import message_id
from simulation.clients import BAD, EMPTY, PING
from simulation.outgoing import Outgoing
from simulation.process import Process
from simulation.world import World


class Happenings:
    """What may happen, each as a method that the schedule calls when its lot is drawn."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._log = world.log
        self._loop = world.loop

    def chosen(self) -> list[tuple[Callable[[], None], float]]:
        faults = self._world.plan.faults
        actions: list[tuple[Callable[[], None], float]] = [
            (self._world.send, 40),
            (self._burst, 6),
            (self._meet, 5),
            (self._repeat_answered, 3),
            (self._use_ref_again, 2),
            (self._send_without_ref, 2),
            (self._send_and_leave, 2),
            (self._disconnect, 5),
            (self._world.connect_somebody, 5),
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
                (self._world.connect_somebody, 5),
            ],
            "network": [(self._black_hole, 3), (self._disconnect, 6)],
            "directory": [(self._flush_directory, 3)],
            "bad_frames": [(self._send_bad_frames, 4), (self._forge_ack, 4)],
            "retention": [(self._age_log, 3)],
            "limits": [(self._burst, 6), (self._repeat_answered, 3)],
            "revocation": [(self._revoke, 4)],
        }
        for fault, more in offered.items():
            if fault in faults:
                actions += more
        return actions

    def _send_and_leave(self) -> None:
        """Write a message and close the window."""
        if link := self._world.a_link():
            self._world.send_to(self._world.somebody(), link.client)
            link.lose("client", 1000)

    def _meet(self) -> None:
        """Somebody comes while others are already writing to them."""
        recipient = self._world.somebody()
        if len(recipient.links) > 1:
            recipient.links[0].lose("client", 1000)
        self._world.connect(recipient)
        for _ in range(3):
            at = self._rng.random() * 10 * self._world.weather.pace
            self._loop.call_later(at, self._world.send_to, recipient, self._world.somebody())

    def _burst(self) -> None:
        """Many messages to one user in one go: windows and flights fill up."""
        sender, recipient = self._world.somebody(), self._world.somebody()
        for _ in range(self._rng.randint(4, 12)):
            self._world.send_to(recipient, sender)

    def _repeat_answered(self) -> None:
        """The answer was seen, and then the device forgot: it repeats."""
        client = self._world.somebody()
        links = client.open_links()
        outgoing = self._rng.choice(client.answered) if client.answered else None
        if links and outgoing is not None and client.ask_again(outgoing):
            self._world.happened["repeat"] += 1

    def _use_ref_again(self) -> None:
        """A ref for another text of its owner, or the same in the hands of somebody else."""
        client = self._world.somebody()
        direct = [each for each in client.answered if each.is_direct]
        if not direct:
            return
        old = self._rng.choice(direct)
        other = next(each for each in self._world.clients if each.user == old.to)
        if self._rng.random() < 0.5:
            self._world.happened["ref again"] += 1
            client.compose(old.to, f"{old.content} and more", old.ref)
        elif other is not client:
            self._world.happened["ref of another"] += 1
            other.compose(client.user, old.content, old.ref)

    def _send_without_ref(self) -> None:
        if link := self._world.a_link():
            self._world.happened["no ref"] += 1
            link.client.send_once(link, self._world.somebody().user, self._world.next_name("text "))

    def _disconnect(self) -> None:
        if link := self._world.a_link():
            link.lose("client", 1000)

    def _a_process(self) -> Process | None:
        """Return a process that nothing is being done to, and keep it from a second thing."""
        idle = [each for each in self._world.processes.values() if each.is_alive and each.is_taking]
        return self._rng.choice(idle) if idle else None

    def _crash(self) -> None:
        if process := self._a_process():
            self._world.in_background(self._crash_and_restart(process))

    async def _crash_and_restart(self, process: Process) -> None:
        healed = self._world.strike("crash", process.name)
        process.crash()
        await asyncio.sleep(self._rng.random() * 2)
        # Now and then its task is left to another.
        others = [
            each for each in self._world.processes.values() if each.is_alive and each.is_writer
        ]
        is_relieved = bool(others) and self._rng.random() < 0.5
        await self._world.start(process.name, is_writer=process.is_writer and not is_relieved)
        healed()

    def _restart(self) -> None:
        if process := self._a_process():
            self._world.in_background(self._drain_and_restart(process))

    async def _drain_and_restart(self, process: Process) -> None:
        healed = self._world.strike("restart", process.name)
        await process.stop()
        await asyncio.sleep(self._rng.random())
        await self._world.start(process.name, is_writer=process.is_writer)
        healed()

    def _pause(self) -> None:
        if process := self._a_process():
            self._world.in_background(self._pause_and_resume(process))

    async def _pause_and_resume(self, process: Process) -> None:
        """SIGSTOP, SIGCONT. Some do not wait for so long, and go to another server."""
        healed = self._world.strike("pause", process.name)
        self._loop.pause(process.address)
        seconds = self._rng.random() ** 2 * 6
        patience = self._rng.random() * seconds
        await asyncio.sleep(patience)
        self._give_up(process)
        await asyncio.sleep(seconds - patience)
        self._loop.resume(process.address)
        healed()

    def _give_up(self, process: Process) -> None:
        """Write to a server that does not answer, leave it, and repeat elsewhere."""
        for client in self._world.clients:
            links = client.open_links()
            here = [link for link in links if link.process is process]
            if here and len(here) < len(links) and self._rng.random() < 0.5:
                self._world.send_to(self._world.somebody(), client)
                for link in here:
                    link.lose("client", 1000)

    def _lose_store(self) -> None:
        if "store" not in self._world.weather.away:
            self._world.in_background(self._find_store())

    async def _find_store(self) -> None:
        """The store is away while people come."""
        healed = self._world.strike("away", "store")
        self._world.weather.leave("store")
        for _ in range(2):
            self._world.connect_somebody()
        await asyncio.sleep(self._rng.random() ** 2 * 8)
        self._world.weather.come_back("store")
        healed()

    def _lose_leader(self) -> None:
        led = [each for each in self._log.ends if each not in self._log.leaderless]
        if led:
            self._world.in_background(self._elect_leader(self._rng.choice(led)))

    async def _elect_leader(self, partition: int) -> None:
        healed = self._world.strike("leader", str(partition))
        self._log.leaderless.add(partition)
        await asyncio.sleep(self._rng.random() ** 2 * 4)
        self._log.lead(partition)
        healed()

    def _write_garbage(self) -> None:
        self._world.happened["garbage"] += 1
        value = self._rng.choice([b"\xff", b"{}", b'{"v":2}', b'{"v":1,"status":"READ"}', b"[]"])
        self._log.put(f"dm:user0:user{self._rng.randrange(4)}", value)

    def _send_unstorable(self) -> None:
        """The store refuses this message for ever. It is sent as a repeat: so nobody accepts it."""
        client = self._world.somebody()
        links = client.open_links()
        if not links:
            return
        self._world.happened["unstorable"] += 1
        outgoing = Outgoing.text(client.user, "unstorable", self._world.next_name("r"), tries=1)
        conversation = f"dm:{client.user}:{client.user}"
        self._world.store.unstorable.add(
            message_id(client.user, outgoing.ref, conversation, outgoing.content)
        )
        client.send(self._rng.choice(links), outgoing)

    def _fall_silent(self) -> None:
        if link := self._world.a_link():
            self._world.happened["silent"] += 1
            link.behaviour = "silent"

    def _read_slowly(self) -> None:
        if link := self._world.a_link():
            self._world.happened["slow"] += 1
            link.read(False)
            self._loop.call_later(self._rng.random() * 4, link.read, True)

    def _black_hole(self) -> None:
        if link := self._world.a_link():
            self._world.happened["black hole"] += 1
            link.fall_into_black_hole()

    def _flush_directory(self) -> None:
        self._world.happened["flush"] += 1
        self._world.registry.registrations.clear()
        for process in self._world.processes.values():
            self._loop.call_later(self._rng.random() * 2, process.directory.beat)

    def _send_bad_frames(self) -> None:
        if link := self._world.a_link():
            self._world.happened["bad frames"] += 1
            link.send(EMPTY)
            for _ in range(self._rng.choice((1, 1, 1, 24))):
                link.send(BAD)
            link.send(PING)

    def _forge_ack(self) -> None:
        """Acknowledge what somebody else is owed."""
        link = self._world.a_link()
        owed = [
            each.message.id
            for mailbox, rows in self._world.store.owed.items()
            if link and mailbox.user != link.user
            for each in rows.values()
        ]
        if link and owed:
            self._world.happened["forged ack"] += 1
            link.client.send_ack(link, (self._rng.choice(owed),))

    def _revoke(self) -> None:
        if process := self._a_process():
            self._world.in_background(self._end_sessions(process, self._world.somebody().user))

    async def _end_sessions(self, process: Process, user: str) -> None:
        """Have a server end all sessions of a user, everywhere. It may not live to do it."""
        healed = self._world.strike("revocation", user)
        revoke = process.hub.revocations.revoke(user, None, "the product")
        with suppress(StoreUnavailable):
            await self._loop.create_task(revoke, context=process.context)
        healed()

    def _age_log(self) -> None:
        if not self._log.is_aged:
            self._world.in_background(self._be_aged())

    async def _be_aged(self) -> None:
        """What is not applied may soon be deleted."""
        healed = self._world.strike("retention", "")
        self._log.is_aged = True
        await asyncio.sleep(self._rng.random() * 4)
        self._log.is_aged = False
        healed()

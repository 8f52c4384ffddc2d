"""Who and what there is in a run, the history of what was seen, and what everybody can do in it."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from simulation.clients import Client
from simulation.loop import SimulatedLoop
from simulation.plan import Plan
from simulation.process import Process
from simulation.surroundings import Surroundings


class World(Surroundings):
    """The surroundings with clients and servers, and what everybody can do there."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, rng: random.Random) -> None:
        super().__init__(plan, loop, rng)
        self.devices_rng = random.Random(f"devices {plan.seed}")
        self.processes: dict[str, Process] = {}
        self.clients = [
            Client(self, f"user{n}", self.connect_with, devices=self._devices())
            for n in range(plan.users)
        ]
        if plan.has_auto:
            self.clients.append(Client(self, "auto", self.connect_with, is_auto=True))
        self.background: set[asyncio.Task[None]] = set()

    def owed_to(self, client: Client) -> list[str]:
        """Return the ids of what a client is still owed, on whichever of its devices."""
        owed = self.store.owed
        return [
            each.message.id
            for mailbox in self.store.mailboxes(client.user)
            for each in owed.get(mailbox, {}).values()
        ]

    def _devices(self) -> tuple[str | None, ...]:
        """Return what the sessions of one user may be: some users have no devices, and some have
        programs of before beside them.
        """
        if not self.plan.devices or self.devices_rng.random() < 0.2:
            return (None,)
        named = tuple(f"d{number}" for number in range(self.plan.devices))
        return (*named, None) if self.devices_rng.random() < 0.3 else named

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
            "pending": [id for client in self.clients for id in self.owed_to(client)],
        }
        return {name: what for name, what in owed.items() if what}

    def somebody(self) -> Client:
        """Return any client."""
        return self.clients[int(self.rng.random() * len(self.clients))]

    def a_link(self) -> Any:
        """Return any connection that is open, or None."""
        links = [link for client in self.clients for link in client.open_links()]
        return self.rng.choice(links) if links else None

    def send(self) -> None:
        """Have somebody write to somebody, and perhaps connect."""
        sender = self.somebody()
        self.send_to(self.somebody(), sender)
        if not sender.links and self.rng.random() < 0.7:
            self.connect(sender)

    def send_to(self, recipient: Client, sender: Client) -> None:
        """Have one client write to another."""
        self.happened["send"] += 1
        ref = self.next_name("r")
        sender.compose(recipient.user, f"text {ref}", ref)

    def connect_somebody(self) -> None:
        """Have a client connect that has few connections."""
        client = self.somebody()
        if len(client.links) < 3:
            self.connect(client)

    def connect(self, client: Client) -> None:
        """Have a client connect to any server that takes it."""
        device = client.devices[0]
        if len(client.devices) > 1:
            device = self.devices_rng.choice(client.devices)
        self.connect_with(client, device)

    def connect_with(self, client: Client, device: str | None) -> None:
        """Have a client connect with this device."""
        taking = [each for each in self.processes.values() if each.is_taking]
        if taking:
            client.connect(self.rng.choice(taking), device)

    async def start(self, name: str, *, is_writer: bool) -> None:
        """Start a server."""
        process = Process(self, name, is_writer=is_writer)
        self.processes[name] = process
        await process.start()

    def in_background(self, work: Any) -> None:
        """Have something done that is waited for before the run heals."""
        task = self.loop.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    def strike(self, name: str, target: str) -> Callable[[], None]:
        """Note a fault; return what notes its end."""
        self.happened[name] += 1
        self.note("nemesis", name=name, phase="start", detail=target)
        return lambda: self.note("nemesis", name=name, phase="stop", detail=target)

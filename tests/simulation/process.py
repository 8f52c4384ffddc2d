"""One server process: the real hub, heart and writer over the models."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, cast

from landline.config.limits import NO_LIMITS, Limits
from landline.delivery import Delivery
from landline.expiry import DeviceExpiry
from landline.gateway.connection import Connection
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.hub import Hub
from landline.protocol.identity import uuid_text
from landline.retention import RetentionWatch
from landline.writer import Writer
from simulation.bus import ModelRoutingBus
from simulation.directory import ModelDirectory
from simulation.link import Link
from simulation.log import ModelEventLog
from simulation.loop import lane_context
from simulation.revocations import ModelRevocations
from simulation.store import ModelConversationStore, ModelDeviceStore, ModelMessageStore
from simulation.surroundings import Surroundings

SWEEP_SECONDS = 2.0
# A burst of happenings is more than that, and what waits is sent within a few seconds.
LIMITS = Limits(messages=2, bytes=24)
ACK_SECONDS = 4.0
EXPIRY_SECONDS = 30.0


class LoopClock:
    """See `landline.ports.Clock`: the loop's own time."""

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        """Return virtual milliseconds."""
        return int(self.monotonic() * 1000)


class Process:
    """One run of a server. Its attributes are the server's parts, which tests and faults reach."""

    def __init__(self, world: Surroundings, name: str, *, is_writer: bool) -> None:
        self._world = world
        self.name = name
        self.is_writer = is_writer
        self.address = world.next_name(f"{name}/")
        self.context = lane_context(self.address)
        self.is_alive = True
        self.is_taking = False
        self.links: list[Link] = []
        self.event_log = ModelEventLog(world.log, self.context)
        self.directory = ModelDirectory(world.registry, self.address)
        self.bus = ModelRoutingBus(world.exchange, self.address, self.context)
        store = ModelMessageStore(world.store)
        clock = LoopClock()
        self.delivery = Delivery(
            clock=clock,
            new_id=self._new_id,
            server_id=name,
            durability=self.event_log.durability,
            ack_timeout=ACK_SECONDS,
            has_others=world.plan.servers > 1,
            limits=LIMITS if "limits" in world.plan.faults else NO_LIMITS,
        )
        self.hub = self.context.run(
            lambda: Hub(
                delivery=self.delivery,
                clock=clock,
                new_id=self._new_id,
                event_log=self.event_log,
                store=store,
                devices=ModelDeviceStore(world.store),
                conversations=ModelConversationStore(world.store),
                revocations=ModelRevocations(world.revocations),
                directory=self.directory,
                bus=self.bus,
                sweep_interval=SWEEP_SECONDS,
                device_expiry=EXPIRY_SECONDS,
                gate=Gatekeeper("none"),
                doors=Doors(NO_LIMITS),
            )
        )
        self.writer = Writer(self.event_log, store)
        self.expiry = DeviceExpiry(
            self.event_log, store, ModelDeviceStore(world.store), EXPIRY_SECONDS
        )
        self.retention = RetentionWatch(self.event_log, store, self.delivery.refuse_sends)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen for hints, run the services, then take connections."""
        loop = asyncio.get_running_loop()
        await self.hub.listen()
        runs: list[Coroutine[Any, Any, None]] = [self.hub.run(), self.retention.run()]
        if self.is_writer:
            runs.append(self.writer.run())
            if self._world.plan.devices:
                runs.append(self.expiry.run())
        for run in runs:
            task = loop.create_task(run, context=self.context)
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        self.is_taking = True

    def opened(self, link: Link) -> None:
        """A connection is there."""
        if not self.is_alive or not self.is_taking:
            link.lose("server", None)
        elif link.is_open:
            self.links.append(link)
            self.hub.opened(self.as_connection(link))

    def as_connection(self, link: Link) -> Connection:
        """Return a link as what the hub takes it for: it has the same methods."""
        return cast("Connection", link)

    def crash(self) -> None:
        """SIGKILL: memory, sessions and everything that has not left are gone."""
        self.is_alive = self.is_taking = False
        for part in (self.event_log, self.directory, self.bus):
            part.die()
        for task in self._tasks:
            task.cancel()
        for link in self.links:
            link.lose("server", None)

    async def stop(self) -> None:
        """SIGTERM, as `app.server` does it: answer, say goodbye, end."""
        self.is_taking = False
        self.hub.measure()  # somebody watches
        drain = asyncio.get_running_loop().create_task(self.hub.drain(), context=self.context)
        await drain
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        with suppress(Exception):
            await self.directory.close()
        self.is_alive = False
        for part in (self.event_log, self.directory, self.bus):
            part.die()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._world.defects.append(f"{self.name}: {error!r}")

    def _new_id(self) -> str:
        return uuid_text(self._world.rng.randbytes(16), version=4)

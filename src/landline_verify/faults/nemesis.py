"""Does harm: carries a plan out during the load.

One fault at a time, each healed before the next one. All of them are written into the history, so
that the checker knows what it may excuse, and whether what was planned happened.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from confluent_kafka import KafkaException

from landline_stack.errors import StackError
from landline_verify.faults.deployments import Deployment
from landline_verify.faults.plan import Planned

_READY_SECONDS: Final = 60.0

Note = Callable[[str, Literal["start", "stop"], str], None]


@dataclass
class Nemesis:
    """Carries a plan out on a deployment. `left_out`: what could not be planned here, and why."""

    deployment: Deployment
    plan: Sequence[Planned]
    left_out: dict[str, str] = field(default_factory=dict)
    _is_hurried: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_done: bool = field(default=False, init=False)
    _work: "asyncio.Task[None] | None" = field(default=None, init=False)

    @property
    def is_done(self) -> bool:
        """Say whether all is over."""
        return self._is_done

    async def run(self, note: Note) -> None:
        """Do all that is planned. Raises: StackError. Cancelled, it leaves the rest to `finish`."""
        self._work = asyncio.create_task(self._carry_out(note), name="nemesis")
        await asyncio.shield(self._work)

    async def finish(self) -> None:
        """End the fault, begin no other, wait until all servers are ready. Raises: StackError."""
        self._is_hurried.set()
        if self._work is not None:
            await self._work
        self._check_all_run()
        for server in self.deployment.everything:
            await asyncio.to_thread(server.wait_ready, _READY_SECONDS)

    async def _carry_out(self, note: Note) -> None:
        for planned in self.plan:
            await self._wait(planned.calm)
            if self._is_hurried.is_set():
                break
            await self._do(planned, note)
        self._is_done = True

    async def _do(self, planned: Planned, note: Note) -> None:
        name = planned.fault.name
        self._check_all_run()
        try:
            strike = await asyncio.to_thread(planned.fault.aim, self.deployment, planned.victim)
            rest = strike.rest
            note(name, "start", strike.victim)
            if rest is not None:
                note(rest.name, "start", strike.victim)
            await asyncio.to_thread(strike.harm)
            await self._wait(planned.seconds)
            await asyncio.to_thread(strike.heal)
            note(name, "stop", strike.victim)
            if rest is not None:
                await self._wait(rest.seconds)
                await asyncio.to_thread(rest.heal)
                note(rest.name, "stop", strike.victim)
        except (KafkaException, OSError) as error:
            why = str(error) or type(error).__name__  # a TimeoutError says nothing
            raise StackError(f"{name} could not be done: {why}") from error

    def _check_all_run(self) -> None:
        """Raises: StackError for a server that has ended and was not asked to."""
        for server in self.deployment.everything:
            if not server.is_running:
                raise StackError(
                    f"{server.name} has ended by itself; its log ends with:\n{server.log_tail()}"
                )

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until it is hurried."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_hurried.wait()

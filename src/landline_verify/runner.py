"""A run: users live and send (load), all come back (heal), fresh sessions take what is owed
(final), then log and store are read. Every step has a deadline, every task an owner.
"""

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from landline_verify.clients.behaviours import (
    BEHAVIOURS,
    DEVICE_LIVES,
    FLOOD_LIVES,
    FLOODER_RATE,
    behaviour_of,
    steady,
)
from landline_verify.clients.connection import ANSWER_SECONDS, visit
from landline_verify.clients.flood import CALM_SECONDS, flood
from landline_verify.clients.load import Load
from landline_verify.clients.probe import check_server
from landline_verify.clients.questions import read_all
from landline_verify.clients.rooms import Rooms
from landline_verify.clients.user import User, unanswered
from landline_verify.dumps.cluster import dump, opened
from landline_verify.dumps.file import dump_file, log_end
from landline_verify.dumps.log import EPOCH_BITS, Log
from landline_verify.dumps.store import Store
from landline_verify.faults.nemesis import Nemesis
from landline_verify.history.events import VERSION, FaultEvent, Invoke, Ok, Phase, Run
from landline_verify.history.history import History
from landline_verify.history.recorder import Recorder
from landline_verify.meters import record_meters, record_progress_of, record_stalls
from landline_verify.options import SWEEP_SECONDS, Options

_TICK_SECONDS: Final = 0.5
_METER_SECONDS: Final = 1.0
# In the end: it takes a server a moment to notice that all its clients are gone.
_LAST_METER_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 0.5
_DUMP_SECONDS: Final = 5.0
# What a stopped run still takes for each of the last steps.
_STOPPED_SECONDS: Final = 3.0
# Every so many-th user reads all conversations in the end, for so long.
_READERS: Final = 10
_READING_SECONDS: Final = 15.0

_LIVES: Final = {**BEHAVIOURS, **DEVICE_LIVES, **FLOOD_LIVES}


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is."""

    seconds: float
    phase: str
    sent: int
    accepted: int
    received: int
    online: int
    users: int


class Runner:
    """One run against a deployment; `stop` ends it early, but properly."""

    def __init__(
        self,
        options: Options,
        history: History,
        show: Callable[[RunProgress], None],
        nemesis: Nemesis | None = None,
    ) -> None:
        self._options = options
        self._nemesis = nemesis
        self._recorder = Recorder(history)
        self._show = show
        self._run_id = "v" + secrets.token_hex(3)
        self._phase = "start"
        self._is_stopped = False
        self._file_start = 0
        chance = random.Random(options.seed)  # noqa: S311 - reproducible, not secret
        self._users = [
            self._make_user(number, random.Random(chance.random()))  # noqa: S311 - likewise
            for number in range(options.users)
        ]
        self._flood = self._make_flood(chance)
        self._users += self._flood or ()
        rooms = Rooms(self._users, options.rooms, chance) if options.rooms else None
        self._load = Load(self._users, options.rate, self._run_id, chance, rooms)

    def stop(self) -> None:
        """End the load now and hurry with the rest."""
        self._is_stopped = True

    async def run(self) -> None:
        """Make the history. Raises: VerifyError, when the run cannot begin; BadHistory."""
        for url in self._options.urls:
            await check_server(url, f"{self._run_id}-probe", self._options.tokens)
        async with opened(self._options.kafka, self._options.postgres) as (log, store):
            if (file := self._options.data_dir) is not None:
                self._file_start = await asyncio.to_thread(log_end, file)
            self._record_start()
            await self._owned([self._tick(), record_stalls(self._recorder)], self._run(log, store))

    async def _run(self, log: Log | None, store: Store | None) -> None:
        self._begin("load")
        lives = [_LIVES[user.behaviour](user, self._options.urls) for user in self._users]
        samples = [] if store is None else [record_progress_of(store, self._recorder)]
        if self._nemesis is not None:  # nobody else uses these servers
            samples += [
                record_meters(url, self._recorder, _METER_SECONDS) for url in self._options.urls
            ]
        harm = [] if self._nemesis is None else [self._nemesis.run(self._note)]
        await self._owned(samples, self._phases([*lives, *harm, *self._floods()]))
        await self._dump(log, store)
        if self._nemesis is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_METER_SECONDS):
                    await asyncio.gather(
                        *(
                            record_meters(url, self._recorder, _TICK_SECONDS)
                            for url in self._options.urls
                        )
                    )

    async def _dump(self, log: Log | None, store: Store | None) -> None:
        epoch = max(
            (event.offset >> EPOCH_BITS for event in self._history if isinstance(event, Ok)),
            default=0,
        )
        prefix = self._run_id + "-"
        await dump(log, store, self._recorder, prefix, epoch=epoch, seconds=_DUMP_SECONDS)
        if (file := self._options.data_dir) is not None:
            await asyncio.to_thread(
                dump_file, file, self._recorder, prefix,
                start=self._file_start, seconds=_DUMP_SECONDS,
            )  # fmt: skip

    # Phases ------------------------------------------------------------------------------------

    async def _phases(self, companions: Iterable[Any]) -> None:
        await self._owned(companions, self._load.run(self._load_is_over()))
        if self._nemesis is not None:
            await self._nemesis.finish()
        self._begin("heal")
        await self._heal()
        self._begin("final")
        await self._final()
        self._begin("end")

    def _load_is_over(self) -> Callable[[], bool]:
        now = asyncio.get_running_loop().time
        end = now() + self._options.duration_seconds
        last_seen = now()

        def is_over() -> bool:
            nonlocal last_seen
            if any(user.is_online for user in self._users):
                last_seen = now()
            is_harmed = self._nemesis is not None and not self._nemesis.is_done
            return (
                self._is_stopped
                or (now() >= end and not is_harmed)  # what was planned is done, also where it lasts
                or now() - last_seen > self._options.give_up_seconds
            )

        return is_over

    async def _heal(self) -> None:
        """Everybody who was there comes back and gets the answers that are missing; all send."""
        present = [user for user in self._users if user.behaviour != "absent"]
        for user in present:
            user.behaviour = "steady" if user.acks_by_itself else "plain"
        await self._owned(
            [
                steady(user, self._options.urls, device)
                for user in present
                for device in user.present
            ],
            self._get_answers(present),
        )

    async def _get_answers(self, present: Sequence[User]) -> None:
        seconds = self._options.heal_seconds
        if await self._until(lambda: all(user.is_online for user in present), seconds / 2):
            for user in present:
                self._load.send(user)
        await self._until(lambda: not unanswered(present), seconds / 2)

    async def _final(self) -> None:
        """Fresh sessions of every user on every server, until they are live and all is quiet."""
        late = [user for user in self._users if user.behaviour == "absent"]
        readers = dict.fromkeys([*late, *self._users[::_READERS]])
        for user in self._users:
            user.behaviour = "final"
            user.reads = False  # or it would never be quiet
        visits = [
            _stay(user, url, device)
            for user in self._users
            for url in self._options.urls
            for device in user.present
        ]
        await self._owned(visits, self._read_and_get_owed([*readers]))

    async def _read_and_get_owed(self, readers: Sequence[User]) -> None:
        await self._get_owed()
        if not self._options.rooms:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_READING_SECONDS):
                await asyncio.gather(*(_read(user) for user in readers if user.sessions))

    async def _get_owed(self) -> None:
        owed = self._accepted_ids()
        # What was written to a connection that died is delivered, by `ack=auto`: it never comes.
        careful = [user for user in self._users if user.acks_by_itself]
        received = 0
        quiet_since = asyncio.get_running_loop().time()

        def is_done() -> bool:
            nonlocal owed, received, quiet_since
            now, count = asyncio.get_running_loop().time(), len(self._history)
            if count != received:
                received, quiet_since = count, now
            if (
                now - quiet_since < _QUIET_SECONDS
                or not all(_is_live_on(user, self._options.urls) for user in self._users)
                or not all(owed[user.name] <= user.inbox for user in careful)
            ):
                return False
            before, owed = owed, self._accepted_ids()  # a late answer may have added to it
            return owed == before

        await self._until(is_done, self._options.final_seconds)

    def _accepted_ids(self) -> dict[str, set[str]]:
        """Return what every user is owed: the ids of what was accepted for them."""
        recipients: dict[tuple[str, str], str] = {}
        owed: defaultdict[str, set[str]] = defaultdict(set)
        for event in self._history:
            if isinstance(event, Invoke):
                recipients[event.user, event.ref] = event.to
            elif isinstance(event, Ok) and (event.user, event.ref) in recipients:
                owed[recipients[event.user, event.ref]].add(event.id)
        return owed

    # Beside them -------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Show how it goes, and put the history into its file."""
        while True:
            self._history.flush()
            self._show(self.progress())
            await asyncio.sleep(_TICK_SECONDS)

    def progress(self) -> RunProgress:
        """Return how far it is."""
        return RunProgress(
            self._recorder.now(),
            self._phase,
            self._load.made,
            sum(user.accepted for user in self._users),
            sum(len(user.inbox) for user in self._users),
            sum(user.is_online for user in self._users),
            len(self._users),
        )

    # Inside ------------------------------------------------------------------------------------

    @property
    def _history(self) -> History:
        return self._recorder.history

    def _make_flood(self, chance: random.Random) -> tuple[User, User] | None:
        """Return the two users of the fault `user-flood`, where the plan has it."""
        plan = () if self._nemesis is None else self._nemesis.plan
        if not any(each.fault.name == "user-flood" for each in plan):
            return None
        flooder, flooded = (
            self._make(life, life, random.Random(chance.random()))  # noqa: S311 - likewise
            for life in FLOOD_LIVES
        )
        return flooder, flooded

    def _floods(self) -> list[Any]:
        """Return what to do beside the load: somebody is sent too much; a client sends too much."""
        options = self._options
        floods: list[Any] = []
        if self._flood is not None and self._nemesis is not None:
            is_wanted = self._nemesis.deployment.flood.is_set
            floods.append(self._load.pour(*self._flood, rate=FLOODER_RATE, is_wanted=is_wanted))
        if options.flood is not None:
            # It is no user of the run: its answers and messages are not judged.
            name, seconds = f"flood-{self._run_id}", options.duration_seconds - 2 * CALM_SECONDS
            token = None if options.tokens is None else options.tokens.make(name)
            floods.append(
                flood(options.flood, options.urls[0], name, seconds, self._recorder, token=token)
            )
        return floods

    def _make_user(self, number: int, chance: random.Random) -> User:
        behaviour = behaviour_of(number, has_devices=self._options.devices > 0)
        return self._make(str(number), behaviour, chance)

    def _make(self, name: str, behaviour: str, chance: random.Random) -> User:
        return User(
            f"{self._run_id}-{name}", behaviour, self._recorder, chance,
            acks_by_itself=behaviour != "plain", tokens=self._options.tokens,
            devices=tuple(f"d{number}" for number in range(1, self._options.devices + 1)),
            reads=self._options.rooms > 0,
        )  # fmt: skip

    def _note(self, name: str, phase: Literal["start", "stop"], victim: str) -> None:
        self._recorder.record(FaultEvent(self._recorder.now(), name, phase, victim))

    def _record_start(self) -> None:
        options = self._options
        public = options.public()
        if self._nemesis is not None:
            public["deployment"] = self._nemesis.deployment.kind
            public["faults"] = [planned.fault.name for planned in self._nemesis.plan]
            public["left out"] = self._nemesis.left_out
        started_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._recorder.record(
            Run(
                self._recorder.now(), VERSION, options.seed, tuple(options.urls), public,
                started_at, SWEEP_SECONDS, ANSWER_SECONDS,
            )
        )  # fmt: skip

    def _begin(self, phase: Any) -> None:
        self._phase = phase
        self._recorder.record(Phase(self._recorder.now(), phase))

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, less long once the run was stopped; return whether it came."""
        now = asyncio.get_running_loop().time
        start = now()
        while not is_so():
            if now() - start >= (min(seconds, _STOPPED_SECONDS) if self._is_stopped else seconds):
                return False
            await asyncio.sleep(0.05)
        return True

    async def _owned(self, companions: Iterable[Any], leader: Any) -> None:
        """Run the leader; its companions live as long as it does. One that fails ends all."""
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(each) for each in companions]
                await leader
                for other in others:
                    other.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _stay(user: User, url: str, device: str | None) -> None:
    while True:
        await visit(user, url, device=device)


async def _read(user: User) -> None:
    """Read all conversations of a user, in a session without a device where they have one."""
    sessions = sorted(user.sessions, key=lambda each: each.device is not None)
    await read_all(sessions[0])


def _is_live_on(user: User, urls: Sequence[str]) -> bool:
    live = {(each.url, each.device) for each in user.sessions if each.is_live}
    return live >= {(url, device) for url in urls for device in user.present}

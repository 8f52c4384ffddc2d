"""Devices: which of them the store knows, and their records on the way into the log.

A device is opened by a record in every partition. One that has no leader delays its record there
and nothing else: the session goes on without it, and the record is tried again for as long as the
session is there.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from landline.backoff import Backoff
from landline.delivery import Delivery
from landline.delivery.decisions import OpenDevice, Recognise
from landline.delivery.devices import Recognition
from landline.errors import StoreUnavailable
from landline.gateway.batcher import Batcher
from landline.model import Appended, AppendResult, Device, Mailbox
from landline.observability.logging import get_logger
from landline.ports import Clock, DeviceStore, EventLog
from landline.protocol.limits import USER_DEVICES
from landline.protocol.records import DeviceRecord

# How long a session waits for the store to say whether its device is new, and for the log to take
# the records of one that is. It goes on without an answer.
RECOGNISE_SECONDS = 1.0
OPEN_SECONDS = 1.0
RECOGNISED_TOGETHER = 1_000
# How often it is noted that a device is there, at the latest; also so many times before it would
# be taken for one that is gone.
SEEN_SECONDS = 200.0
SEEN_TIMES = 8
SEEN_TOGETHER = 1_000
# After the store has not answered in time, those who come in this time wait less for it.
UNANSWERED_SECONDS = 30.0
SILENT_SECONDS = 0.1
# New devices whose records are appended at the same time: each is a record in every partition.
OPENED_TOGETHER = 32
# New devices of one user in so many seconds: as many as one may have.
NEW_DEVICES = USER_DEVICES
NEW_DEVICES_SECONDS = 60.0
USERS_WITH_NEW_DEVICES = 10_000

log = get_logger(__name__)


class Devices:
    """Carries out `Recognise` and `OpenDevice`."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: DeviceStore,
        delivery: Delivery,
        is_connected: Callable[[str], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        happened: Callable[[], None],
        expiry_seconds: float,
        clock: Clock,
        has_sessions_elsewhere: Callable[[str], Awaitable[bool]],
        recognised: Callable[[str], None],
    ) -> None:
        """`is_connected` says whether a session is still there; `spawn` makes a task that the hub
        owns; `happened` is told after answers were given. `has_sessions_elsewhere`: whether a user
        has, or may have, sessions on other servers. `recognised` is told of each session for which
        the heart has an answer.
        """
        self._clock = clock
        self._has_sessions_elsewhere = has_sessions_elsewhere
        self._recognised = recognised
        self._unanswered_until = float("-inf")
        self._opening = asyncio.Semaphore(OPENED_TOGETHER)
        # User -> how many new devices they have brought since then. The oldest first.
        self._new: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._event_log = event_log
        self._store = store
        self._delivery = delivery
        self._is_connected = is_connected
        self._spawn = spawn
        self._happened = happened
        self._seen_seconds = min(SEEN_SECONDS, expiry_seconds / SEEN_TIMES)
        self._recognising = Batcher(self._recognise, RECOGNISED_TOGETHER)
        self._seen = Batcher(self._note_seen, SEEN_TOGETHER)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recognising.run())
            tasks.create_task(self._seen.run())
            tasks.create_task(self._note_seen_for_ever())

    def put(self, decision: Recognise | OpenDevice) -> None:
        """Take a decision. Never blocks: the connections are bounded."""
        if isinstance(decision, Recognise):
            self._recognising.put(decision)
        else:
            self._spawn(self._open(decision))

    def forget_gone(self, count: int) -> None:
        """Forget sessions that are gone, if more wait than the `count` that are there."""
        if len(self._recognising) > count:
            self._recognising.keep(lambda decision: self._is_connected(decision.session))

    # Which mailbox a session uses ------------------------------------------------------------

    async def _recognise(self, decisions: list[Recognise]) -> None:
        decisions = [each for each in decisions if self._is_connected(each.session)]
        if not decisions:
            return
        found = await self._look_up({each.mailbox.user for each in decisions})
        first = (
            [] if found is None else [each for each in decisions if _is_first(each.mailbox, found)]
        )
        nameless = await self._with_nameless_sessions({each.mailbox.user for each in first})
        every = frozenset(range(self._event_log.partitions))
        for decision in decisions:
            user = decision.mailbox.user
            recognition = None
            if found is not None:
                devices = found.get(user, ())
                recognition = recognise(decision.mailbox, devices, every)
                if recognition.is_new and not self._may_begin(user):
                    self._delivery.refuse_device(decision.session)
                    continue
                if recognition.is_new:
                    self._make_room(recognition.mailbox, devices)
                    recognition = recognition._replace(with_nameless=user in nameless)
                if recognition.mailbox.device is not None:
                    self._seen.put(recognition.mailbox)
            self._delivery.recognised(decision.session, recognition)
            self._recognised(decision.session)
        self._happened()

    async def _look_up(self, users: Collection[str]) -> Mapping[str, Sequence[Device]] | None:
        was_silent = self._clock.monotonic() < self._unanswered_until
        try:
            async with asyncio.timeout(SILENT_SECONDS if was_silent else RECOGNISE_SECONDS):
                found = await self._store.devices(users)
        except (TimeoutError, StoreUnavailable) as error:
            reason = str(error) or "no answer in time"
            log.warning("waiting", what="devices", reason=reason)
            self._unanswered_until = self._clock.monotonic() + UNANSWERED_SECONDS
            return None
        self._unanswered_until = float("-inf")
        return found

    async def _with_nameless_sessions(self, users: Collection[str]) -> Collection[str]:
        """Return those of these users who may have sessions without a device now."""
        here = {user for user in users if self._delivery.has_nameless_sessions(user)}
        elsewhere = [user for user in users if user not in here]
        found = await asyncio.gather(*map(self._has_sessions_elsewhere, elsewhere))
        return here.union(user for user, has in zip(elsewhere, found, strict=True) if has)

    def _may_begin(self, user: str) -> bool:
        """Count a new device of a user. Returns whether they may bring one more now."""
        now = self._clock.monotonic()
        since, count = self._new.get(user, (now, 0))
        if now - since >= NEW_DEVICES_SECONDS:
            since, count = now, 0
        self._new[user] = (since, count + 1)
        while len(self._new) > USERS_WITH_NEW_DEVICES:
            self._new.popitem(last=False)
        return count < NEW_DEVICES

    def _make_room(self, mailbox: Mailbox, devices: Sequence[Device]) -> None:
        """End those that were unseen longest, where the user has as many as one may have. Of two
        that come at the same moment both may stay, until the next one comes; and one that is
        connected stays, or each would end the next one for ever.
        """
        others = [each for each in devices if each.name != mailbox.device]
        others.sort(key=lambda each: each.seen_ms)
        here_since_ms = self._clock.wall_ms() - int(2_000 * self._seen_seconds)
        for longest in others[: max(0, len(others) + 1 - USER_DEVICES)]:
            if longest.seen_ms > here_since_ms:
                return
            log.info(
                "device_ended", user=mailbox.user, device=longest.name, reason="too many devices"
            )
            value = DeviceRecord(mailbox.user, longest.name, is_added=False).encode_2()
            for partition in longest.opened:
                # One that is not appended leaves a device too many, until the next one comes.
                self._event_log.append(mailbox.user, value, lambda _result: None, partition)

    # The record of a device ------------------------------------------------------------------

    async def _open(self, decision: OpenDevice) -> None:
        """Append until every partition has the record. Tells the heart once in twice OPEN_SECONDS
        at the latest, and again when more is there.
        """
        missing = set(decision.partitions)
        asked: dict[asyncio.Future[AppendResult], int] = {}  # -> partition
        backoff = Backoff()
        is_told = False
        while missing:
            if not await self._has_turn(None if is_told else OPEN_SECONDS):
                is_told = True
                self._delivery.opened(decision.session, {})
                self._happened()
                continue
            try:
                for partition in missing.difference(asked.values()):
                    asked[self._append(decision, partition)] = partition
                answered, _ = await asyncio.wait(asked, timeout=OPEN_SECONDS)
            finally:
                self._opening.release()
            opened: dict[int, int] = {}
            for each in answered:
                partition, result = asked.pop(each), each.result()
                if isinstance(result, Appended):
                    opened[partition] = result.position.offset + 1
            missing -= opened.keys()
            if opened or not is_told:
                is_told = True
                self._delivery.opened(decision.session, opened)
                self._happened()
            if not self._is_connected(decision.session):
                return
            if missing and answered:
                await backoff.wait()

    async def _has_turn(self, seconds: float | None) -> bool:
        """Wait for a place among those whose records are appended. Returns whether there is one."""
        try:
            async with asyncio.timeout(seconds):
                await self._opening.acquire()
        except TimeoutError:
            return False
        return True

    def _append(self, decision: OpenDevice, partition: int) -> asyncio.Future[AppendResult]:
        """Append the record to a partition. The log answers within a deadline of its own, and in
        the order of the appends.
        """
        user, device = decision.mailbox
        assert device is not None, "the default mailbox has no record"
        names = ("", device) if decision.with_nameless and device else (device,)
        result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        answers: list[AppendResult] = []

        def done(answer: AppendResult) -> None:
            answers.append(answer)
            if len(answers) == len(names) and not result.cancelled():  # or the server ends
                failed = [each for each in answers if not isinstance(each, Appended)]
                result.set_result(failed[0] if failed else answers[-1])

        for name in names:
            value = DeviceRecord(user, name, is_added=True).encode_2()
            self._event_log.append(user, value, done, partition)
        return result

    # That it is there ------------------------------------------------------------------------

    async def _note_seen_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._seen_seconds)
            for mailbox in self._delivery.device_mailboxes():
                self._seen.put(mailbox)

    async def _note_seen(self, mailboxes: list[Mailbox]) -> None:
        try:
            async with asyncio.timeout(RECOGNISE_SECONDS):
                await self._store.seen(set(mailboxes))
        except (TimeoutError, StoreUnavailable) as error:
            # It is noted again long before it counts.
            log.info("seen_not_noted", reason=str(error) or "no answer in time")


def _is_first(mailbox: Mailbox, found: Mapping[str, Sequence[Device]]) -> bool:
    """Say whether a session brings the first device of its user."""
    return bool(mailbox.device) and not found.get(mailbox.user)


def recognise(
    mailbox: Mailbox, devices: Sequence[Device], partitions: frozenset[int]
) -> Recognition:
    """Return which mailbox a session uses, and where its device has still to be opened. A session
    without a device uses the one with the empty name, once its user has others.
    """
    if mailbox.device is None:
        if not devices:
            return Recognition(mailbox)
        mailbox = Mailbox(mailbox.user, "")
    opened = next((each.opened for each in devices if each.name == mailbox.device), frozenset())
    return Recognition(mailbox, partitions - opened, opened)

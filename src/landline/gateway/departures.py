"""Users who are no more: their sessions, memberships and devices end.

Sessions end first, so that none begins a device again that has ended. Then comes what the log can
say of it, and then the store shows what they have said under another name. Who asks again after a
failure asks for the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import orjson

from landline.errors import LogUnavailable, StoreUnavailable
from landline.gateway.posts import POST_SECONDS, Posts
from landline.gateway.revocations import Revocations
from landline.model import Appended, AppendResult, Device, ListQuery, MemberStep, Revocation, Role
from landline.observability.logging import get_logger
from landline.ports import ConversationStore, DeviceStore, EventLog, MessageStore
from landline.protocol.client_frames import ChangeMember
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import is_room
from landline.protocol.limits import PAGE_ITEMS
from landline.protocol.records import DeviceRecord

# As long as a message may take; whoever is in more rooms than can be left in it needs another try.
DEPARTURE_SECONDS: Final = POST_SECONDS
ROOMS_TOGETHER: Final = 16
# Within that sessions end on every server.
HEARD_SECONDS: Final = 2.0

# Somebody else was faster.
_HAS_LEFT: Final = (ErrorCode.BAD_RECIPIENT, ErrorCode.NO_SUCH_CONVERSATION)
_NOT_DONE: Final = "not everything has ended in time; repeat the request"

log = get_logger(__name__)


class Departure(NamedTuple):
    """What has ended of a user, beside the sessions."""

    revocation: Revocation
    rooms: int
    devices: int


class Departures:
    """Ends what users have."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: MessageStore,
        devices: DeviceStore,
        conversations: ConversationStore,
        revocations: Revocations,
        posts: Posts,
        heard_seconds: float,
    ) -> None:
        """`heard_seconds`: how long other servers may take to hear that sessions have to end."""
        self._event_log = event_log
        self._store = store
        self._devices = devices
        self._conversations = conversations
        self._revocations = revocations
        self._posts = posts
        self._heard_seconds = heard_seconds

    async def end(self, user: str, name: str, until_ms: int | None, by: str) -> Departure:
        """End what a user has, in the name of the service `by`; `until_ms` as of a revocation. What
        they have said is shown under `name`.

        Raises: StoreUnavailable, LogUnavailable; some of it may have ended then.
        """
        try:
            async with asyncio.timeout(DEPARTURE_SECONDS):
                revocation = await self._revocations.revoke(user, until_ms, by)
                rooms = await self._until_none_is_left(lambda: self._leave_rooms(user, by))
                devices = await self._until_none_is_left(lambda: self._end_devices(user))
                # What they still say elsewhere meanwhile is theirs too.
                await asyncio.sleep(self._heard_seconds)
                ends = await self._event_log.ends()
                # A log before this one may have had more partitions.
                before = {**await self._store.wait_applied(ends), **ends}
                await self._conversations.end_user(user, name, before)
        except TimeoutError:
            raise StoreUnavailable(_NOT_DONE) from None
        log.info("user_ended", user=user, by=by, rooms=rooms, devices=devices)
        return Departure(revocation, rooms, devices)

    async def _until_none_is_left(self, end_some: Callable[[], Awaitable[int]]) -> int:
        """Repeat it until nothing is found: a list may have changed while it was gone through, and
        what was accepted before is in the store only later.
        """
        count = 0
        while True:
            await self._store.wait_applied(await self._event_log.ends())
            found = await end_some()
            if not found:
                return count
            count += found

    async def _leave_rooms(self, user: str, by: str) -> int:
        count = 0
        after: tuple[int, str] | None = None
        while True:
            items = await self._conversations.list(ListQuery(user, after, PAGE_ITEMS))
            rooms = [each.name for each in items if is_room(each.name)]
            for first in range(0, len(rooms), ROOMS_TOGETHER):
                some = rooms[first : first + ROOMS_TOGETHER]
                await asyncio.gather(*(self._leave(user, room, by) for room in some))
            count += len(rooms)
            if len(items) < PAGE_ITEMS:
                return count
            after = (items[-1].last_time_ms, items[-1].name)

    async def _leave(self, user: str, room: str, by: str) -> None:
        change = ChangeMember(room, user, MemberStep.REMOVE, Role.MEMBER)
        frame = await self._posts.post(by, change, is_service=True, is_product=True)
        answer = orjson.loads(frame)
        if answer["type"] == "error" and answer["code"] not in _HAS_LEFT:
            raise LogUnavailable(_NOT_DONE)

    async def _end_devices(self, user: str) -> int:
        known: Sequence[Device] = (await self._devices.devices([user])).get(user, ())
        devices = [each for each in known if each.opened]
        results = [self._append(each, partition) for each in devices for partition in each.opened]
        for result in await asyncio.gather(*results):
            if not isinstance(result, Appended):
                raise LogUnavailable(_NOT_DONE)
        return len(devices)

    def _append(self, device: Device, partition: int) -> asyncio.Future[AppendResult]:
        result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()

        def done(answer: AppendResult) -> None:
            if not result.cancelled():  # time is up
                result.set_result(answer)

        value = DeviceRecord(device.user, device.name, is_added=False).encode_2()
        self._event_log.append(device.user, value, done, partition)
        return result

"""What has to be known of a request before it may go to the log: who is in the room, and whether
the product allows it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from landline.delivery.flights import Bar
from landline.delivery.requests import is_for_version_2
from landline.delivery.rooms import (
    FULL,
    NO_ROOMS,
    NO_SUCH,
    NOT_YET,
    REF_TAKEN,
    bar_direct,
    bar_in_room,
    bar_product,
    needs_room,
)
from landline.errors import Unavailable
from landline.gateway.permissions import BARS, Permissions, Verdict
from landline.gateway.rooms import Rooms
from landline.model import MemberStep, Room
from landline.protocol.client_frames import (
    ChangeMember,
    ChangeRoom,
    Create,
    LogRequest,
    MarkRead,
    Send,
)
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import is_room, participants, room_conversation
from landline.protocol.limits import ROOM_MEMBERS

_UNKNOWN_ROOM: Final = Bar(
    ErrorCode.BUSY, "who is in the room cannot be found out now; send again in a moment"
)

# To find out who is in a room, however often the store has to be asked for that.
CONVERSATION_SECONDS: Final = 6.0
# For the product to say of all of them whether they may be put into a room.
PERMISSION_SECONDS: Final = 5.0

Request = LogRequest | MarkRead


class Checked(NamedTuple):
    """A request as it is to be carried out, and why it must not be, if so."""

    request: Request
    bar: Bar | None = None


class Checks:
    """Judges requests, at once where all is known."""

    def __init__(
        self,
        rooms: Rooms,
        permissions: Permissions | None,
        *,
        record_version: Callable[[], int],
        is_for_everybody: bool,
    ) -> None:
        """`permissions`: None, where nobody is asked. `is_for_everybody`: who makes rooms."""
        self._rooms = rooms
        self._permissions = permissions
        self._record_version = record_version
        self._is_for_everybody = is_for_everybody

    def recall(
        self, user: str, request: Request, *, is_service: bool, is_product: bool = False
    ) -> Checked | None:
        """Return what holds now without a wait; None: `find_out`. `is_service`: the product's
        backend asks; `is_product`: in nobody's name, so that it is an admin of every room.
        """
        early = self._without_room(user, request, is_service=is_service)
        if isinstance(early, Checked):
            return early
        request = early
        if isinstance(request, Create) and request.ref is not None:
            return None
        if name := needs_room(request):
            room = self._rooms.recall(name, is_change=_is_change(request))
            bar = NO_SUCH if room is None else self._bar(user, request, room, is_product=is_product)
            if bar is not None:
                return None  # it may be that new
        elif isinstance(request, MarkRead) and not self._rooms.recall_direct(request.conversation):
            return None
        verdict = self._recall_verdict(user, request, is_service=is_service)
        return None if verdict is None else self._checked(request, BARS[verdict])

    async def find_out(
        self, user: str, request: Request, *, is_service: bool, is_product: bool = False
    ) -> Checked:
        """Return what holds, within the deadlines of those who are asked. See `recall`."""
        early = self._without_room(user, request, is_service=is_service)
        if isinstance(early, Checked):
            return early
        request = early
        try:
            async with asyncio.timeout(CONVERSATION_SECONDS):
                checked = await self._find_conversation(user, request, is_product=is_product)
        except (TimeoutError, Unavailable):
            return Checked(request, _UNKNOWN_ROOM)
        if checked.bar is not None:
            return checked
        try:
            async with asyncio.timeout(PERMISSION_SECONDS):
                verdict = await self._find_verdict(user, request, is_service=is_service)
        except TimeoutError:
            verdict = Verdict.UNANSWERED
        if self._permissions is not None and verdict is Verdict.ALLOWED and needs_room(request):
            # Somebody may have been removed while the product was asked.
            try:
                async with asyncio.timeout(CONVERSATION_SECONDS):
                    checked = await self._find_conversation(user, request, is_product=is_product)
            except (TimeoutError, Unavailable):
                return Checked(request, _UNKNOWN_ROOM)
            if checked.bar is not None:
                return checked
        return self._checked(request, BARS[verdict])

    async def _find_conversation(self, user: str, request: Request, *, is_product: bool) -> Checked:
        if isinstance(request, Create) and request.ref is not None:
            return await self._check_new_room(user, request, request.ref)
        if name := needs_room(request):

            def bar(room: Room | None) -> Bar | None:
                return self._bar(user, request, room, is_product=is_product)

            room = await self._rooms.find_out(
                name, lambda room: bar(room) is None, is_change=_is_change(request)
            )
            return Checked(request, bar(room))
        if isinstance(request, MarkRead):
            is_there = await self._rooms.find_direct(request.conversation, user)
            return Checked(request, None if is_there else NO_SUCH)
        return Checked(request)

    def _bar(
        self, user: str, request: Request, room: Room | None, *, is_product: bool
    ) -> Bar | None:
        bar = (bar_product if is_product else bar_in_room)(user, request, room)
        if bar is None and room is not None and _joins(request):
            assert isinstance(request, ChangeMember), "it adds somebody"
            is_new = request.user not in room.members
            if is_new and len(room.members) + self._rooms.joining(room) >= ROOM_MEMBERS:
                return FULL
        return bar

    def _checked(self, request: Request, bar: Bar | None) -> Checked:
        if bar is None and _joins(request):
            assert isinstance(request, ChangeMember), "it adds somebody"
            self._rooms.let_join(request.conversation, request.user)
        return Checked(request, bar)

    async def placing(
        self, user: str, change: ChangeMember, *, is_product: bool = False
    ) -> ChangeMember:
        """Return the change that makes somebody a member of this role, given the one that adds
        them: who is a member already gets the role. Raises: StoreUnavailable, LogUnavailable,
        TimeoutError.
        """
        if self._record_version() == 1:
            return change  # it is refused
        room = await self._rooms.find_out(
            change.conversation, lambda room: is_product or _is_in(room, user)
        )
        if room is None or not (is_product or user in room.members):
            return change  # so is this, and it takes as long whoever is in the room
        if change.user not in room.members:
            room = await self._rooms.find_out(
                change.conversation, lambda room: _is_in(room, change.user)
            )
        is_there = room is not None and change.user in room.members
        return replace(change, change=MemberStep.ROLE) if is_there else change

    def _without_room(self, user: str, request: Request, *, is_service: bool) -> Checked | Request:
        """Return what needs to know no room; otherwise the request in its usual form."""
        if isinstance(request, Send) and request.conversation and not is_room(request.conversation):
            if (bar := bar_direct(user, request.conversation)) is not None:
                return Checked(request, bar)
            # The same message whichever way it is addressed, and in whichever version of records.
            others = [each for each in participants(request.conversation) if each != user]
            request = replace(request, to=others[0] if others else user, conversation="")
        is_new = isinstance(request, MarkRead) or is_for_version_2(request)
        if is_new and self._record_version() == 1:
            return Checked(request, NOT_YET)
        if isinstance(request, Create):
            if not (is_service or self._is_for_everybody):
                return Checked(request, NO_ROOMS)
            members = {user, *request.members}
            return Checked(request, FULL) if len(members) > ROOM_MEMBERS else request
        if isinstance(request, MarkRead) and not is_room(request.conversation):
            bar = bar_direct(user, request.conversation)
            return request if bar is None else Checked(request, bar)
        return request

    async def _check_new_room(self, user: str, request: Create, ref: str) -> Checked:
        name = room_conversation(user, ref)
        room: Room | None = await self._rooms.find_out(name, lambda _room: True)
        if room is None:
            return Checked(request)
        # Either the same request has made it, and is found, or another one has.
        return Checked(request, REF_TAKEN)

    def _recall_verdict(self, user: str, request: Request, *, is_service: bool) -> Verdict | None:
        if self._permissions is None:
            return Verdict.ALLOWED
        is_known = True
        for each in _approached(user, request):
            verdict = self._permissions.recall(user, each, is_service=is_service)
            if verdict in (Verdict.REFUSED, Verdict.UNANSWERED):
                return verdict
            is_known = is_known and verdict is not None
        return Verdict.ALLOWED if is_known else None

    async def _find_verdict(self, user: str, request: Request, *, is_service: bool) -> Verdict:
        """Ask about one after the other: a user has few questions open at a time."""
        if self._permissions is None:
            return Verdict.ALLOWED
        for each in _approached(user, request):
            verdict = self._permissions.recall(user, each, is_service=is_service)
            if verdict is None:
                verdict = await self._permissions.find_out(user, each)
            if verdict is not Verdict.ALLOWED:
                return verdict
        return Verdict.ALLOWED


def _approached(user: str, request: Request) -> Sequence[str]:
    """Return whom, or which conversation, the product is asked about. Whoever may not write to
    somebody may not put them into a room either.
    """
    if isinstance(request, Send):
        return (request.to or request.conversation,)
    if isinstance(request, ChangeMember) and request.change is MemberStep.ADD:
        return (request.user,)
    if isinstance(request, Create):
        return tuple(each for each in request.members if each != user)
    return ()


def _is_in(room: Room | None, user: str) -> bool:
    return room is not None and user in room.members


def _is_change(request: Request) -> bool:
    return isinstance(request, ChangeMember | ChangeRoom)


def _joins(request: Request) -> bool:
    return isinstance(request, ChangeMember) and request.change is MemberStep.ADD

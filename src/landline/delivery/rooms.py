"""What users may ask of conversations, by what is known of who is in them. Pure."""

from landline.delivery.flights import Bar
from landline.model import MemberStep, Role, Room
from landline.protocol.client_frames import ChangeMember, ChangeRoom, LogRequest, MarkRead, Send
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import is_room, participants
from landline.protocol.limits import ROOM_MEMBERS

# The same for a conversation that does not exist and for one that is somebody else's.
NO_SUCH = Bar(ErrorCode.NO_SUCH_CONVERSATION, "there is no such conversation, or you are not in it")
NOT_YET = Bar(
    ErrorCode.BUSY,
    "rooms, devices and attached data come when this cluster has gone over to this version;"
    " send again later",
)
_NO_ADMIN = Bar(ErrorCode.FORBIDDEN, "only admins of the room may do that")
_NO_MEMBER = Bar(ErrorCode.BAD_RECIPIENT, "user: not a member of the room")
FULL = Bar(ErrorCode.ROOM_FULL, f"a room has at most {ROOM_MEMBERS} members")
NO_ROOMS = Bar(ErrorCode.FORBIDDEN, "here rooms are made by the product alone")
REF_TAKEN = Bar(ErrorCode.BAD_REF, "this ref has made another room; give each room its own")


def bar_direct(user: str, conversation: str) -> Bar | None:
    """Return why a user may not write to a direct conversation, if so."""
    return None if user in participants(conversation) else NO_SUCH


def bar_in_room(user: str, request: LogRequest | MarkRead, room: Room | None) -> Bar | None:
    """Return why a user may not ask that of a room, if so. `room`: None where there is none."""
    member = None if room is None else room.members.get(user)
    if room is None or member is None:
        return NO_SUCH
    role = member.role
    if isinstance(request, Send | MarkRead):
        return None
    if isinstance(request, ChangeRoom):
        return None if role is Role.ADMIN else _NO_ADMIN
    if isinstance(request, ChangeMember):
        return _bar_change(user, request, room, role)
    raise AssertionError("a room that is to be made has no members yet")


def bar_product(user: str, request: LogRequest | MarkRead, room: Room | None) -> Bar | None:
    """Return why the product's backend may not ask that of a room in its own name, if so. It may
    do what the room's admins may, without being a member.
    """
    if room is None or isinstance(request, Send | MarkRead):
        return bar_in_room(user, request, room)
    if isinstance(request, ChangeMember):
        return _bar_change(user, request, room, Role.ADMIN)
    return None


def _bar_change(user: str, request: ChangeMember, room: Room, role: Role) -> Bar | None:
    if request.change is not MemberStep.ADD and request.user not in room.members:
        return _NO_MEMBER if role is Role.ADMIN or request.user == user else _NO_ADMIN
    if request.change is MemberStep.REMOVE and request.user == user:
        return None  # everybody may leave
    if role is not Role.ADMIN:
        return _NO_ADMIN
    is_new = request.change is MemberStep.ADD and request.user not in room.members
    return FULL if is_new and len(room.members) >= ROOM_MEMBERS else None


def needs_room(request: LogRequest | MarkRead) -> str:
    """Return the room that has to be looked up before a request can be judged, if any."""
    if isinstance(request, Send | MarkRead | ChangeMember | ChangeRoom):
        return request.conversation if is_room(request.conversation) else ""
    return ""

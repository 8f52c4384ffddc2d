"""Client frames: what a client may say, and the one validator of it.

Whatever `decode` lets through can be stored by every store: the writer checks records with the
same functions (`landline.protocol.records`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from landline.model import History, MemberStep, Role
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import (
    BadName,
    check_user_name,
    is_conversation,
    is_message_id,
    is_ref,
    is_room,
    participants,
    utf8_length,
)
from landline.protocol.limits import (
    ACK_IDS,
    CONTENT_BYTES,
    DATA_BYTES,
    DELIVERY_IDS,
    PAGE_ITEMS,
    REF_BYTES,
    REQUEST_BYTES,
    ROOM_MEMBERS,
    TITLE_BYTES,
)
from landline.protocol.strict_json import (
    TOO_MANY_IDS,
    TOO_MANY_MEMBERS,
    TOO_MUCH_DATA,
    NotStrict,
    parse,
    salvage,
)

# The last whole number that every client can hold: the log's offsets are far below.
_LAST_OFFSET = 2**53 - 1
_NO_OFFSET = "{} must be a whole number from -1 to 2^53 - 1"
_Choice = TypeVar("_Choice", History, MemberStep, Role)
Fields = Mapping[str, Any]


# Requests that end in the log -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Ask for a message to be accepted. `retry`: an earlier try's answer was never seen.

    It has `to` or `conversation`, and the other one is empty. `data` is a JSON object as text.
    """

    to: str
    content: str
    ref: str | None = None
    retry: bool = False
    conversation: str = ""
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Ask for a room, with these members beside its creator."""

    title: str | None
    members: tuple[str, ...]
    history: History
    ref: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class ChangeMember:
    """Ask for somebody to be added to a room, removed, or given another role."""

    conversation: str
    user: str
    change: MemberStep
    role: Role
    ref: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class ChangeRoom:
    """Ask for another title of a room; None for none."""

    conversation: str
    title: str | None
    ref: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class MarkRead:
    """The person has seen everything of a conversation up to `offset`."""

    conversation: str
    offset: int


# Questions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskList:
    """Ask for one's conversations, the newest first. `after`: the `next` of the page before."""

    request: str | None
    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class AskHistory:
    """Ask for a page of a conversation, before or after an offset, exclusive; neither: the end."""

    request: str | None
    conversation: str
    before: int | None
    after: int | None
    limit: int


@dataclass(frozen=True, slots=True)
class AskMembers:
    """Ask who is in a conversation."""

    request: str | None
    conversation: str


@dataclass(frozen=True, slots=True)
class AskDelivery:
    """Ask who has received these messages of one's own."""

    request: str | None
    ids: tuple[str, ...]


# The rest -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has safely received these messages."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by `pong`, for clients that cannot send WebSocket pings."""


@dataclass(frozen=True, slots=True)
class Auth:
    """A token that says who this is. No session needs to know it."""

    token: str = field(repr=False)


LogRequest = Send | Create | ChangeMember | ChangeRoom
Question = AskList | AskHistory | AskMembers | AskDelivery
ClientFrame = LogRequest | MarkRead | Question | Ack | Ping


class BadFrame(ValueError):
    """A frame that cannot be taken. `outcome` is set when a request for the log is concerned, and
    `request` is that of a question.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        outcome: Outcome | None = None,
        ref: str | None = None,
        request: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome
        self.ref = ref
        self.request = request


class _Unfit(ValueError):
    """A field is not what it should be."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.BAD_FRAME) -> None:
        super().__init__(message)
        self.code = code


def decode(text: str) -> ClientFrame | Auth:
    """Return the client's frame.

    Raises: BadFrame, with the outcome and `ref` of the request as far as they can be made out.
    """
    frame = read_object(text)
    kind = frame.get("type", "send" if "to" in frame and "content" in frame else None)
    if kind == "send":
        return read_send(frame)
    if kind == "ack":
        return _ack(frame)
    if kind == "ping":
        return Ping()
    if kind == "auth":
        return _auth(frame)
    if "type" in frame and isinstance(kind, str):
        if (read := _FOR_THE_LOG.get(kind) or _QUESTIONS.get(kind)) is not None:
            return read(frame)
        raise BadFrame(ErrorCode.UNKNOWN_TYPE, f"unknown frame type; known are {_KNOWN}")
    raise BadFrame(
        ErrorCode.BAD_FRAME,
        f"a frame needs a type ({_KNOWN}), or to and content for a send",
        *_concerned(frame),
    )


def read_object(text: str, *, what: str = "a frame") -> Fields:
    """Return a frame's fields, or those of a request's body, which are held to the same rules.
    `what` it is called where it breaks them.

    Raises: BadFrame, with the outcome and `ref` of the send as far as they can be made out.
    """
    try:
        return parse(text)
    except NotStrict as error:
        frame = salvage(text) if error.frame is None else error.frame
        reason = str(error).replace("a frame", what, 1)
        raise BadFrame(error.code, reason, *_concerned(frame)) from None


def read_send(frame: Fields) -> Send:
    """Return the send that these fields are. Raises: BadFrame."""
    return _for_the_log(frame, _send)


def read_create(frame: Fields) -> Create:
    """Return the request for a room that these fields are. Raises: BadFrame."""
    return _for_the_log(frame, _create)


def read_member(frame: Fields) -> ChangeMember:
    """Return the change of a member that these fields are. Raises: BadFrame."""
    return _for_the_log(frame, _member)


def read_room(frame: Fields) -> ChangeRoom:
    """Return the change of a room that these fields are. Raises: BadFrame."""
    return _for_the_log(frame, _room)


def read_read(frame: Fields) -> MarkRead:
    """Return the mark that these fields are. Raises: BadFrame."""
    return _for_the_log(frame, _read)


def read_list(frame: Fields) -> AskList:
    """Return the question that these fields are. Raises: BadFrame."""
    return _question(frame, _list)


def read_history(frame: Fields) -> AskHistory:
    """Return the question that these fields are. Raises: BadFrame."""
    return _question(frame, _history)


def read_members(frame: Fields) -> AskMembers:
    """Return the question that these fields are. Raises: BadFrame."""
    return _question(frame, _members)


def read_delivery(frame: Fields) -> AskDelivery:
    """Return the question that these fields are. Raises: BadFrame."""
    return _question(frame, _delivery)


_LogRequest = TypeVar("_LogRequest", Send, Create, ChangeMember, ChangeRoom, MarkRead)
_Question = TypeVar("_Question", AskList, AskHistory, AskMembers, AskDelivery)


def _for_the_log(
    frame: Fields, read: Callable[[Fields, str | None, bool], _LogRequest]
) -> _LogRequest:
    ref, retry = frame.get("ref"), frame.get("retry")
    code, why = ErrorCode.BAD_FRAME, ""
    if ref is not None and not isinstance(ref, str):
        ref, why = None, "ref must be a string"
    elif ref is not None and not is_ref(ref):
        ref, code = None, ErrorCode.BAD_REF
        why = f"ref must have 1 to {REF_BYTES} bytes and no NUL"
    elif retry is not None and not isinstance(retry, bool):
        why = "retry must be true or false"
    if why:
        raise BadFrame(code, why, Outcome.REJECTED, ref)
    try:
        return read(frame, ref, bool(retry))
    except _Unfit as unfit:
        raise BadFrame(unfit.code, str(unfit), Outcome.REJECTED, ref) from None


def _question(frame: Fields, read: Callable[[Fields, str | None], _Question]) -> _Question:
    request = frame.get("request")
    if request is not None and not (
        isinstance(request, str) and utf8_length(request) <= REQUEST_BYTES
    ):
        raise BadFrame(
            ErrorCode.BAD_FRAME, f"request must be a string of at most {REQUEST_BYTES} bytes"
        )
    try:
        return read(frame, request)
    except _Unfit as unfit:
        raise BadFrame(unfit.code, str(unfit), request=request) from None


# Frame by frame -------------------------------------------------------------------------------


def _send(frame: Fields, ref: str | None, retry: bool) -> Send:
    to, conversation = frame.get("to"), frame.get("conversation")
    if to is not None and conversation is not None:
        raise _Unfit("give to or conversation, not both")
    if conversation is None:
        if not isinstance(to, str):
            raise _Unfit("to must be a string: the recipient's user name; or give conversation")
        return Send(*_named(to, "to"), _content(frame), ref, retry, data=_data(frame))
    where = _conversation(frame)
    for name in participants(where):
        _named(name, "conversation")  # what is new is for users that there may be
    return Send("", _content(frame), ref, retry, where, _data(frame))


def _create(frame: Fields, ref: str | None, retry: bool) -> Create:
    members = frame.get("members")
    if members is None:
        members = []
    if not isinstance(members, list) or len(members) > ROOM_MEMBERS:
        raise _Unfit(TOO_MANY_MEMBERS)
    names = tuple(name for each in members for name in _named(each, "members"))
    return Create(
        _title(frame),
        tuple(dict.fromkeys(names)),
        _choice(History, frame, "history", History.ALL),
        ref,
        retry,
    )


def _member(frame: Fields, ref: str | None, retry: bool) -> ChangeMember:
    [user] = _named(frame.get("user"), "user")
    step = _choice(MemberStep, frame, "change", None)
    role = _choice(Role, frame, "role", None if step is MemberStep.ROLE else Role.MEMBER)
    return ChangeMember(_room_name(frame), user, step, role, ref, retry)


def _room(frame: Fields, ref: str | None, retry: bool) -> ChangeRoom:
    if "title" not in frame:
        raise _Unfit("title is missing: give the new one, or null for none")
    return ChangeRoom(_room_name(frame), _title(frame), ref, retry)


def _read(frame: Fields, _ref: str | None, _retry: bool) -> MarkRead:
    offset = _offset(frame, "offset")
    if offset is None:
        raise _Unfit(_NO_OFFSET.format("offset"))
    return MarkRead(_conversation(frame), offset)


def _list(frame: Fields, request: str | None) -> AskList:
    after = frame.get("after")
    if after is not None and not isinstance(after, str):
        raise _Unfit("after must be the next of the page before")
    return AskList(request, after, _limit(frame))


def _history(frame: Fields, request: str | None) -> AskHistory:
    before, after = _offset(frame, "before"), _offset(frame, "after")
    if before is not None and after is not None:
        raise _Unfit("give before or after, not both")
    return AskHistory(request, _conversation(frame), before, after, _limit(frame))


def _members(frame: Fields, request: str | None) -> AskMembers:
    return AskMembers(request, _conversation(frame))


def _delivery(frame: Fields, request: str | None) -> AskDelivery:
    ids = frame.get("ids")
    if not isinstance(ids, list) or len(ids) > DELIVERY_IDS or not all(map(is_message_id, ids)):
        raise _Unfit(f"ids must be a list of at most {DELIVERY_IDS} message ids")
    return AskDelivery(request, tuple(dict.fromkeys(ids)))


_FOR_THE_LOG: Mapping[str, Callable[[Fields], ClientFrame]] = {
    "create": read_create,
    "member": read_member,
    "room": read_room,
    "read": read_read,
}
_QUESTIONS: Mapping[str, Callable[[Fields], ClientFrame]] = {
    "list": read_list,
    "history": read_history,
    "members": read_members,
    "delivery": read_delivery,
}
_KNOWN = ", ".join(["send", "ack", *_FOR_THE_LOG, *_QUESTIONS, "ping"]) + " and auth"


def _ack(frame: Fields) -> Ack:
    ids = frame.get("ids")
    if not isinstance(ids, list) or len(ids) > ACK_IDS:
        raise BadFrame(ErrorCode.BAD_FRAME, TOO_MANY_IDS)
    if not all(map(is_message_id, ids)):
        raise BadFrame(ErrorCode.BAD_FRAME, "ids must hold message ids: lower-case UUIDs")
    return Ack(tuple(ids))


def _auth(frame: Fields) -> Auth:
    token = frame.get("token")
    if not isinstance(token, str):
        raise BadFrame(ErrorCode.BAD_FRAME, "token must be a string")
    return Auth(token)


# Fields ---------------------------------------------------------------------------------------


def _named(name: object, what: str) -> tuple[str]:
    if not isinstance(name, str):
        raise _Unfit(f"{what} must name users")
    try:
        return (check_user_name(name),)
    except BadName as error:
        raise _Unfit(f"{what}: {error}", ErrorCode.BAD_RECIPIENT) from None


def _content(frame: Fields) -> str:
    content = frame.get("content")
    if not isinstance(content, str):
        raise _Unfit("content must be a string")
    if "\x00" in content:
        raise _Unfit("content must not contain NUL")
    if not content:
        raise _Unfit("content must not be empty", ErrorCode.CONTENT_EMPTY)
    if utf8_length(content) > CONTENT_BYTES:
        raise _Unfit(f"content must not exceed {CONTENT_BYTES} bytes", ErrorCode.CONTENT_TOO_LARGE)
    return content


def _data(frame: Fields) -> str | None:
    data = frame.get("data")
    if data is None:
        return None
    if not isinstance(data, dict):
        raise _Unfit("data must be a JSON object")
    text = orjson.dumps(data)
    if len(text) > DATA_BYTES:
        raise _Unfit(TOO_MUCH_DATA, ErrorCode.CONTENT_TOO_LARGE)
    return text.decode()


def _title(frame: Fields) -> str | None:
    title = frame.get("title")
    if title is None:
        return None
    if not isinstance(title, str) or "\x00" in title:
        raise _Unfit("title must be a string without NUL")
    if not 1 <= utf8_length(title) <= TITLE_BYTES:
        raise _Unfit(f"title must have 1 to {TITLE_BYTES} bytes, or be null")
    return title


def _conversation(frame: Fields) -> str:
    conversation = frame.get("conversation")
    if not isinstance(conversation, str) or not is_conversation(conversation):
        raise _Unfit(
            "conversation must be one as frames name it: room: and its UUID, or dm: and both names,"
            " the lower one first"
        )
    return conversation


def _room_name(frame: Fields) -> str:
    conversation = _conversation(frame)
    if not is_room(conversation):
        raise _Unfit("conversation must be a room: members and titles are for rooms alone")
    return conversation


def _offset(frame: Fields, name: str) -> int | None:
    offset = frame.get(name)
    if offset is None:
        return None
    if type(offset) is not int or not -1 <= offset <= _LAST_OFFSET:
        raise _Unfit(_NO_OFFSET.format(name))
    return offset


def _limit(frame: Fields) -> int:
    limit = frame.get("limit", PAGE_ITEMS)
    if type(limit) is not int or not 1 <= limit <= PAGE_ITEMS:
        raise _Unfit(f"limit must be a whole number from 1 to {PAGE_ITEMS}")
    return limit


def _choice(kind: type[_Choice], frame: Fields, name: str, default: _Choice | None) -> _Choice:
    value = frame.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or value not in set(kind):
        raise _Unfit(f"{name} must be {', '.join(list(kind)[:-1])} or {list(kind)[-1]}")
    return kind(value)


def _concerned(frame: Fields) -> tuple[Outcome | None, str | None]:
    """Say whether a frame that cannot be taken meant a request for the log, and which."""
    kind = frame.get("type", "send")
    is_send = kind == "send" and any(name in frame for name in ("to", "content", "conversation"))
    if not is_send and not (isinstance(kind, str) and kind in _FOR_THE_LOG):
        return None, None
    ref = frame.get("ref")
    return Outcome.REJECTED, ref if isinstance(ref, str) and is_ref(ref) else None

"""Errors of the client.

ClientError
├── ConnectionFailed    no server answered in time; trying again later may work
├── Refused             the server refuses this client for good, or the address or the user name
│   │                   is not valid
│   ├── WrongUser       the session is another user's than the one asked for
│   ├── TokenRefused    the token has expired or is not taken
│   └── ClosedByAdministrator   somebody has closed this user's sessions
├── TokenUnavailable    there is no token now; trying again later may work
├── MessageRejected     this message, or request, is certainly not in the log and never will be
│   ├── NoSuchConversation  there is none, or this user is not in it; also the answer to questions
│   └── RoomFull            the room has as many members as one may have
├── QuestionRefused     the server does not answer this question
├── MessageUncertain    given up: the server refuses it now, and an earlier try may be in the log
├── SendTimeout         no answer yet; the client goes on sending the message
├── OutboxInUse         another process has the outbox file open
├── ForeignOutbox       the outbox file belongs to another user or another server
└── ChatClosed          the chat was left
"""

from landline.errors import LandlineError
from landline.protocol.codes import ErrorCode


class ClientError(LandlineError):
    """Root of the client's errors."""


class ConnectionFailed(ClientError):
    """The server could not be reached within `connect_timeout`."""


class Refused(ClientError):
    """The server refuses this client for good, or the address or the user name is not valid.

    Connecting again the same way will not help.
    """


class WrongUser(Refused):
    """The server began a session for another user: `user`, where `asked` was wanted.

    Something between client and server, such as a proxy that signs people in, decided that. No
    message was sent.
    """

    def __init__(self, asked: str, user: str) -> None:
        super().__init__(
            f"asked for a session of {asked!r} and got one of {user!r}: "
            "connect as the user that the server or its proxy takes you for"
        )
        self.asked = asked
        self.user = user


class TokenRefused(Refused):
    """The token has expired or is not taken, and there is no fresh one.

    A function `token` may raise it as well: the user has signed out.
    """


class ClosedByAdministrator(Refused):
    """An administrator, or the product, has closed this user's sessions."""


class TokenUnavailable(ClientError):
    """There is no token now. A function `token` may raise it with a sentence for people.

    It is asked again later, as after every error that is no ClientError.
    """


class MessageRejected(ClientError):
    """The server refused a message, or a request for a room: it is certainly not in the log and
    never will be.

    `code` is one of the protocol's error codes, such as `content_too_large`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class NoSuchConversation(MessageRejected):
    """There is no such conversation, or this user is not in it: nobody is told which."""


class RoomFull(MessageRejected):
    """The room has as many members as one may have."""


def rejection(code: str, reason: str) -> MessageRejected:
    """Return the error for a code."""
    if code == ErrorCode.NO_SUCH_CONVERSATION:
        return NoSuchConversation(code, reason)
    return (RoomFull if code == ErrorCode.ROOM_FULL else MessageRejected)(code, reason)


class QuestionRefused(ClientError):
    """The server does not answer a question, or does not know it: it may be of an earlier version.

    `code` is one of the protocol's error codes, such as `bad_frame`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


def not_answered(code: str, reason: str) -> ClientError:
    """Return the error of a question, or of a mark, for a code."""
    if code == ErrorCode.NO_SUCH_CONVERSATION:
        return rejection(code, reason)
    return QuestionRefused(code, reason)


class MessageUncertain(ClientError):
    """The server refuses a message now, and an earlier try of it may be in the log. The client has
    given it up; whether it is sent stays unknown.

    `code` is one of the protocol's error codes: `forbidden`; for a request for a room also
    `unknown_type`, where it was tried before and the server that is there now knows no rooms.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}; it is unknown whether an earlier try was sent")
        self.code = code
        self.reason = reason


class SendTimeout(ClientError):
    """No answer within the caller's timeout: the outcome is unknown for now.

    The message stays in the outbox and the client goes on sending it. Do not send it again.
    """


class OutboxInUse(ClientError):
    """Another process has this outbox file open."""


class ForeignOutbox(ClientError):
    """The outbox file belongs to `user` at `server`; its messages must not go anywhere else."""

    def __init__(self, path: object, *, user: str, server: str, asked: tuple[str, str]) -> None:
        super().__init__(
            f"the outbox {path} belongs to {user!r} at {server}, "
            f"not to {asked[0]!r} at {asked[1]}: "
            "give every user at every server a file of their own"
        )
        self.user = user
        self.server = server


class ChatClosed(ClientError):
    """The chat was left before this could be done. What is in an outbox file is sent next time."""

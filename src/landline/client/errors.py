"""What can go wrong for a user of the client.

ClientError
├── ConnectionFailed    nobody answered in time; trying again later may work
├── Refused             the server does not want this client: name, token, protocol
├── MessageRejected     this message is certainly not in the log and never will be
├── SendTimeout         no answer yet; the message stays in the outbox and goes on being sent
├── OutboxInUse         another process has the outbox file open
└── ChatClosed          the chat was left
"""

from landline.errors import LandlineError


class ClientError(LandlineError):
    """Root of the client's errors."""


class ConnectionFailed(ClientError):
    """The server could not be reached within `connect_timeout`."""


class Refused(ClientError):
    """The server refused this client for good; connecting again the same way will not help."""


class MessageRejected(ClientError):
    """The server refused a message: it is certainly not in the log and never will be.

    `code` is one of the protocol's error codes, such as `content_too_large`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class SendTimeout(ClientError):
    """No answer within the caller's timeout: the outcome is unknown for now.

    The message stays in the outbox and goes on being sent. Do not send it again.
    """


class OutboxInUse(ClientError):
    """Another process has this outbox file open."""


class ChatClosed(ClientError):
    """The chat was left before this could be done. What is in an outbox file goes on next time."""

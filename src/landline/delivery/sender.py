"""Who waits for the answer to a send: a session, or a request that brought one message."""

from typing import Protocol

from landline.delivery.intake import Intake
from landline.model import Mailbox


class Sender(Protocol):
    """Somebody with sends in flight. They are answered by `Transmit` to this `id`."""

    @property
    def id(self) -> str:
        """Return what names it on this server."""

    @property
    def user(self) -> str:
        """Return who sends."""

    @property
    def mailbox(self) -> Mailbox:
        """Return from where: what is sent is not owed to this one."""

    @property
    def intake(self) -> Intake:
        """Return its sends that are in flight."""


class Post:
    """A request over HTTP with one message. It gets the answer, and nothing else ever."""

    __slots__ = ("id", "intake", "mailbox", "user")

    def __init__(self, id: str, user: str) -> None:
        self.id = id
        self.user = user
        self.mailbox = Mailbox(user)  # so all devices of the user are told what was sent for them
        self.intake = Intake()
        # That its client has left may be seen late, or never: nobody reads what else it says.
        self.intake.is_unread = True

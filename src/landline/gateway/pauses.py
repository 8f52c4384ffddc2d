"""Why frames of a connection have to wait. It goes on when no reason is left."""

from enum import Enum


class Pause(Enum):
    """A reason to take no more frames."""

    FLIGHTS = "too many of its sends are in flight"
    WRITING = "it does not read what it is sent"
    QUESTION = "the product is asked about its last send"
    PACE = "it sent too many frames of late"
    SIGN_IN = "its token is looked at"
    RECOGNITION = "it is not known yet which mailbox it uses"

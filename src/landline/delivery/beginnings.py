"""How sessions begin: their welcome, their place in the directory, their device's record, and only
then the ends of the log (see `landline.delivery.devices`).
"""

from collections.abc import Callable, Iterable, Mapping

from landline.delivery.decisions import (
    Decision,
    OpenDevice,
    ReadEnds,
    Recognise,
    Register,
    Transmit,
    Welcome,
)
from landline.delivery.devices import Answer, Recognition
from landline.delivery.session import Session
from landline.model import Pending, Positions
from landline.protocol import server_frames

# So many frames a session may be due before its welcome, while the store is asked for its device.
EARLY_FRAMES = 64


class Beginnings:
    """The sessions of this server, until their ends are read. Decisions go to `out`."""

    def __init__(
        self,
        *,
        sessions: Mapping[str, Session],
        out: list[Decision],
        server_id: str,
        durability: str,
        record_version: Callable[[], int],
    ) -> None:
        """`sessions`: those that are here, kept by the caller."""
        self._sessions = sessions
        self._out = out
        self._server_id = server_id
        self._durability = durability
        self._record_version = record_version
        self._early: dict[str, list[Decision]] = {}  # frames that come before the welcome
        self._gone: set[str] = set()  # those that have left before it, in this turn

    def begin(self, session: Session) -> None:
        """A session has come. One with a device has its welcome when that was looked up, and where
        it is new, once it is in the log.
        """
        if session.mailbox.device is None:
            self._out.append(Transmit(session.id, self._welcome(session)))
        else:
            self._early[session.id] = []
        self._out.append(Register(session.id, session.user))
        if self._record_version() == 1:
            session.device.recognise(None)
        else:
            self._out.append(Recognise(session.id, session.mailbox))

    def end(self, session_id: str) -> None:
        """A session has left."""
        if self._early.pop(session_id, None) is not None:
            self._gone.add(session_id)

    def recognised(self, session: Session, recognition: Recognition | None) -> bool:
        """The store has answered a `Recognise`; None: not in time. Returns whether the session has
        to come again: it uses the default mailbox, and should not.
        """
        session.device.recognise(recognition)
        if session.has_begun:
            return recognition is not None and recognition.mailbox != session.mailbox
        if session.id in self._early and (recognition is None or not recognition.is_new):
            is_new = None if recognition is None else False
            self._out.append(Welcome(session.id, self._welcome(session, is_new)))
        if recognition is not None:
            session.mailbox = recognition.mailbox
            if recognition.closed:
                self.open_device(
                    session, recognition.closed, with_nameless=recognition.with_nameless
                )
        self._go_on(session)
        return False

    def entered(self, session: Session) -> None:
        """The directory has answered a `Register`, or failed to in time."""
        session.device.is_entered = True
        self._go_on(session)

    def opened(self, session: Session, opened: Positions) -> None:
        """Records of an `OpenDevice` are in the log, or not in good time. Only now has a device
        that is new its welcome, so that what is sent after that is owed to it.
        """
        session.device.note_opened(opened)
        if session.id in self._early:
            self._out.append(Welcome(session.id, self._welcome(session, is_new=True)))
        self._go_on(session)
        session.note_caught_up()

    def has_to_leave(self, session: Session, pending: Pending) -> bool:
        """Look at what the store says of a session's mailbox, and open it where that is still to be
        done. Returns whether it gets nothing more, so that the session has to come again.
        """
        answer, partitions = session.device.judge(session.mailbox, pending)
        if answer is Answer.OPEN:
            self.open_device(session, partitions)
        elif answer is Answer.ASK:
            session.device.is_asking = True
            self._out.append(Recognise(session.id, session.mailbox))
        return answer is Answer.LEAVE

    def open_device(
        self, session: Session, partitions: frozenset[int], *, with_nameless: bool = False
    ) -> None:
        """Have the record of a session's device appended to these partitions."""
        session.device.open(partitions)
        self._out.append(OpenDevice(session.id, session.mailbox, partitions, with_nameless))

    def welcome_first(self, decisions: list[Decision]) -> list[Decision]:
        """Keep back what is for sessions that have no welcome yet. One with many such frames has
        its welcome without more ado.
        """
        if not self._early and not self._gone:
            return decisions
        in_order = list(self._welcome_first(decisions))
        self._gone.clear()
        return in_order

    # Inside ----------------------------------------------------------------------------------

    def _welcome_first(self, decisions: Iterable[Decision]) -> Iterable[Decision]:
        for decision in decisions:
            if not isinstance(decision, Transmit):
                yield decision
                continue
            early = self._early.get(decision.session)
            if early is None:
                # Who has left without a welcome has nothing that would follow, and nobody has two.
                if decision.session not in self._gone and not isinstance(decision, Welcome):
                    yield decision
                continue
            if isinstance(decision, Welcome):
                yield decision
                yield from self._early.pop(decision.session)
                continue
            early.append(decision)
            if len(early) > EARLY_FRAMES:
                session = self._sessions[decision.session]
                yield Welcome(session.id, self._welcome(session))
                yield from self._early.pop(session.id)

    def _welcome(self, session: Session, is_new: bool | None = None) -> bytes:
        return server_frames.welcome(
            user=session.user,
            server=self._server_id,
            session=session.id,
            durability=self._durability,
            device=session.mailbox.device,
            is_new=is_new,
        )

    def _go_on(self, session: Session) -> None:
        """Read the ends, once all has been done that has to be done before."""
        if session.device.may_read_ends and not session.has_begun:
            session.has_begun = True
            self._out.append(ReadEnds(session.id))

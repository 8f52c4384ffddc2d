"""What a history says of one session."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from landline_verify.history.events import Ack, Connect, Disconnect, Live, Recv

# A session that owes this many acknowledgements may soon be, or already is, at the end of its
# window (256, of which the client sees only what has arrived): the server need not push.
NEARLY_FULL = 128


@dataclass(slots=True)
class Session:
    """One connection from `welcome` to its end."""

    at: int
    connect: Connect
    live: tuple[int, Live] | None = None
    ended_at: int | None = None
    ended: Disconnect | None = None
    recvs: list[tuple[int, Recv]] = field(default_factory=list)
    acks: list[tuple[int, Ack]] = field(default_factory=list)
    _full: list[tuple[float, float]] | None = None

    @property
    def ends(self) -> float:
        """When it ended, in seconds; infinity where the history ends first."""
        return inf if self.ended is None else self.ended.t

    def is_nearly_full(self, start: float, end: float) -> bool:
        """Say whether it owed many acknowledgements at some time between two."""
        if self._full is None:
            self._full = list(self._full_spans())
        return any(since <= end and start <= until for since, until in self._full)

    def _full_spans(self) -> Iterator[tuple[float, float]]:
        if self.connect.ack == "auto":
            return
        owed: set[str] = set()
        since: float | None = None
        seen: list[tuple[int, Recv | Ack]] = [*self.recvs, *self.acks]
        for _, event in sorted(seen, key=lambda each: each[0]):
            if isinstance(event, Recv):
                owed.add(event.id)
            else:
                owed.difference_update(event.ids)
            if since is None and len(owed) >= NEARLY_FULL:
                since = event.t
            elif since is not None and len(owed) < NEARLY_FULL:
                yield since, event.t
                since = None
        if since is not None:
            yield since, self.ends

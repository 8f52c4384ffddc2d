"""What the middle asks of the outside world. Adapters implement these; nobody else knows a vendor.

Each docstring states the guarantee that the proof in ARCHITECTURE.md leans on. The contract
suites in tests/contract hold every adapter to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from landline.model import (
    Appended,
    AppendResult,
    Batch,
    DeliveryStatus,
    Device,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Mailbox,
    Pending,
    PendingQuery,
    Positions,
    Revocation,
    Room,
    Stretch,
)


class Clock(Protocol):
    """Time, as the heart sees it. Real in the server, virtual in simulations."""

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch, UTC. Nothing is ordered by it: it is shown, and
        compared with dates that somebody has given.
        """


class LogReader(Protocol):
    """Follows every partition of the log, from where it was opened."""

    async def read(self, limit: int) -> Sequence[Stretch]:
        """Return what comes next, about `limit` entries of any partitions; wait while there is
        nothing.

        Order: each stretch begins where the last one of its partition ended, so nothing is
        skipped and nothing comes twice. At most one stretch per partition. Bytes are bounded too.
        Raises: LogUnavailable (the reader is of no use any more: open another), LogLost.
        Cancelling loses what was about to be returned: close the reader then.
        """

    async def close(self) -> None:
        """Let go of every resource."""


class EventLog(Protocol):
    """The durable, ordered, append-only log: CHAT-MESSAGES.

    Order: within a partition, records are read in the order of their offsets; the same key
    always goes to the same partition. Loss: none after `done` was given `Appended`.
    Duplicates: the log may hold a record twice when an append's outcome was unknown.
    """

    @property
    def durability(self) -> str:
        """Say what an acknowledged record survives, e.g. `sqlite:fsync`."""

    @property
    def partitions(self) -> int:
        """Return how many partitions it has: 0 to this, exclusive."""

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:
        """Append one record; call `done` exactly once, on the event loop's thread. `partition`:
        None for that of the key.

        Never blocks and never raises for trouble outside. `done` comes within the adapter's own
        deadline whatever happens, and never before `append` has returned. `Appended` means
        durable. The adapter bounds what it holds; beyond that the result is
        `NotAppended(certain=True)`. Results of one key arrive in the order of the appends.
        """

    def partition_of(self, key: str) -> int:
        """Return the partition that records of `key` go to."""

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        """Return, for every partition (or these), the offset that the next record will get.

        Every record acknowledged before the call is below it. A partition that cannot say now
        (no leader) is left out: nothing of it can be read either. The answer does not wait for
        a partition that was not asked for.
        Raises: LogUnavailable when none can say.
        """

    async def aged(self, share: float) -> Positions:
        """Return, for each partition, the offset below which every record has used up `share` of
        the time for which the log keeps it. Empty when the log keeps everything.

        Raises: LogUnavailable.
        """

    async def open_reader(self, start: Positions) -> LogReader:
        """Return a reader of every partition from `start` on; one that is not named, from 0 on.

        Raises: LogUnavailable; LogLost when a start lies outside what the log holds.
        """

    def health(self) -> str | None:
        """Return None when appends can succeed, otherwise the reason in words."""

    async def close(self) -> None:
        """Settle what was appended and let go of every resource."""


class MessageStore(Protocol):
    """The final store: conversations, what mailboxes are owed, quarantine, and how far the log has
    been applied.
    """

    @property
    def record_version(self) -> int:
        """Return the newest version of records that may be appended.

        1 for as long as servers may run that know no other; then 2, for ever.
        """

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply batches in their order, and move each partition from its batch's `start` to its
        `end` in the same step. Those of one partition follow one another.

        Each batch all or nothing, by compare-and-set: one whose partition does not stand at
        `start` changes nothing. Returns whether every one was applied. The first record of a
        message is the message, and a later one changes nothing, nor does its change. A receipt
        counts for what is below it in the log, and only for what its mailbox is owed.
        Raises: StoreUnavailable (try again; it may have been applied), Unstorable (something
        in these batches can never be stored; nothing was changed).
        """

    async def applied(self) -> Positions:
        """Return how far each partition has been applied. Raises: StoreUnavailable."""

    async def wait_applied(self, target: Positions) -> Positions:
        """Return `applied` once it covers `target`. No deadline of its own: the caller sets one.

        Raises: StoreUnavailable. Cancelling is safe.
        """

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        """Answer every query, in order, all from one snapshot that also gives `applied`.

        Pending: what the mailbox was owed at its place in the log, and has not acknowledged.
        Raises: StoreUnavailable.
        """

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Return position and time of those messages that are stored. Raises: StoreUnavailable."""

    def health(self) -> str | None:
        """Return None when the store can be used, otherwise the reason in words."""

    async def close(self) -> None:
        """Let go of every resource."""


class ConversationStore(Protocol):
    """What conversations hold, for those who may see it, and who is no more in all of them.

    Direct: the two users see everything. Rooms: their current members see everything, or where
    history is JOINED only what falls into their own memberships, present and former. Nobody else
    sees anything. Raises everywhere: StoreUnavailable.
    """

    async def rooms(self, names: Collection[str]) -> Mapping[str, Room]:
        """Return those of these rooms that were made, also those that all have left."""

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        """Return conversations of which the user is a member, with something visible in them or
        not: the newest last event first, names in the order of their bytes where times are equal.
        """

    async def history(self, query: HistoryQuery) -> HistoryPage | None:
        """Return a page; None where there is no such conversation, or it is not the user's."""

    async def members(self, user: str, conversation: str) -> Sequence[ListedMember] | None:
        """Return the members in the order in which they joined; None as for `history`."""

    async def statuses(self, sender: str, message_ids: Collection[str]) -> Sequence[DeliveryStatus]:
        """Return who has received which of these messages, by message in no particular order.

        Messages that are not the sender's are left out. Recipients: direct, the other one, or
        oneself; rooms, the current members that were one when it was sent, without the sender.
        Users who had more to hear when they ended are left out, too.
        """

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        """Show what a user has said below these offsets under `name` from now on, wherever it is
        read. What their default mailbox is owed there is owed no more.

        Must be asked once all of it is applied. Said again, the last name holds.
        Some of it may be done where it raises; asking again does the rest.
        """


class DeviceStore(Protocol):
    """The devices that users have, and when each was there last."""

    async def devices(self, users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        """Return the devices of these users that are open somewhere, the default mailbox not among
        them. Raises: StoreUnavailable.
        """

    async def seen(self, mailboxes: Collection[Mailbox]) -> None:
        """Note that these devices are there now; those that are not known are left out.

        Raises: StoreUnavailable.
        """

    async def outlived(
        self, unseen_seconds: float, owed: int, after: Mailbox | None, limit: int
    ) -> tuple[Sequence[tuple[Device, str]], Mailbox | None]:
        """Look at up to `limit` devices behind `after` in an order of the store's own. Returns
        those that were unseen for so long, or are owed more than so many messages, with the reason
        in words, and from where to look on; None: there are no others. Raises: StoreUnavailable.
        """


class RevocationStore(Protocol):
    """Whose sessions were to end, for the servers that did not hear of it: one row for each user.

    What `revoke` has returned survives what an applied message survives.
    """

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Enter a revocation, and return it as it is then.

        Order: a revocation becomes visible only after every one whose `revoked_at` is lower.
        `until_ms` takes the place of the one that this user had; None leaves that as it was.
        Raises: StoreUnavailable (it may have been entered; entering it again does no harm).
        """

    async def standing(self, now_ms: int) -> Sequence[Revocation]:
        """Return those whose `until_ms` is later than `now_ms`, and the latest of all.

        Raises: StoreUnavailable.
        """

    async def since(self, revoked_at: int, limit: int) -> Sequence[Revocation]:
        """Return those after `revoked_at` in their order, at most `limit`. Of a user there is only
        the latest. Raises: StoreUnavailable.
        """


class Directory(Protocol):
    """Which servers a user has sessions on. Hints: wrong or empty answers cost latency only."""

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        """Enter (user, session) pairs of this server; a lookup that starts afterwards finds them.

        Raises: DirectoryUnavailable; the registrations are made again when it is back.
        """

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        """Take out these sessions and no others. Raises: DirectoryUnavailable."""

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Return, for each user with sessions on *other* servers, those servers' addresses.

        An address is opaque: the bus takes it. It names one run of a server, not only its id.
        Raises: DirectoryUnavailable.
        """

    async def sessions(self, user: str) -> Collection[tuple[str, str]]:
        """Return (server id, session) pairs of the user's sessions on *other* servers.

        Raises: DirectoryUnavailable, also where only the sessions of this server are known.
        """

    def health(self) -> str | None:
        """Return None when lookups can succeed, otherwise the reason in words."""

    async def close(self) -> None:
        """Take out every session of this server and let go of every resource."""


class RoutingBus(Protocol):
    """Carries hints from server to server: CHAT-ROUTING. May lose, repeat and reorder them."""

    def publish(self, address: str, hint: bytes) -> None:
        """Send a hint to one run of a server. Never blocks, never raises for trouble outside."""

    def publish_to_all(self, hint: bytes) -> None:
        """Send a hint to every server that listens, this one too. As for `publish`."""

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hand every hint addressed to this server from now on to `receive`."""

    def health(self) -> str | None:
        """Return None when hints can flow, otherwise the reason in words."""

    async def close(self) -> None:
        """Stop listening and let go of every resource."""

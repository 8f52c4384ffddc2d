"""Mutants of sessions: connecting, the sweep, turns, acknowledgements, memory."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from unittest import mock

from landline.delivery import delivery, memory, receipts, session, window
from landline.errors import StoreUnavailable
from landline.gateway import membership, replay, routing
from landline.model import (
    NOWHERE,
    Mailbox,
    Pending,
    Positions,
)
from simulation.directory import Registry
from simulation.mutants.mutant import mutant, patch

# Connecting and the sweep ------------------------------------------------------------------------


@mutant("`caught_up` waits until the store has reached the log's ends", "F44", "I2c", 1)
def barrier_ignored() -> AbstractContextManager[Any]:
    begin = session.Session.begin
    return patch(session.Session, "begin", lambda self, _ends: begin(self, NOWHERE))


@mutant("the ends are read after the directory knows the session", "F44", "I2p", 5080)
def ends_before_register() -> AbstractContextManager[Any]:
    tell = membership.Membership._tell_directory
    enter = membership.Membership._read_ends
    known: dict[str, Positions] = {}

    async def first_the_ends(self: membership.Membership, decisions: Any) -> None:
        ends = await self._ends()
        known.update((decision.session, ends) for decision in decisions)
        await tell(self, decisions)

    async def with_known(self: membership.Membership, decisions: Any) -> None:
        for decision in decisions:
            answer = mock.AsyncMock(return_value=known[decision.session])
            with patch(self, "_ends", answer):
                await enter(self, [decision])

    @contextmanager
    def switch() -> Iterator[None]:
        with (
            patch(membership.Membership, "_tell_directory", first_the_ends),
            patch(membership.Membership, "_read_ends", with_known),
        ):
            yield

    return switch()


@mutant("the sweep finds what no hint told", "F05", "I2b", 6)
def sweep_off() -> AbstractContextManager[Any]:
    return patch(replay.Replay, "_sweep", mock.AsyncMock())


@mutant("a replay that failed is tried again", "F65", "I15 I2 I2b I2c", 3)
def replay_gives_up() -> AbstractContextManager[Any]:
    async def once(self: replay.Replay, decisions: Any) -> None:
        with suppress(TimeoutError, StoreUnavailable):
            self._give(decisions, await self._try(decisions, replay.STORE_SECONDS))

    return patch(replay.Replay, "_read_pages", once)


@mutant("a mailbox that cannot be read stops nobody else's replay", "F83", "I15 I2b", 13)
def bad_mailbox_stops_all() -> AbstractContextManager[Any]:
    return patch(replay.Replay, "_divide", mock.AsyncMock(side_effect=StoreUnavailable("all")))


@mutant("conversations take turns in a session that lags", "F85", "I2b", 8)
def no_turns() -> AbstractContextManager[Any]:
    pull = session.Session.pull

    def in_the_order_of_the_log(self: session.Session) -> None:
        self.ahead.turn = None
        pull(self)

    return patch(session.Session, "pull", in_the_order_of_the_log)


@mutant("what was pushed ahead of the cursor is not pushed again", "F54, F85", "I5", 267)
def pushed_ahead_forgotten() -> AbstractContextManager[Any]:
    push = session.Session._push_rows

    def forget(self: session.Session, pending: Pending, is_settled: Any) -> Any:
        pushed = push(self, pending, is_settled)
        self.ahead._cursors.clear()
        return pushed

    return patch(session.Session, "_push_rows", forget)


@mutant("a directory that is down costs latency only", "F48", "defect", 1)
def directory_is_needed() -> AbstractContextManager[Any]:
    @contextmanager
    def switch() -> Iterator[None]:
        never = type("Never", (Exception,), {})
        with patch(membership, "Unavailable", never), patch(routing, "Unavailable", never):
            yield

    return switch()


@mutant("only the owner removes a registration of the directory", "F46", "I2p", 10)
def directory_removal_unconditional() -> AbstractContextManager[Any]:
    return patch(
        Registry,
        "remove",
        lambda self, _address, user, _session: self.registrations.pop(user, None),
    )


@mutant("a session's cleanup removes that session and no other", "F49", "I2p", 100)
def cleanup_removes_siblings() -> AbstractContextManager[Any]:
    leave = delivery.Delivery.disconnect

    def all_leave(self: delivery.Delivery, session_id: str) -> None:
        gone = self._sessions.get(session_id)
        leave(self, session_id)
        if gone is not None and gone.user in self._users:
            self._users[gone.user].clear()

    def fewer(self: delivery.Delivery, session_id: str) -> None:
        gone = self._sessions.get(session_id)
        if gone is not None:
            self._users.setdefault(gone.user, {})[session_id] = gone
        all_leave(self, session_id)

    return patch(delivery.Delivery, "disconnect", fewer)


# A session ---------------------------------------------------------------------------------------


@mutant("an ack names messages, never a position", "F60", "I8", 14)
def ack_by_position() -> AbstractContextManager[Any]:
    acknowledge = window.Window.acknowledge

    def up_to(self: window.Window, ids: Sequence[str]) -> Any:
        known = self.ids()
        last = max((known.index(id) for id in ids if id in known), default=-1)
        return acknowledge(self, known[: last + 1])

    return patch(window.Window, "acknowledge", up_to)


@mutant("an ack counts for what this session was pushed", "F69", "I8 I2", 139)
def acks_of_anything() -> AbstractContextManager[Any]:
    take = receipts.Receipts.take
    acknowledge = delivery.Delivery._acknowledge

    def anything(self: delivery.Delivery, session: session.Session, ids: Sequence[str]) -> None:
        conversation = f"dm:{session.user}:{session.user}"
        made_up = [window.Acknowledged(id, conversation, "", is_news=True) for id in ids]

        def take_them(self: receipts.Receipts, mailbox: Mailbox, acknowledged: Any) -> None:
            take(self, mailbox, acknowledged or made_up)

        with patch(receipts.Receipts, "take", take_them):
            acknowledge(self, session, tuple(ids))

    return patch(delivery.Delivery, "_acknowledge", anything)


@mutant("at most `window` messages are outstanding", "F63", "I14", 1)
def window_unbounded() -> AbstractContextManager[Any]:
    return patch(window.Window, "room", property(lambda _self: 1_000))


@mutant("a session is pushed a message once", "F06", "I5", 0)
def no_deduplication() -> AbstractContextManager[Any]:
    return patch(session.Session, "_has", lambda _self, _message: False)


@mutant("the cursor passes only what was pushed", "delivery/session.py", "I2b I2c I2", 4)
def cursor_passes_a_cut_page() -> AbstractContextManager[Any]:
    push = session.Session._push_rows

    def all_of_it(self: session.Session, pending: Pending, is_settled: Any) -> Any:
        return push(self, dataclasses.replace(pending, complete=True), is_settled)

    def pulled(self: session.Session, pending: Pending, is_settled: Any) -> int:
        return pull(self, dataclasses.replace(pending, complete=True), is_settled)

    pull = session.Session._pulled

    @contextmanager
    def switch() -> Iterator[None]:
        with (
            patch(session.Session, "_pulled", pulled),
            patch(session.Session, "_push_rows", all_of_it),
        ):
            yield

    return switch()


@mutant("what arrives while catching up is held, or noted as missed", "F64", "I2p", 20)
def held_messages_dropped() -> AbstractContextManager[Any]:
    go_on = session.Session._go_live_or_on

    def forget(self: session.Session) -> None:
        self._held.take_all()
        go_on(self)

    return patch(session.Session, "_go_live_or_on", forget)


@mutant("a session is live again when it has what it missed", "delivery/session.py", "I2p", 340)
def missed_not_noted() -> AbstractContextManager[Any]:
    return patch(session.Session, "_miss", lambda _self, _position: None)


@mutant("a session that waits for the store for long hears live messages", "F81", "I2d", 8)
def deaf_while_catching_up() -> AbstractContextManager[Any]:
    return patch(session.Session, "_is_deaf_for_long", lambda _self: False)


@mutant("what is pushed while the store is away is remembered", "F81", "I5", 3)
def live_pushes_forgotten() -> AbstractContextManager[Any]:
    add = memory.Pushed.add
    push = session.Session._push_live

    def push_only(self: session.Session, message: Any, frame: bytes, *, is_news: bool) -> None:
        is_live = self.state is session.State.LIVE
        with patch(memory.Pushed, "add", add if is_live else lambda *_: None):
            push(self, message, frame, is_news=is_news)

    return patch(session.Session, "_push_live", push_only)


@mutant("a session that ends gives its memory back", "F86", "I14", 0)
def memory_not_given_back() -> AbstractContextManager[Any]:
    return patch(session.Session, "leave", lambda _self: None)

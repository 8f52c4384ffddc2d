"""One connection: what its client sends is heard, what the server says arrives, and how it ends."""

import asyncio

import pytest

from landline.auth.principal import LEEWAY_SECONDS, Principal
from landline.gateway import connection as connections
from landline.gateway.connection import WRITE_LIMIT_BYTES, Connection
from landline.gateway.fragments import FRAGMENTS
from landline.gateway.goodbyes import NO_CLOSE_FRAME, NO_CODE
from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS
from landline.gateway.pauses import Pause
from landline.protocol.client_frames import BadFrame, ClientFrame, Ping, Send
from landline.protocol.codes import CloseCode, ErrorCode
from landline.protocol.limits import FRAME_BYTES
from support.pair import Pair, connection_pair, on_uvloop
from support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from support.waiting import go_round, until

PING_FRAME = frame(TEXT, b'{"type":"ping"}')


def send(content: str) -> bytes:
    return frame(TEXT, b'{"to":"bob","content":"%s"}' % content.encode())


def close(code: int | None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


# What is heard ------------------------------------------------------------------------------------


async def test_frames_are_heard_in_the_order_in_which_they_were_sent() -> None:
    async with connection_pair() as pair:
        await pair.says(*(send(str(number)) for number in range(100)), PING_FRAME)
        await pair.until_heard(*(Send("bob", str(number)) for number in range(100)), Ping())


async def test_a_bad_frame_is_told_and_the_connection_lives_on() -> None:
    async with connection_pair() as pair:
        await pair.says(frame(TEXT, b"no JSON"), PING_FRAME)
        await until(lambda: len(pair.heard) == 2, "both are heard")
        bad, ping = pair.heard
        assert isinstance(bad, BadFrame)
        assert bad.code == ErrorCode.BAD_FRAME
        assert ping == Ping()


@pytest.mark.parametrize("pieces", [2, FRAGMENTS])
async def test_the_pieces_of_a_message_are_put_together(pieces: int) -> None:
    """Control frames may come in between (RFC 6455, section 5.4)."""
    async with connection_pair() as pair:
        text = b'{"type":"ping"}'
        await pair.says(
            frame(TEXT, text[:5], fin=False),
            *[frame(CONTINUATION, fin=False)] * (pieces - 2),
            frame(PING, b"?"),
            frame(CONTINUATION, text[5:]),
            PING_FRAME,
        )
        await pair.until_heard(Ping(), Ping())
        assert await pair.client.read_frame() == (PONG, b"?")


async def test_a_connection_that_is_paused_hears_nothing_until_it_is_resumed() -> None:
    async with connection_pair() as pair:
        pair.connection.pause(Pause.FLIGHTS)
        await pair.says(send("1"), send("2"), frame(PING, b"?"))
        await go_round(20)
        assert pair.heard == []
        pair.connection.resume(Pause.FLIGHTS)
        await pair.until_heard(Send("bob", "1"), Send("bob", "2"))
        assert await pair.client.read_frame() == (PONG, b"?")


async def test_a_connection_that_is_held_and_paused_needs_both_to_end() -> None:
    async with connection_pair() as pair:
        pair.connection.pause(Pause.QUESTION)
        pair.connection.pause(Pause.FLIGHTS)
        await pair.says(send("1"), send("2"))
        pair.connection.resume(Pause.FLIGHTS)
        await go_round(20)
        assert pair.heard == []
        pair.connection.pause(Pause.FLIGHTS)
        pair.connection.resume(Pause.QUESTION)
        await go_round(20)
        assert pair.heard == []
        pair.connection.resume(Pause.FLIGHTS)
        await pair.until_heard(Send("bob", "1"), Send("bob", "2"))


@pytest.mark.parametrize("why", Pause)
async def test_the_owner_knows_whether_a_connection_is_read(why: Pause) -> None:
    """Whatever the reason is: what has come unread may be the end of the connection."""
    async with connection_pair() as pair:
        session = pair.connection.session
        pair.connection.pause(why)
        pair.connection.pause(Pause.FLIGHTS)
        assert pair.hub.readings == [(session, False)]
        pair.connection.resume(Pause.FLIGHTS)
        pair.connection.resume(why)
        assert pair.hub.readings == [(session, False), (session, True)]


async def test_a_connection_that_is_held_after_a_frame_takes_the_next_ones_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were read with it, and keep their order."""
    async with connection_pair() as pair:
        listening = pair.hub.received

        def hold(connection: Connection, taken: ClientFrame) -> None:
            connection.pause(Pause.QUESTION)
            listening(connection, taken)

        monkeypatch.setattr(pair.hub, "received", hold)
        await pair.says(*(send(str(number)) for number in range(3)))
        taken = [Send("bob", str(number)) for number in range(3)]
        for count in (1, 2, 3):
            await pair.until_heard(*taken[:count])
            await go_round(20)
            assert pair.heard == taken[:count]
            pair.connection.resume(Pause.QUESTION)


async def test_a_connection_that_is_held_can_be_closed() -> None:
    async with connection_pair() as pair:
        pair.connection.pause(Pause.QUESTION)
        await pair.says(send("1"))
        pair.connection.close(CloseCode.RESTARTING, "bye")
        assert await pair.client.close_code() == CloseCode.RESTARTING
        pair.connection.resume(Pause.QUESTION)
        await pair.client.close()
        await pair.until_closed(CloseCode.RESTARTING)
        assert pair.heard == []


# What is said -------------------------------------------------------------------------------------


async def test_frames_arrive_as_they_were_transmitted() -> None:
    async with connection_pair() as pair:
        said = [b'{"n":%d}' % number + b" " * number * 1_000 for number in range(20)]
        for text in said:
            pair.connection.transmit(text)
        assert [await pair.client.read_frame() for _ in said] == [(TEXT, text) for text in said]
        await until(pair.connection.is_flushed, "everything has left the process")


async def fill(pair: Pair) -> None:
    """Write until the buffer is full: the client does not read."""
    for _ in range(1_000):
        if not pair.hub.is_writable:
            return
        pair.connection.transmit(b"x" * 64 * 1024)
    raise AssertionError("the buffer is never full")


@on_uvloop
async def test_a_client_that_does_not_read_is_not_listened_to_until_it_does() -> None:
    async with connection_pair() as pair:
        await fill(pair)
        assert not pair.connection.is_flushed()
        await pair.says(PING_FRAME)
        await go_round(20)
        assert pair.heard == []
        while not pair.hub.is_writable:
            assert await pair.client.read_frame() == (TEXT, b"x" * 64 * 1024)
        await pair.until_heard(Ping())


@on_uvloop
async def test_a_client_that_never_reads_is_closed_when_a_mebibyte_waits() -> None:
    async with connection_pair() as pair:
        await fill(pair)
        with pytest.MonkeyPatch.context() as patch:
            # Some MiB have to be read before the goodbye.
            patch.setattr(connections, "CLOSE_WITHIN_SECONDS", 60.0)
            for _ in range(WRITE_LIMIT_BYTES // (64 * 1024) + 1):
                pair.connection.transmit(b"x" * 64 * 1024)
        assert await pair.client.close_code() == CloseCode.NO_PROGRESS
        await pair.client.close()
        await pair.until_closed(CloseCode.NO_PROGRESS)


# How it ends --------------------------------------------------------------------------------------

BROKEN = {
    "binary": ([frame(BINARY, b"x")], CloseCode.UNSUPPORTED),
    "no UTF-8": ([frame(TEXT, b"\xff")], CloseCode.INVALID_TEXT),
    "too large": ([frame(TEXT, b"x" * (FRAME_BYTES + 1))], CloseCode.TOO_LARGE),
    "too large in pieces": (
        [frame(TEXT, b"x" * FRAME_BYTES, fin=False), frame(CONTINUATION, b"x")],
        CloseCode.TOO_LARGE,
    ),
    "too many pieces": (
        [frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * FRAGMENTS],
        CloseCode.TOO_LARGE,
    ),
    "reserved bits": ([frame(TEXT, b"{}", rsv=4)], CloseCode.PROTOCOL_ERROR),
    "a piece of nothing": ([frame(CONTINUATION, b"{}")], CloseCode.PROTOCOL_ERROR),
    "a beginning in the middle": (
        [frame(TEXT, b"{", fin=False), frame(TEXT, b"}")],
        CloseCode.PROTOCOL_ERROR,
    ),
    "not masked": ([frame(TEXT, b"{}", masked=False)], CloseCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_client_that_breaks_the_websocket_protocol_is_closed(case: str) -> None:
    """What it sent before was heard, what comes after is not."""
    frames, code = BROKEN[case]
    async with connection_pair() as pair:
        await pair.says(PING_FRAME, *frames, PING_FRAME, close(1000))
        assert await pair.client.close_code() == code
        await pair.client.close()
        await pair.until_closed(code)
        assert pair.heard == [Ping()]


@pytest.mark.parametrize(
    ("said", "answered", "noted"),
    [
        (1000, 1000, 1000),
        (4999, 4999, 4999),
        (None, 1000, NO_CODE),
        (1005, CloseCode.PROTOCOL_ERROR, CloseCode.PROTOCOL_ERROR),  # no peer may send this one
        (2999, CloseCode.PROTOCOL_ERROR, CloseCode.PROTOCOL_ERROR),
    ],
)
async def test_a_client_s_goodbye_is_answered_with_its_code(
    said: int | None, answered: int, noted: int
) -> None:
    async with connection_pair() as pair:
        await pair.says(close(said, b"enough" if said else b""))
        assert await pair.client.close_code() == answered
        await pair.client.until_cut()
        await pair.until_closed(noted)


@pytest.mark.parametrize("said", [1000, 3000, None])
@pytest.mark.parametrize("more", [close(None), close(1001), frame(0x3), PING_FRAME, b"\xff" * 16])
async def test_what_comes_behind_a_client_s_goodbye_means_nothing(
    said: int | None, more: bytes
) -> None:
    """Another goodbye, and what is no frame at all, in the same read (RFC 6455, section 5.5.1)."""
    async with connection_pair() as pair:
        await pair.says(close(said), more)
        assert await pair.client.close_code() == (said or 1000)
        await pair.client.until_cut()
        await pair.until_closed(said or NO_CODE)
        assert pair.heard == []


async def test_our_goodbye_has_code_and_reason_and_is_the_last_word() -> None:
    """The first close frame counts. Nothing is sent or heard after it."""
    async with connection_pair() as pair:
        pair.connection.close(CloseCode.RESTARTING, "retry_after_ms=200")
        pair.connection.close(CloseCode.POLICY, "too late")
        pair.connection.transmit(b"{}")
        said = await pair.client.read_frame()
        assert said == (CLOSE, (1012).to_bytes(2, "big") + b"retry_after_ms=200")
        await pair.says(PING_FRAME, close(1000))
        await pair.client.until_cut()
        await pair.until_closed(CloseCode.RESTARTING)
        assert pair.heard == []


async def test_a_client_that_does_not_answer_our_goodbye_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CLOSE_WITHIN_SECONDS", 0.01)
    async with connection_pair() as pair:
        pair.connection.close(CloseCode.GOING_AWAY, "")
        await pair.client.until_cut()
        await pair.until_closed(CloseCode.GOING_AWAY)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_connection_that_ends_without_a_word_has_a_code_too(is_ours: bool) -> None:
    async with connection_pair() as pair:
        if is_ours:
            pair.connection.abort()
            await pair.client.until_cut()
        else:
            await pair.client.close()
        await pair.until_closed(NO_CLOSE_FRAME)
        pair.connection.transmit(b"{}")  # nobody is there any more: nothing happens
        pair.connection.pause(Pause.FLIGHTS)
        pair.connection.close(CloseCode.POLICY, "")


# Silence ------------------------------------------------------------------------------------------


async def test_a_silent_client_is_asked_and_cut_when_it_does_not_answer() -> None:
    async with connection_pair() as pair:
        began: float = pair.hub.clock.now
        pair.connection.beat(began + PING_AFTER_SECONDS)
        asked = began + PING_AFTER_SECONDS + 1
        pair.connection.beat(asked)
        assert await pair.client.read_frame() == (PING, b"")
        pair.connection.beat(asked + PONG_WITHIN_SECONDS)
        pair.connection.transmit(b"{}")
        assert await pair.client.read_frame() == (TEXT, b"{}")
        pair.connection.beat(asked + PONG_WITHIN_SECONDS + 1)
        await pair.client.until_cut()
        await pair.until_closed(NO_CLOSE_FRAME)


@pytest.mark.parametrize("sign", [frame(PONG), PING_FRAME, frame(PING)])
async def test_any_frame_is_a_sign_of_life(sign: bytes) -> None:
    async with connection_pair() as pair:
        pair.hub.clock.now += PING_AFTER_SECONDS + 1
        asked: float = pair.hub.clock.now
        pair.connection.beat(asked)
        assert await pair.client.read_frame() == (PING, b"")
        await pair.says(sign, PING_FRAME)
        await until(lambda: Ping() in pair.heard, "it is heard")
        pair.connection.beat(asked + PING_AFTER_SECONDS)
        assert pair.connection in pair.hub.open
        pair.connection.beat(asked + PING_AFTER_SECONDS + 1)  # asked again, with time to answer
        async with asyncio.timeout(60):
            while await pair.client.read_frame() != (PING, b""):
                pass


@pytest.mark.parametrize(("is_late", "lasts"), [(False, 0.0), (True, LEEWAY_SECONDS)])
async def test_a_session_ends_with_its_token_and_one_that_came_late_with_the_leeway(
    is_late: bool, lasts: float
) -> None:
    """To end it at once, and to let it in again, would help nobody."""
    async with connection_pair() as pair:
        clock = pair.hub.clock
        expires_at = clock.wall_ms() / 1000
        pair.connection.renewed(Principal("alice", expires_at=expires_at, is_late=is_late))
        for now, is_over in ((lasts - 0.01, False), (lasts, True)):
            clock.now += now - (clock.wall_ms() / 1000 - expires_at)
            pair.connection.beat(clock.monotonic())
            assert pair.connection.is_closing == is_over

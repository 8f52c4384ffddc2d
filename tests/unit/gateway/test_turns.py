"""A client that floods takes turns: others are served in between, and nothing sent is skipped."""

import asyncio
from typing import Any
from unittest import mock

import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from landline.auth.principal import Principal
from landline.gateway.connection import Connection
from landline.gateway.goodbyes import NO_CLOSE_FRAME
from landline.gateway.pauses import Pause
from landline.gateway.turns import LATELY_SECONDS, ROUND_SECONDS, TURN_SECONDS
from landline.protocol.client_frames import ClientFrame, Ping, Send
from landline.protocol.codes import CloseCode
from support.pair import Heard
from support.waiting import go_round, until

FLOOD = 500
ID = "6f1c2a1e-3d0b-4c57-9a0e-5f4f1d3c2b1a"


class BusyClock:
    """Every look at it takes a tenth of a turn: so long does a frame take to deal with."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += TURN_SECONDS / 10
        return self.now

    def wall_ms(self) -> int:
        return 0


def make_hub() -> Heard:
    return Heard(BusyClock())


class Socket:
    """picows' transport, with a switch for reading as the only thing that matters."""

    def __init__(self) -> None:
        self.is_reading = True
        self.sent: list[Any] = []
        self.is_close_frame_sent = False
        self.underlying_transport = mock.Mock(
            is_reading=lambda: self.is_reading,
            is_closing=lambda: False,
            get_write_buffer_size=lambda: 0,
            get_extra_info=lambda _name: None,
            pause_reading=lambda: self._read(False),
            resume_reading=lambda: self._read(True),
        )

    def _read(self, is_reading: bool) -> None:
        self.is_reading = is_reading

    def send_pong(self, payload: bytes) -> None:
        self.sent.append(payload)

    def send_close(self, code: Any, _reason: str = "") -> None:
        self.sent.append(int(code))

    def disconnect(self, graceful: bool = True) -> None:
        self.sent.append("gone")


def connect(hub: Heard, session: str, frame_rate: float = 0.0) -> tuple[Connection, Socket]:
    """Return an open connection."""
    sock = Socket()
    connection = Connection(
        hub,
        Principal(session),
        session,
        auto_ack=False,
        facts={"peer": "peer"},
        place="peer",
        frame_rate=frame_rate,
    )
    connection.on_ws_connected(sock)  # type: ignore[arg-type]
    return connection, sock


def arrives(connection: Connection, payload: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
    """A frame arrives, whole."""
    arrives_in_part(connection, payload, kind, fin=True)


def arrives_in_part(connection: Connection, payload: bytes, kind: WSMsgType, *, fin: bool) -> None:
    """A piece of a frame arrives."""
    connection.on_ws_frame(mock.Mock(), _make_test_ws_frame(kind, payload, fin, False))


def arrives_too_late(hub: Heard, connection: Connection, payload: bytes) -> None:
    """A frame arrives, when this round has no time left for it."""
    assert hub.turns.may_take(mock.Mock(turn_round=0), hub.clock.now)
    hub.clock.now += ROUND_SECONDS
    before = len(hub.frames)
    arrives(connection, payload)
    assert len(hub.frames) == before


async def until_empty(hub: Heard) -> None:
    """Wait until nothing waits for its turn."""
    await until(lambda: not len(hub.turns), "nothing waits for its turn")


SENDS = [b'{"to":"bob","content":"%d"}' % number for number in range(FLOOD)]
BAD = [b'{"type":"what %d"}' % number for number in range(FLOOD)]


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(SENDS, id="sends"),
        pytest.param([b'{"type":"ack","ids":["%s"]}' % ID.encode()] * FLOOD, id="acks"),
        pytest.param([b'{"type":"ping","x":[%s0]}' % (b"0," * 1_500)] * FLOOD, id="meaningless"),
        pytest.param([*BAD, b'{"type":"ping"}'], id="bad frames"),
    ],
)
async def test_another_client_is_served_while_one_floods(flood: list[bytes]) -> None:
    """A turn is over long before the flood is; the other one's frame does not wait for the rest."""
    hub = make_hub()
    flooder, sock = connect(hub, "flooder")
    other, _ = connect(hub, "other")
    for payload in flood:
        arrives(flooder, payload)
    assert 0 < len(hub.of("flooder")) <= 10, "one turn was taken"
    assert not sock.is_reading, "the rest waits; its socket is not read meanwhile"
    await go_round(1)
    arrives(other, b'{"type":"ping"}')
    assert hub.of("other") == [Ping()], "taken at once"
    assert len(hub.of("flooder")) < len(flood) // 2
    await until_empty(hub)
    assert len(hub.of("flooder")) == len(flood)
    assert sock.is_reading


async def test_what_waited_is_taken_in_the_order_in_which_it_came() -> None:
    hub = make_hub()
    flooder, _ = connect(hub, "flooder")
    for payload in SENDS:
        arrives(flooder, payload)
    await go_round(2)
    arrives(flooder, b'{"type":"ping"}')  # does not overtake
    await until_empty(hub)
    expected = [Send("bob", str(number)) for number in range(FLOOD)]
    assert hub.of("flooder") == [*expected, Ping()]


async def test_the_queues_give_everybody_a_turn_and_then_rests() -> None:
    """Nobody's flood is finished before everybody has had some, however many there are."""
    hub = make_hub()
    flooders = [connect(hub, f"flooder {number}")[0] for number in range(20)]
    for flooder in flooders:
        for payload in SENDS[:100]:
            arrives(flooder, payload)
    begun = hub.clock.now
    hub.frames.clear()
    await go_round(1)
    walked = hub.clock.now - begun
    assert ROUND_SECONDS <= walked < 2 * ROUND_SECONDS, (
        "sockets and timers are looked at in between"
    )
    served = [session for session, _frame in hub.frames]
    assert len(set(served)) * 2 * 10 >= len(served), "in short turns"
    await until_empty(hub)
    assert {session for session, _frame in hub.frames} == {each.session for each in flooders}


async def test_who_says_little_does_not_wait_for_those_who_come_back_for_more() -> None:
    """However many these are, and though a round was over when its frame came."""
    hub = make_hub()
    flooders = [connect(hub, f"flooder {number}")[0] for number in range(10)]
    for flooder in flooders:
        for payload in SENDS[:200]:
            arrives(flooder, payload)
    other, _ = connect(hub, "other")
    a_turn, a_round = 10, 10 * ROUND_SECONDS / TURN_SECONDS
    while min(len(hub.of(each.session)) for each in flooders) <= a_turn:
        await go_round(1)  # from now on all of them come back
    arrives_too_late(hub, other, b'{"type":"ping"}')
    before = len(hub.frames)
    while not hub.of("other"):
        await go_round(1)
    assert len(hub.frames) - before <= 2 * a_round
    assert len(hub.turns) == 10
    await until_empty(hub)


async def test_who_had_a_turn_just_now_waits_for_those_who_had_none() -> None:
    hub = make_hub()
    flooder, _ = connect(hub, "flooder")
    for payload in SENDS[:20]:
        arrives(flooder, payload)
    await until_empty(hub)
    arrives_too_late(hub, flooder, SENDS[0])
    other, _ = connect(hub, "other")
    arrives(other, b'{"type":"ping"}')
    assert hub.of("other") == []
    await until_empty(hub)
    assert hub.frames[-2:] == [("other", Ping()), ("flooder", Send("bob", "0"))]


async def test_who_has_spent_half_of_what_may_come_at_once_waits_for_the_others() -> None:
    """So a flood that is paced is always behind, also with the first frame of a batch."""
    hub = make_hub()
    flooders = [connect(hub, f"flooder {number}", frame_rate=10)[0] for number in range(20)]
    for flooder in flooders:
        for payload in SENDS[:30]:  # of 40 that may come at once
            arrives(flooder, payload)
    await until_empty(hub)
    hub.frames.clear()
    hub.clock.now += LATELY_SECONDS
    arrives_too_late(hub, flooders[0], SENDS[0])
    for flooder in flooders[1:]:
        arrives(flooder, SENDS[0])
    other, _ = connect(hub, "other", frame_rate=10)
    arrives(other, b'{"type":"ping"}')
    await until_empty(hub)
    assert hub.frames[0] == ("other", Ping())
    assert len(hub.frames) == 21


async def test_who_comes_back_rests_after_each_walk() -> None:
    """Or a flood would leave the loop nothing but one look at the sockets in each round."""
    hub = make_hub()
    hub.turns._loop = loop = mock.Mock(wraps=asyncio.get_running_loop())
    for number in range(10):
        flooder, _ = connect(hub, f"flooder {number}")
        for payload in SENDS[:200]:
            arrives(flooder, payload)
    await until_empty(hub)
    a_walk = 10 * (ROUND_SECONDS + TURN_SECONDS) / TURN_SECONDS
    rests = [each.args for each in loop.call_later.call_args_list]
    assert rests.count((ROUND_SECONDS, hub.turns._rested)) > 10 * 200 / a_walk / 2


async def test_a_defect_of_one_who_takes_a_turn_stops_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where it is not caught in the turn."""
    hub = make_hub()
    flooders = [connect(hub, f"flooder {number}")[0] for number in range(3)]
    for flooder in flooders:
        for payload in SENDS[:20]:
            arrives(flooder, payload)
    with mock.patch.object(flooders[0], "take_turn", side_effect=RuntimeError("a defect")):
        await until_empty(hub)
    assert len(hub.of("flooder 1")) == len(hub.of("flooder 2")) == 20
    assert "a defect" in caplog.text


async def test_a_round_is_bounded_for_all_together() -> None:
    """A hundred connections whose frames come at the same moment do not have a hundred turns."""
    hub = make_hub()
    taken_at_once = 0
    for number in range(100):
        connection, _ = connect(hub, f"c{number}")
        before = len(hub.frames)
        for payload in SENDS[:20]:
            arrives(connection, payload)
        taken_at_once += len(hub.frames) - before
    assert taken_at_once * TURN_SECONDS / 10 <= ROUND_SECONDS
    await until_empty(hub)
    assert len(hub.frames) == 100 * 20


async def test_pings_and_fragments_take_turns_too() -> None:
    """They cost the same, though the heart never hears of them."""
    hub = make_hub()
    flooder, sock = connect(hub, "flooder")
    for number in range(FLOOD):
        arrives(flooder, b"%d" % number, WSMsgType.PING)
    assert len(sock.sent) <= 10
    await until_empty(hub)
    assert sock.sent == [b"%d" % number for number in range(FLOOD)]

    arrives_in_part(flooder, b'{"type":"p', WSMsgType.TEXT, fin=False)
    for _ in range(100):
        arrives_in_part(flooder, b"", WSMsgType.CONTINUATION, fin=False)
    arrives_in_part(flooder, b'ing"}', WSMsgType.CONTINUATION, fin=True)
    assert hub.of("flooder") == []
    await until_empty(hub)
    assert hub.of("flooder") == [Ping()]


async def test_the_heart_is_told_since_when_frames_may_have_waited() -> None:
    """Until the socket was read empty."""
    hub = make_hub()
    client, _ = connect(hub, "client")
    arrives(client, SENDS[0])
    client.was_read(is_empty=True)
    assert not hub.unread
    before = hub.clock.now
    client.pause(Pause.FLIGHTS)
    hub.clock.now += 3.0
    arrives(client, SENDS[1])  # of a read that was under way
    client.was_read(is_empty=True)
    client.resume(Pause.FLIGHTS)
    await until_empty(hub)
    arrives(client, SENDS[2])
    client.was_read(is_empty=False)
    arrives(client, SENDS[3])
    client.was_read(is_empty=True)
    assert len(hub.of("client")) == 4
    assert {heard for _, _, heard in hub.unread} >= {2, 3, 4}, "after each of them"
    for session, since, _ in hub.unread:
        assert session == "client"
        assert since == pytest.approx(before, abs=0.01)
    hub.unread.clear()
    await until_empty(hub)
    client.pause(Pause.FLIGHTS)
    client.resume(Pause.FLIGHTS)
    hub.clock.now += 1.0
    client.beat(hub.clock.now)
    arrives(client, SENDS[5])
    client.was_read(is_empty=True)
    await until_empty(hub)
    assert len(hub.of("client")) == 5
    for _, since, _ in hub.unread:
        assert since == pytest.approx(hub.clock.now, abs=0.5), "it had been read in between"


async def test_a_goodbye_is_heard_after_what_was_said_before() -> None:
    """A client that sends much and closes has sent it all."""
    hub = make_hub()
    client, sock = connect(hub, "client")
    for payload in SENDS:
        arrives(client, payload)
    arrives(client, (1000).to_bytes(2, "big"), WSMsgType.CLOSE)
    assert sock.sent == []
    await until_empty(hub)
    assert len(hub.of("client")) == FLOOD
    assert sock.sent == [1000, "gone"]


async def test_what_waits_for_the_log_does_not_take_turns() -> None:
    """With too many sends in flight nothing more is taken until some are answered."""
    hub = make_hub()
    client, sock = connect(hub, "client")
    for payload in SENDS:
        arrives(client, payload)
    client.pause(Pause.FLIGHTS)
    taken = len(hub.frames)
    await until_empty(hub)
    assert len(hub.frames) == taken
    client.resume(Pause.FLIGHTS)
    assert not sock.is_reading, "what waits comes first"
    await until_empty(hub)
    assert len(hub.frames) == FLOOD
    assert sock.is_reading


async def test_a_connection_that_is_gone_takes_no_more_turns() -> None:
    hub = make_hub()
    client, sock = connect(hub, "client")
    for payload in SENDS:
        arrives(client, payload)
    taken = len(hub.frames)
    client.on_ws_disconnected(sock)  # type: ignore[arg-type]
    await until_empty(hub)
    assert len(hub.frames) == taken
    assert hub.closes == [("client", NO_CLOSE_FRAME)]


async def test_a_connection_that_is_closed_in_its_turn_waits_once() -> None:
    hub = make_hub()
    client, _ = connect(hub, "client")
    for payload in SENDS:
        arrives(client, payload)

    def close(_connection: Connection, _frame: ClientFrame) -> None:
        client.close(CloseCode.POLICY, "enough")

    hub.received = close  # type: ignore[method-assign,assignment]
    await go_round(2)
    assert client._closing is not None
    assert len(hub.turns) <= 1
    await until_empty(hub)


async def test_a_defect_in_one_turn_ends_that_connection_alone() -> None:
    hub = make_hub()
    client, sock = connect(hub, "client")
    other, _ = connect(hub, "other")
    for each in (client, other):
        for payload in SENDS:
            arrives(each, payload)
    hub.received = mock.Mock(side_effect=[RuntimeError("a defect"), *[None] * FLOOD * 2])  # type: ignore[method-assign]
    await until_empty(hub)
    assert sock.sent[0] == 1011
    assert hub.received.call_count > FLOOD // 2, "the other one's were taken"

"""Who may come in, and that nothing is remembered of who has gone."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from landline.config.limits import HANDSHAKES_BURST, Limits
from landline.gateway.doors import Doors


def test_an_address_has_so_many_connections_and_others_have_theirs() -> None:
    doors = Doors(Limits(address_connections=3))
    assert [doors.enter("a") for _ in range(5)] == [True, True, True, False, False]
    assert doors.enter("b")
    doors.leave("a")
    assert doors.enter("a")
    assert not doors.enter("a")


def test_a_user_has_so_many_connections_from_wherever() -> None:
    doors = Doors(Limits(user_connections=2))
    assert [doors.sign_in("alice") for _ in range(3)] == [True, True, False]
    assert doors.sign_in("bob")
    doors.sign_out("alice")
    assert doors.sign_in("alice")


def test_silent_sockets_have_a_limit_as_well() -> None:
    """They are let in before anything is known but their address."""
    doors = Doors(Limits(address_connections=10))
    assert [doors.accept("a") for _ in range(31)] == [True] * 30 + [False]
    assert doors.accept("b")
    doors.release("a")
    assert doors.accept("a")


def test_handshakes_have_a_rate() -> None:
    doors = Doors(Limits(handshakes=2))
    burst = int(2 * HANDSHAKES_BURST)
    assert [doors.knock("a", 0.0) for _ in range(burst)] == [0.0] * burst
    assert doors.knock("a", 0.0) == 0.5
    assert doors.knock("b", 0.0) == 0.0
    assert doors.knock("a", 0.5) == 0.0
    doors.forget_idle(0.5)
    assert doors.knock("a", 0.5) > 0.0, "nobody gains by being forgotten"


def test_without_limits_everybody_may() -> None:
    doors = Doors(Limits())
    for _ in range(1_000):
        assert doors.accept("a")
        assert doors.enter("a")
        assert doors.sign_in("alice")
        assert doors.knock("a", 0.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["alice", "bob"]))))
def test_when_all_have_gone_nothing_is_remembered(visits: list[tuple[str, str]]) -> None:
    doors = Doors(Limits(user_connections=2, address_connections=3, handshakes=1))
    ends: list[tuple[Callable[[str], None], str]] = []
    for place, user in visits:
        doors.knock(place, 0.0)
        if doors.accept(place):
            ends.append((doors.release, place))
        if doors.enter(place):
            ends.append((doors.leave, place))
        if doors.sign_in(user):
            ends.append((doors.sign_out, user))
    for end, name in ends:
        end(name)
    doors.forget_idle(100.0)
    assert len(doors) == 0

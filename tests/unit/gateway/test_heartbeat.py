"""A silent peer is pinged once, and is gone when it does not answer in time."""

from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS, Heartbeat

START = 1_000.0
PING_DUE = START + PING_AFTER_SECONDS + 0.1


def test_a_peer_that_speaks_is_not_pinged() -> None:
    heartbeat = Heartbeat()
    for second in range(100):
        heartbeat.heard(START + second)
        assert not heartbeat.is_ping_due(START + second + 1)
        assert not heartbeat.is_gone(START + second + 1)


def test_a_silent_peer_is_pinged_once_and_then_gone() -> None:
    heartbeat = Heartbeat()
    heartbeat.heard(START)
    assert heartbeat.is_ping_due(PING_DUE)
    heartbeat.pinged(PING_DUE)
    assert not heartbeat.is_ping_due(PING_DUE + PONG_WITHIN_SECONDS)
    assert not heartbeat.is_gone(PING_DUE + PONG_WITHIN_SECONDS)
    assert heartbeat.is_gone(PING_DUE + PONG_WITHIN_SECONDS + 0.1)


def test_anything_that_is_heard_answers_a_ping() -> None:
    heartbeat = Heartbeat()
    heartbeat.heard(START)
    heartbeat.pinged(PING_DUE)
    heartbeat.heard(PING_DUE + PONG_WITHIN_SECONDS)
    assert not heartbeat.is_gone(PING_DUE + PONG_WITHIN_SECONDS + PING_AFTER_SECONDS)

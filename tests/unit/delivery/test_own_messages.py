"""One's own messages: which of one's mailboxes and which servers are told of them."""

from dataclasses import replace

import pytest

from landline.delivery import decisions as d
from landline.model import Message, Position
from landline.protocol.client_frames import Send
from support.bench import Bench, alice_and_bob, hint


@pytest.fixture
def bench() -> Bench:
    """Alice has a phone, twice, and a tablet."""
    bench = Bench()
    for session, device in (("phone", "phone"), ("phone2", "phone"), ("tablet", "tablet")):
        bench.join(session, "alice", device=device)
    bench.join("b", "bob")
    return bench


def test_a_message_goes_to_the_sender_s_other_devices_and_not_to_the_one_it_came_from(
    bench: Bench,
) -> None:
    bench.deliver("phone", "bob", ref="r")
    (pushed,) = bench.of("tablet", "message")
    assert (pushed["sender"], pushed["to"]) == ("alice", "bob")
    assert "replay" not in pushed
    assert bench.of("phone", "message") == bench.of("phone2", "message") == []
    assert len(bench.of("b", "message")) == 1


def test_a_message_of_the_default_mailbox_goes_to_the_devices(bench: Bench) -> None:
    """One that has not heard of them yet, or could not be told in time."""
    bench.join("old", "alice")
    bench.deliver("old", "bob", ref="r")
    assert bench.of("old", "message") == []
    assert [len(bench.of(each, "message")) for each in ("phone", "phone2", "tablet")] == [1, 1, 1]


def test_a_message_to_oneself_goes_to_the_device_that_it_came_from_too(bench: Bench) -> None:
    bench.deliver("phone", "alice", ref="r")
    assert [len(bench.of(each, "message")) for each in ("phone", "phone2", "tablet")] == [1, 1, 1]


def test_what_was_sent_over_http_goes_to_all_devices(bench: Bench) -> None:
    post(bench)
    assert [len(bench.of(each, "message")) for each in ("phone", "phone2", "tablet")] == [1, 1, 1]


def test_a_hint_of_another_server_goes_to_the_sender_s_other_devices(bench: Bench) -> None:
    id = "11111111-0000-4000-8000-000000000005"
    sent = Message(id, "dm:alice:bob", "alice", ("bob",), "text", Position(0, 5), 0, device="phone")
    bench.heart.routed(hint(sent, "alice", "bob"))
    assert [bench.got(each, "id") for each in ("phone", "tablet", "b")] == [[], [id], [id]]


def test_that_one_s_own_other_device_has_it_is_no_delivery(bench: Bench) -> None:
    bench.deliver("phone", "bob", ref="r")
    bench.ack("tablet", *bench.got("tablet", "id"))
    bench.append()
    assert [bench.of(each, "status") for each in ("phone", "phone2", "tablet")] == [[], [], []]
    assert not bench.has(d.RouteStatus)
    bench.ack("b", *bench.got("b", "id"))
    bench.append()
    assert [len(bench.of(each, "status")) for each in ("phone", "phone2", "tablet")] == [1, 1, 1]


def test_one_s_own_message_out_of_the_store_is_for_the_other_and_no_delivery(bench: Bench) -> None:
    """The store has it in one's own mailbox, received from the start."""
    id = "11111111-0000-4000-8000-000000000005"
    row = Message(id, "dm:alice:bob", "alice", ("alice",), "text", Position(0, 5), 0)
    bench.heart.connect("new", "alice", auto_ack=False, device="new")
    bench.heart.recognised("new", None)
    bench.heart.registered("new", {0: 0})
    bench.end = 9
    bench.page("new", replace(row, is_received=True))
    assert bench.got("new", "to") == ["bob"]
    bench.ack("new", id)
    bench.append()
    assert bench.of("phone", "status") == []


# Which servers -----------------------------------------------------------------------------------


def post(bench: Bench, user: str = "alice") -> None:
    """Have a request send a message to bob in a user's name."""
    bench.heart.begin_post("request", user)
    bench.heart.send("request", Send("bob", "text", "from the product"))
    bench.append()
    bench.heart.end_post("request")


def told(bench: Bench) -> set[str]:
    """Return whose sessions on other servers are told of the oldest message."""
    return set(bench.pop(d.RouteMessage).users)


def test_the_sender_s_devices_on_other_servers_are_told(bench: Bench) -> None:
    bench.deliver("phone", "bob", ref="r")
    assert told(bench) == {"alice", "bob"}


def test_who_uses_the_default_mailbox_has_no_other() -> None:
    bench = alice_and_bob()
    bench.deliver("a", "bob", ref="r")
    assert told(bench) == {"bob"}


def test_what_was_sent_over_http_is_told_to_the_sender_s_devices_elsewhere(bench: Bench) -> None:
    """That a device of theirs is here says nothing of the others."""
    post(bench)
    assert told(bench) == {"alice", "bob"}


def test_what_was_sent_over_http_is_told_where_the_sender_is(bench: Bench) -> None:
    post(bench, "dave")  # who has no session here
    assert told(bench) == {"bob", "dave"}


def test_a_message_to_oneself_names_its_user_once(bench: Bench) -> None:
    bench.deliver("phone", "alice", ref="r")
    assert bench.pop(d.RouteMessage).users == ("alice",)

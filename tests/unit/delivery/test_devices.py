"""The device of a session: when it is welcomed, what has to be in the log before it reads, and when
it has to come again.
"""

import pytest

from landline.delivery import decisions as d
from landline.delivery import delivery
from landline.delivery.beginnings import EARLY_FRAMES
from landline.delivery.devices import Answer, DeviceState, Recognition
from landline.model import Mailbox, Pending, Positions
from landline.protocol.client_frames import Ping
from landline.protocol.codes import CloseCode
from landline.protocol.hints import StatusHint
from landline.protocol.records import MessageRecord, ReceiptRecord, decode_record
from support.bench import Bench, alice_and_bob, message

PHONE = Mailbox("carol", "phone")
BOTH = frozenset({0, 1})
NONE: frozenset[int] = frozenset()
NEW = Recognition(PHONE, BOTH, NONE)
KNOWN = Recognition(PHONE, NONE, BOTH)
COME_AGAIN = (CloseCode.RESTARTING, f"retry_after_ms={delivery.COME_AGAIN_MS}")


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def connect(bench: Bench, device: str | None = "phone") -> None:
    """Connect carol, and have the directory take her in."""
    bench.heart.connect("c", "carol", auto_ack=False, device=device)
    bench.enter()


# How a session begins ------------------------------------------------------------------------


def test_a_device_is_welcomed_once_the_store_has_said_what_it_knows(bench: Bench) -> None:
    connect(bench)
    assert bench.of("c", "welcome") == []
    bench.recognise(KNOWN)
    (welcome,) = bench.of("c", "welcome")
    assert (welcome["device"], welcome["is_new"]) == ("phone", False)


def test_a_device_that_is_new_is_told_so(bench: Bench) -> None:
    connect(bench)
    bench.recognise(NEW)
    bench.open_device()
    (welcome,) = bench.of("c", "welcome")
    assert (welcome["device"], welcome["is_new"]) == ("phone", True)


def test_a_device_that_is_new_is_welcomed_once_it_is_in_the_log(bench: Bench) -> None:
    """Or what is sent to somebody who has just been welcomed would not be owed to the device."""
    connect(bench)
    bench.recognise(NEW)
    bench.take()
    assert bench.of("c", "welcome") == []
    bench.open_device({0: 1})
    assert len(bench.of("c", "welcome")) == 1, "what has to be waited for longer is not waited for"
    assert bench.has(d.ReadEnds)
    bench.heart.opened("c", {1: 1})
    assert len(bench.of("c", "welcome")) == 1


def test_a_device_that_has_ended_somewhere_is_told_that_it_is_new(bench: Bench) -> None:
    """It has lost its place there, and ends in each partition by itself."""
    connect(bench)
    bench.recognise(Recognition(PHONE, frozenset({1}), frozenset({0})))
    opened = bench.pop(d.OpenDevice)
    assert opened.partitions == {1}
    bench.heart.opened(opened.session, {1: 1})
    assert bench.of("c", "welcome")[0]["is_new"] is True


def test_a_store_that_does_not_answer_leaves_open_whether_a_device_is_new(bench: Bench) -> None:
    connect(bench)
    bench.recognise(None)
    (welcome,) = bench.of("c", "welcome")
    assert welcome["device"] == "phone"
    assert "is_new" not in welcome
    assert bench.has(d.ReadEnds), "it goes on"


def test_a_session_without_a_device_is_welcomed_at_once(bench: Bench) -> None:
    connect(bench, device=None)
    (welcome,) = bench.of("c", "welcome")
    assert welcome.keys().isdisjoint({"device", "is_new"})
    bench.recognise(Recognition(Mailbox("carol")))
    assert len(bench.of("c", "welcome")) == 1


def test_whatever_a_device_is_due_comes_behind_its_welcome(bench: Bench) -> None:
    """It may send before it is welcomed, and what others say of its user does not wait either."""
    connect(bench)
    bench.heart.receive("c", Ping())
    bench.take()
    bench.heart.routed(StatusHint("carol", (message(1).id,), "bob", "2026-01-01T00:00:00.000Z"))
    bench.recognise(NEW)
    bench.heart.receive("c", Ping())
    bench.open_device()
    bench.heart.receive("c", Ping())
    bench.take()
    kinds = [frame["type"] for frame in bench.frames["c"]]
    assert kinds == ["welcome", "pong", "status", "pong", "pong"]


def test_a_device_that_is_due_much_before_its_welcome_has_it_without_more_ado(bench: Bench) -> None:
    connect(bench)
    for _ in range(EARLY_FRAMES + 2):
        bench.heart.receive("c", Ping())
    bench.take()
    bench.recognise(NEW)
    welcome, *rest = (frame["type"] for frame in bench.frames["c"])
    assert (welcome, rest) == ("welcome", ["pong"] * (EARLY_FRAMES + 2))
    assert "is_new" not in bench.frames["c"][0]


def test_nothing_is_kept_for_a_device_that_leaves_before_its_welcome(bench: Bench) -> None:
    connect(bench)
    bench.heart.receive("c", Ping())
    bench.take()
    bench.heart.disconnect("c")
    bench.recognise(NEW)
    bench.take()
    assert "c" not in bench.frames
    assert not bench.heart._beginnings._early
    assert not bench.has(d.OpenDevice)


def test_the_record_of_a_new_device_is_in_the_log_before_the_ends_are_read(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False, device="phone")
    bench.recognise(NEW)
    asked = bench.pop(d.OpenDevice)
    assert (asked.mailbox, asked.partitions) == (PHONE, BOTH)
    bench.enter()
    assert not bench.has(d.ReadEnds)
    bench.heart.opened("c", {0: 7, 1: 3})
    bench.heart.registered(bench.pop(d.ReadEnds).session, {0: 7, 1: 3})
    assert bench.pop(d.ReadPending).query.mailbox == PHONE


def test_the_directory_knows_a_session_before_the_ends_are_read(bench: Bench) -> None:
    bench.heart.connect("c", "carol", auto_ack=False, device="phone")
    bench.recognise(KNOWN)
    assert not bench.has(d.ReadEnds)
    bench.enter()
    assert bench.has(d.ReadEnds)


def test_a_device_that_is_known_appends_nothing(bench: Bench) -> None:
    connect(bench)
    bench.recognise(KNOWN)
    assert not bench.has(d.OpenDevice)
    bench.read_ends()
    assert bench.has(d.ReadPending)


def test_the_ends_are_read_once_whatever_comes_late(bench: Bench) -> None:
    """The partition that was without a leader takes its record when the session has begun."""
    connect(bench)
    bench.recognise(NEW)
    bench.open_device({0: 7})
    bench.pop(d.ReadEnds)
    bench.heart.opened("c", {1: 3})
    bench.heart.entered("c")
    assert not bench.has(d.ReadEnds)


def test_without_a_device_the_default_mailbox_is_used_where_the_user_has_none(bench: Bench) -> None:
    bench.join("c", "carol")
    assert bench.heart.device_mailboxes() == frozenset()
    (asked,) = [each for each in bench.heart.sweep() if each.session == "c"]
    assert asked.query.mailbox == Mailbox("carol")


def test_without_a_device_the_one_with_the_empty_name_is_used_where_the_user_has_others(
    bench: Bench,
) -> None:
    connect(bench, device=None)
    nameless = Mailbox("carol", "")
    bench.recognise(Recognition(nameless, BOTH, NONE))
    assert bench.pop(d.OpenDevice).mailbox == nameless
    bench.heart.opened("c", {0: 1, 1: 1})
    bench.read_ends()
    assert bench.pop(d.ReadPending).query.mailbox == nameless
    assert bench.heart.device_mailboxes() == {nameless}
    bench.send("c", "bob")
    record = decode_record(bench.pop(d.AppendMessage).value)
    assert isinstance(record, MessageRecord)
    assert record.device == ""


# While servers of the version before may run ----------------------------------------------------


def test_servers_of_the_version_before_know_no_devices(bench: Bench) -> None:
    bench.record_version = 1
    connect(bench)
    assert "device" not in bench.of("c", "welcome")[0]
    assert not bench.has(d.Recognise)
    bench.read_ends()
    assert bench.pop(d.ReadPending).query.mailbox == Mailbox("carol")
    assert bench.heart.device_mailboxes() == frozenset()


def test_servers_of_the_version_before_can_read_what_is_appended(bench: Bench) -> None:
    bench.record_version = 1
    bench.join("c", "carol", device="phone")
    bench.send("c", "bob", ref="r")
    value = bench.pop(d.AppendMessage).value
    assert b'"v":1,' in value
    assert b"device" not in value
    record = decode_record(value)
    assert isinstance(record, MessageRecord)
    assert (record.sender, record.recipients) == ("carol", ("bob",))


def test_the_records_of_a_device_say_which_it_is(bench: Bench) -> None:
    bench.join("c", "carol", device="phone")
    bench.deliver("a", "carol")
    bench.send("c", "bob")
    sent = decode_record(bench.pop(d.AppendMessage).value)
    assert isinstance(sent, MessageRecord)
    assert sent.device == "phone"
    bench.ack("c", *bench.got("c", "id"))
    received = decode_record(bench.pop(d.AppendReceipts).value)
    assert isinstance(received, ReceiptRecord)
    assert [each[:2] for each in received.entries] == [("carol", "phone")]


# Pages that say where the mailbox gets nothing new -------------------------------------------


def test_a_page_from_before_ones_own_record_says_nothing(bench: Bench) -> None:
    connect(bench)
    bench.recognise(NEW)
    bench.open_device({0: 7, 1: 3})
    bench.read_ends()
    bench.page("c", closed=BOTH, applied={0: 6, 1: 2})
    assert not bench.has(d.OpenDevice | d.Close)


def test_a_record_that_is_still_missing_is_not_asked_for_again(bench: Bench) -> None:
    """The edge tries for as long as the session is there. A task for each page would be many."""
    connect(bench)
    bench.recognise(NEW)
    bench.open_device({0: 7})
    bench.read_ends()
    bench.page("c", closed={1}, applied={0: 7, 1: 9})
    assert not bench.has(d.OpenDevice | d.Close)


def test_what_a_store_could_not_say_in_time_its_first_page_says(bench: Bench) -> None:
    connect(bench)
    bench.recognise(None)
    bench.read_ends()
    bench.page("c", closed={1}, applied={0: 7, 1: 9})
    asked = bench.pop(d.OpenDevice)
    assert (asked.mailbox, asked.partitions) == (PHONE, {1})
    assert not bench.has(d.Close)


def test_a_partition_that_is_new_to_the_log_is_opened(bench: Bench) -> None:
    """What nobody has said to be open has not ended."""
    connect(bench)
    bench.recognise(KNOWN)
    bench.read_ends()
    bench.page("c", closed={2}, applied={0: 1, 1: 1, 2: 1})
    assert bench.pop(d.OpenDevice).partitions == {2}
    assert not bench.has(d.Close)


@pytest.mark.parametrize("closed", [BOTH, frozenset({1})])
@pytest.mark.parametrize("recognition", [KNOWN, NEW, None])
def test_a_session_whose_device_has_ended_has_to_come_again(
    bench: Bench, closed: frozenset[int], recognition: Recognition | None
) -> None:
    """It ends in each partition by itself, and must not be opened there without being told."""
    connect(bench)
    bench.recognise(recognition)
    if recognition is NEW:
        bench.open_device({0: 7, 1: 3})
    bench.read_ends()
    bench.end = 200
    bench.page("c", applied={0: 7, 1: 3})  # here it is open
    bench.heart.applied("c")
    bench.page("c", closed=closed, applied={0: 200, 1: 200})
    assert not bench.has(d.OpenDevice)
    assert bench.pop(d.Close) == d.Close("c", *COME_AGAIN)
    assert bench.heart.sessions_of("carol") == ()


def test_a_session_of_the_default_mailbox_has_to_come_again_where_that_gets_nothing_new(
    bench: Bench,
) -> None:
    """Another one has brought the first device of their user."""
    bench.join("c", "carol")
    (asked,) = [each for each in bench.heart.sweep() if each.session == "c"]
    pending = Pending((message(0, "carol"),), True, {0: 9}, closed=frozenset({0}))
    bench.end = 9
    bench.heart.page("c", asked.query, pending)
    assert bench.pop(d.Close) == d.Close("c", *COME_AGAIN)
    assert bench.of("c", "message") == [], "its next session has another mailbox, and is pushed it"


def test_a_new_device_has_caught_up_once_its_record_is_in_every_partition(bench: Bench) -> None:
    """Before, messages may pass it by: it is owed what comes after its record."""
    connect(bench)
    bench.recognise(NEW)
    bench.open_device({0: 7})
    bench.read_ends()
    bench.page("c", applied={0: 200, 1: 200})
    assert bench.of("c", "caught_up") == []
    bench.heart.opened("c", {1: 201})
    assert bench.of("c", "caught_up") == [{"type": "caught_up", "replayed": 0}]
    bench.heart.opened("c", {})
    assert len(bench.of("c", "caught_up")) == 1


def test_a_device_whose_first_page_says_that_it_is_new_has_not_caught_up_with_it(
    bench: Bench,
) -> None:
    connect(bench)
    bench.recognise(None)
    bench.read_ends()
    bench.page("c", closed=BOTH, applied={0: 200, 1: 200})
    assert bench.of("c", "caught_up") == []
    bench.open_device()
    assert len(bench.of("c", "caught_up")) == 1


def test_a_new_device_too_many_is_told_when_to_come_again(bench: Bench) -> None:
    connect(bench)
    bench.heart.refuse_device("c")
    bench.heart.refuse_device("gone")
    closing = bench.pop(d.Close)
    assert (closing.session, closing.code) == ("c", CloseCode.OVERLOADED)
    assert closing.reason == f"retry_after_ms={delivery.NEW_DEVICE_MS}"
    assert bench.of("c", "welcome") == []


@pytest.mark.parametrize(
    ("recognition", "opened", "closed", "applied", "answer"),
    [
        (NEW, {0: 5, 1: 5}, BOTH, {0: 4, 1: 4}, Answer.NOTHING),  # not applied yet
        (NEW, {0: 5, 1: 5}, {1}, {0: 5, 1: 5}, Answer.LEAVE),
        (NEW, {}, BOTH, {0: 4, 1: 4}, Answer.NOTHING),  # they are on their way
        (NEW, {0: 5}, {1}, {0: 5, 1: 4}, Answer.NOTHING),
        (KNOWN, {}, NONE, {0: 5, 1: 5}, Answer.NOTHING),
        (KNOWN, {}, {0}, {0: 5, 1: 5}, Answer.LEAVE),
        (None, {}, BOTH, {0: 5, 1: 5}, Answer.OPEN),
        (None, {}, NONE, {}, Answer.NOTHING),
    ],
)
def test_what_a_page_means_for_a_device(
    recognition: Recognition | None,
    opened: Positions,
    closed: frozenset[int],
    applied: Positions,
    answer: Answer,
) -> None:
    state = DeviceState()
    state.recognise(recognition)
    if recognition is NEW:
        state.open(NEW.closed)
        state.note_opened(opened)
    pending = Pending((), True, applied, closed=frozenset(closed))
    assert state.judge(PHONE, pending)[0] is answer

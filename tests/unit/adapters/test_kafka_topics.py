"""Which settings of CHAT-MESSAGES break the promise, one at a time."""

import pytest

from landline.adapters.kafka.topics import RECORD_BYTES, RETENTION_MS, Topic, broken_settings
from landline.protocol.limits import CONTENT_BYTES
from landline.protocol.records import MessageRecord

GOOD = {
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "cleanup.policy": "delete",
    "retention.ms": str(RETENTION_MS),
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(RECORD_BYTES),
}


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"min.insync.replicas": "3"},
        {"retention.ms": "-1"},
        {"retention.ms": str(10 * RETENTION_MS)},
        {"max.message.bytes": "1048588"},
    ],
)
def test_what_keeps_the_promise_has_no_line(setting: dict[str, str]) -> None:
    assert broken_settings("T", 3, GOOD | setting) == ()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", str(RETENTION_MS - 1)),
        ("retention.bytes", "1073741824"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", str(RECORD_BYTES - 1)),
    ],
)
def test_each_broken_setting_has_a_line_of_its_own(setting: str, value: str) -> None:
    (line,) = broken_settings("T", 3, GOOD | {setting: value})
    assert line.startswith(f"T: {setting} is {value}, needed is ")


def test_fewer_than_three_replicas_are_named() -> None:
    (line,) = broken_settings("T", 2, GOOD)
    assert line.startswith("T: replication factor is 2, needed is 3: ")


def test_every_broken_setting_is_named_at_once() -> None:
    bad = dict.fromkeys(GOOD, "1")
    assert len(broken_settings("T", 1, bad)) == 1 + len(GOOD)


def test_the_largest_message_is_smaller_than_the_largest_record() -> None:
    """F14: with the characters that JSON makes the most of, and names as long as they may be."""
    id = "0" * 36
    name = "\x01" * 128
    record = MessageRecord(
        id, id, f"dm:{name}:{name}", name, (name,), "\x01" * CONTENT_BYTES, "2026-01-01T00:00:00Z"
    )
    assert len(record.encode()) < RECORD_BYTES


@pytest.mark.parametrize(
    ("replicas", "durability"), [(1, "kafka:acks=all,replicas=1"), (3, "kafka:acks=all,isr>=2")]
)
def test_the_durability_says_what_is(replicas: int, durability: str) -> None:
    assert Topic("c", "t", 32, replicas, 2, None, ()).durability == durability

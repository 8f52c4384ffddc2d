"""A line that leaves the machine without TLS is warned of."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from landline.app.plain_text import plain_text
from landline.config import load

NEAR = {
    "kafka": "127.0.0.1:9092,[::1]:9092,localhost:9092",
    "postgres": "postgresql://u:p@127.0.0.1/db",
    "redis": "redis://:p@[::1]:6379/0",
}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, []),
        ({"kafka": "127.0.0.1:9092,kafka-2:9092"}, ["--kafka"]),
        ({"kafka": "[2001:db8::1]:9092"}, ["--kafka"]),
        ({"postgres": "postgresql://u:p@db.example/db"}, ["--postgres"]),
        ({"postgres": "postgresql://u:p@127.0.0.1,10.0.0.2/db"}, ["--postgres"]),
        ({"postgres": "postgresql://u:p@db.example/db?sslmode=prefer"}, ["--postgres"]),
        ({"postgres": "postgresql://u:p@db.example/db?sslmode=require"}, []),
        ({"postgres": "postgresql:///db?host=/run/postgresql"}, []),
        ({"redis": "redis://:p@redis.example/0"}, ["--redis"]),
        ({"redis": "rediss://:p@redis.example/0"}, []),
        (
            {
                "kafka": "k:1",
                "postgres": "postgresql://u:p@db/db",
                "redis": "redis://10.0.0.1",
            },
            ["--kafka", "--postgres", "--redis"],
        ),
    ],
)
def test_what_is_warned_of(given: Mapping[str, str], named: list[str]) -> None:
    advice = plain_text(load({**NEAR, **given}, {}))
    assert [sentence.split()[0] for sentence in advice] == named
    assert not any("p@" in sentence for sentence in advice)


@pytest.mark.parametrize(
    ("protocol", "count"),
    [("SSL", 0), ("sasl_ssl", 0), ("SASL_PLAINTEXT", 1), ("PLAINTEXT", 1)],
)
def test_kafka_s_protocol_is_in_its_file(protocol: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / "kafka.properties"
    users = "sasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=p\n"
    path.write_text(f"security.protocol={protocol}\n{users if 'sasl' in protocol.lower() else ''}")
    given = {**NEAR, "kafka": "kafka-1:9093", "kafka-config": str(path)}
    assert len(plain_text(load(given, {}))) == count


def test_the_mode_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    given = {**NEAR, "postgres": "postgresql://u:p@db.example/db"}
    assert plain_text(load(given, {})) == []

"""Neighbours beyond loopback that are reached in plain text are named, others are not."""

import pytest

from landline.app.plaintext import plaintext_cautions
from landline.config import load
from landline.config.values import SecretUrl


def cautions(
    *, security: str = "", kafka: str = "127.0.0.1:9092", postgres: str = "", redis: str = ""
) -> list[str]:
    given = {"kafka": kafka, "postgres": postgres or "postgresql://127.0.0.1/db"}
    if redis:
        given["redis"] = redis
    settings = load(given, {})
    assert isinstance(settings.postgres, SecretUrl)
    protocol = {"security.protocol": security} if security else {}
    return list(plaintext_cautions(settings, protocol))


def test_on_one_machine_nobody_is_warned() -> None:
    assert cautions(kafka="localhost:9092,[::1]:9092", redis="redis://127.0.0.2:6379/0") == []
    assert cautions(postgres="postgresql:///db?host=/run/postgresql", redis="unix:///run/r") == []


@pytest.mark.parametrize("security", ["", "plaintext", "SASL_PLAINTEXT"])
def test_kafka_in_plain_text_is_named(security: str) -> None:
    [line] = cautions(security=security, kafka="127.0.0.1:9092,kafka-1:9092")
    assert line.startswith("--kafka kafka-1:9092: messages go there in plain text")


@pytest.mark.parametrize("security", ["SSL", "sasl_ssl"])
def test_kafka_with_tls_is_fine(security: str) -> None:
    assert cautions(security=security, kafka="kafka-1:9093") == []


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer"])
def test_postgres_that_need_not_speak_tls_is_named_without_its_password(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    [line] = cautions(postgres=f"postgresql://u:secret@127.0.0.1,db.example.org/x{mode}")
    assert "on the way to db.example.org," in line
    assert line.startswith("--postgres postgresql://u:***@")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full", "verify_full"])
def test_postgres_that_must_speak_tls_is_fine(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    assert cautions(postgres=f"postgresql://db.example.org/x?sslmode={mode}") == []
    monkeypatch.setenv("PGSSLMODE", mode)
    assert cautions(postgres="postgresql://db.example.org/x") == []


def test_redis_in_plain_text_is_named_without_its_password() -> None:
    [line] = cautions(redis="redis://u:secret@redis:6379/0")
    assert line.startswith("--redis redis://u:***@redis:6379/0: ")
    assert cautions(redis="rediss://u:secret@redis:6379/0") == []

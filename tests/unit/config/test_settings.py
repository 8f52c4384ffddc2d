"""The settings: their defaults, and which of them go together."""

from dataclasses import replace
from pathlib import Path

import pytest

from landline.config import Settings, load
from landline.config.kinds import FLAG, SERVER_ID
from landline.config.limits import NO_LIMITS, USUAL_LIMITS, Limits
from landline.config.settings import OPTIONS, SECTIONS
from support.configuration import NAMES, SAMPLES, refusal


def test_without_any_configuration_the_embedded_server_listens_on_8081() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8081)
    assert settings.data_dir == Path("landline-data")
    assert (settings.ack_timeout, settings.sweep_interval) == (60.0, 10.0)
    assert settings.roles == {"gateway", "writer"}
    assert (settings.kafka, settings.postgres, settings.redis) == (None, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_explains_itself(name: str) -> None:
    option = OPTIONS[name]
    assert option.section in SECTIONS
    assert option.doc
    assert option.variable == f"LANDLINE_{name.upper().replace('-', '_')}"
    assert option.kind is FLAG or option.kind.metavar


@pytest.mark.parametrize("interval", ["15001ms", "16s", "1m", "24h"])
def test_a_sweep_beyond_the_promise_is_refused_unless_that_is_accepted(interval: str) -> None:
    """A message whose hint was lost comes with the sweep; 15 s are promised."""
    sentence = refusal({"sweep-interval": interval})
    assert sentence.startswith(f"--sweep-interval {interval}: ")
    assert "15 s are promised" in sentence
    assert "10s or less" in sentence
    settings = load({"sweep-interval": interval, "allow-unsafe": "true"}, {})
    assert len(settings.cautions) == 1


def test_a_sweep_that_leaves_the_writer_no_time_is_warned_of() -> None:
    assert load({}, {}).cautions == ()
    assert load({"sweep-interval": "10s"}, {}).cautions == ()
    [caution] = load({"sweep-interval": "15s"}, {}).cautions
    assert caution.startswith("--sweep-interval is 15 s: ")
    assert "10s or less" in caution


TOKENS = {"auth": "jwt", "jwt-secret-file": "secret", "host": "0.0.0.0"}  # noqa: S104


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "chat.example.org"])  # noqa: S104
def test_tokens_in_plain_text_beyond_this_machine_are_warned_of(host: str) -> None:
    [caution] = load({**TOKENS, "host": host}, {}).cautions
    assert caution.startswith(f"--host {host} without TLS: ")
    [caution] = load({**TOKENS, "public-url": "http://chat.example.org"}, {}).cautions
    assert "--tls-cert" in caution


@pytest.mark.parametrize(
    "given",
    [
        {"tls-cert": "c", "tls-key": "k"},
        {"public-url": "https://chat.example.org"},
        {"trusted-proxies": "10.0.0.0/8"},
        {"auth": "proxy", "trusted-proxies": "10.0.0.0/8"},
        {"host": "127.0.0.1"},
    ],
)
def test_tokens_behind_tls_or_on_this_machine_are_fine(given: dict[str, str]) -> None:
    if given.get("auth") == "proxy":
        given = {**given, "host": "0.0.0.0"}  # noqa: S104
        assert load(given, {}).cautions == ()
    else:
        assert load({**TOKENS, **given}, {}).cautions == ()


def test_how_to_reach_kafka_without_kafka_is_refused() -> None:
    assert refusal({"kafka-config": "x"}).startswith("--kafka-config x without --kafka: ")


def test_one_of_kafka_and_postgres_alone_is_refused() -> None:
    sentence = refusal({"kafka": "k:9092"})
    assert sentence.startswith("--kafka k:9092 without --postgres: a cluster needs both.")
    sentence = refusal({}, {"LANDLINE_POSTGRES": "postgresql://h/db"})
    assert sentence.startswith("LANDLINE_POSTGRES=postgresql://h/db without --kafka")


def test_redis_alone_makes_no_cluster() -> None:
    sentence = refusal({"redis": "redis://h"})
    assert sentence.startswith("--redis redis://h without --kafka and --postgres")
    assert "Leave out --kafka, --postgres and --redis" in sentence


def test_a_cluster_needs_no_redis_and_may_split_the_roles() -> None:
    settings = load({"kafka": "k:9092", "postgres": "postgresql://h/db", "roles": "writer"}, {})
    assert settings.redis is None
    assert settings.roles == {"writer"}


def test_the_embedded_server_refuses_to_run_one_role_alone() -> None:
    assert refusal({"roles": "writer"}).startswith("--roles writer: the embedded server")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "chat.example.org"])  # noqa: S104
def test_auth_none_is_refused_where_others_could_connect(host: str) -> None:
    assert refusal({"host": host}).startswith(f"--host {host}: with --auth none")
    assert refusal({}, {"LANDLINE_HOST": host}).startswith(f"LANDLINE_HOST={host}: with")
    assert load({"host": host, "insecure": "true"}, {}).host == host


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, None),
        ({"host": "localhost", "public-url": "http://127.0.0.1:8081"}, None),
        ({"host": "0.0.0.0", "insecure": "true"}, "--host 0.0.0.0"),  # noqa: S104
        ({"public-url": "https://chat.example/x"}, "--public-url https://chat.example/x/"),
        ({"trusted-proxies": "127.0.0.1"}, "--trusted-proxies"),
        (
            {"host": "::", "insecure": "true", "roles": "writer"}
            | {"kafka": "k:9092", "postgres": "postgresql://h/db"},
            None,
        ),
    ],
)
def test_who_can_write_in_any_name_is_named(given: dict[str, str], named: str | None) -> None:
    """A proxy brings others to a server that listens on loopback."""
    cautions = [each for each in load(given, {}).cautions if "any user's name" in each]
    assert [each.partition(" with --auth none")[0] for each in cautions] == [named] * bool(named)


def test_a_way_to_know_who_somebody_is_must_be_complete() -> None:
    assert refusal({"auth": "jwt"}).startswith("--auth jwt: tokens are checked with a key")
    assert "--trusted-proxies" in refusal({"auth": "proxy"})
    there = {"host": "0.0.0.0", "auth": "jwt", "jwt-secret-file": "secret"}  # noqa: S104
    assert load(there, {}).auth == "jwt"


@pytest.mark.parametrize("name", ["jwt-secret-file", "jwks-url", "tls-key", "authorize-ttl"])
def test_an_option_that_would_do_nothing_is_refused(name: str) -> None:
    value = next(text for each, text, *_ in SAMPLES if each == name)
    assert refusal({name: value}).startswith(f"--{name} {value} without --")


def test_limits_are_off_where_only_this_machine_is_served_and_anybody_is_trusted() -> None:
    assert load({}, {}).limits == NO_LIMITS
    assert load({"host": "0.0.0.0", "insecure": "true"}, {}).limits == USUAL_LIMITS  # noqa: S104
    tokens = {"auth": "jwt", "jwt-secret-file": "secret"}
    assert load(tokens, {}).limits == USUAL_LIMITS
    assert load({**tokens, "limit-messages": "0"}, {}).limits == replace(USUAL_LIMITS, messages=0)
    assert load({"limit-frames": "7"}, {}).limits == Limits(frames=7)


def test_the_public_address_is_one_of_the_origins() -> None:
    given = {"public-url": "https://Chat.example/x", "allowed-origins": "capacitor://localhost"}
    assert load(given, {}).origins == {"https://chat.example", "capacitor://localhost"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1", "[::1]"])
def test_auth_none_is_fine_on_a_loopback_host(host: str) -> None:
    assert load({"host": host}, {}).host == host.strip("[]")


def test_a_server_without_a_name_is_called_after_its_host_and_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "häuschen.local")
    assert Settings().server_name(9000) == "h-uschen.local-9000"
    assert Settings(server_id="ws-1").server_name(9000) == "ws-1"
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    longest = Settings().server_name(65535)
    assert load({"server-id": longest}, {}).server_id == longest


@pytest.mark.parametrize("length", range(50, 65))
def test_pods_whose_names_differ_at_the_end_have_names_of_their_own(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes names them after their deployment, and tells them apart by five characters."""
    names = set()
    for end in ("x2x70", "x2x71", "x2x70"):
        host = f"{'chat-' * 20}"[: length - 6] + f"-{end}"
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        name = Settings().server_name(65535)
        assert SERVER_ID.parse(name) == name
        assert name.startswith(host[:40])
        names.add(name)
    assert len(names) == 2

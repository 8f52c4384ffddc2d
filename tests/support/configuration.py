"""Configurations for the tests: samples of every option, and refusals."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from landline.config import load
from landline.config.settings import OPTIONS
from landline.config.urls import PublicUrl
from landline.config.values import SecretUrl
from landline.errors import ConfigError

NAMES = list(OPTIONS)
TOKENS = {"auth": "jwt", "jwt-secret-file": "secret"}
HERE = PublicUrl("https://a.example", "/x")
CLUSTER = {"kafka": "k:9092", "postgres": "postgresql://h/db"}

# An option, how it is written as text and in TOML, and what becomes of it.
SAMPLES = [
    ("host", "::1", '"::1"', "::1"),
    ("port", "0", "0", 0),
    ("public-url", "https://A.example:443/x/", '"https://a.example/x"', HERE),
    ("tls-cert", "cert.pem", '"cert.pem"', Path("cert.pem")),
    ("tls-key", "key.pem", '"key.pem"', Path("key.pem")),
    (
        "trusted-proxies",
        "10.0.0.0/8, ::1",
        '["10.0.0.0/8", "::1"]',
        (ip_network("10.0.0.0/8"), ip_network("::1")),
    ),
    ("admin-host", "::1", '"::1"', "::1"),
    ("admin-port", "9100", "9100", 9100),
    ("auth", "proxy", '"proxy"', "proxy"),
    ("jwt-secret-file", "secret", '"secret"', Path("secret")),
    ("jwt-public-key-file", "key.pem", '"key.pem"', Path("key.pem")),
    ("jwks-url", "https://i.example/k", '"https://i.example/k"', SecretUrl("https://i.example/k")),
    ("jwt-issuer", "https://i.example/", '"https://i.example/"', "https://i.example/"),
    ("jwt-audience", "chat", '"chat"', "chat"),
    ("jwt-user-claim", "name", '"name"', "name"),
    ("jwt-role-claim", "is", '"is"', "is"),
    ("rooms", "service", '"service"', "service"),
    ("authorize-url", "http://b/may", '"http://b/may"', SecretUrl("http://b/may")),
    ("authorize-ttl", "1h", '"1h"', 3600.0),
    ("authorize-fail", "open", '"open"', "open"),
    ("limit-messages", "0.5", "0.5", 0.5),
    ("limit-bytes", "128KiB", "131072", 131_072.0),
    ("limit-frames", "0", "0", 0.0),
    ("limit-user-connections", "5", "5", 5),
    ("limit-address-connections", "7", "7", 7),
    ("limit-handshakes", "3", "3", 3.0),
    ("insecure", "true", "true", True),
    ("allowed-origins", "https://a.example", '["https://a.example"]', {"https://a.example"}),
    ("ack-timeout", "1.5s", '"1.5s"', 1.5),
    ("sweep-interval", "12s", '"12s"', 12.0),
    ("keep-messages", "365d", '"365d"', 365 * 86_400.0),
    ("keep-log", "36h", '"36h"', 36 * 3_600.0),
    ("device-expiry", "90d", '"90d"', 90 * 86_400.0),
    ("data-dir", "/srv/chat", '"/srv/chat"', Path("/srv/chat")),
    ("server-id", "ws-1", '"ws-1"', "ws-1"),
    ("roles", "writer, gateway", '["writer", "gateway"]', {"gateway", "writer"}),
    ("kafka-config", "kafka.properties", '"kafka.properties"', Path("kafka.properties")),
    ("allow-unsafe", "true", "true", True),
    ("log-dir", "logs", '"logs"', Path("logs")),
    ("log-format", "json", '"json"', "json"),
]


# What has to be given beside an option for it to do anything.
COMPANIONS: Mapping[str, Mapping[str, str]] = {
    "kafka-config": CLUSTER,
    "tls-cert": {"tls-key": "key.pem"},
    "tls-key": {"tls-cert": "cert.pem"},
    "admin-host": {"admin-port": "9100"},
    "auth": {"trusted-proxies": "::1"},
    **dict.fromkeys(("jwt-secret-file", "jwt-public-key-file", "jwks-url"), TOKENS),
    **dict.fromkeys(("jwt-issuer", "jwt-audience", "jwt-user-claim", "jwt-role-claim"), TOKENS),
    "authorize-ttl": {"authorize-url": "http://b/may"},
    "authorize-fail": {"authorize-url": "http://b/may"},
}


def refusal(
    command_line: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Return the sentence with which these are refused."""
    with pytest.raises(ConfigError) as error:
        load(command_line or {}, environment or {})
    return str(error.value)


def refusal_of_file(tmp_path: Path, content: str) -> str:
    """Return the sentence with which a configuration file of this content is refused."""
    file = tmp_path / "landline.toml"
    file.write_text(content)
    return refusal({"config": str(file)})


def assert_refused(name: str, text: str, problem: str) -> None:
    """Check that a value is refused with the option, the problem and a remedy."""
    sentence = refusal({name: text})
    assert sentence.startswith(f"--{name} ")
    assert problem in sentence
    assert ": " in sentence.partition(problem)[2]
    assert len(sentence.splitlines()) <= 2
    assert sentence.isprintable()

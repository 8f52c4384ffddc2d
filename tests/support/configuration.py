"""Configurations for the tests: samples of every option, and refusals."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from landline.config import load
from landline.config.settings import OPTIONS
from landline.errors import ConfigError

NAMES = list(OPTIONS)
CLUSTER = {"kafka": "k:9092", "postgres": "postgresql://h/db"}

# An option, how it is written as text and in TOML, and what becomes of it.
SAMPLES = [
    ("host", "::1", '"::1"', "::1"),
    ("port", "0", "0", 0),
    ("auth", "none", '"none"', "none"),
    ("insecure", "true", "true", True),
    ("allowed-origins", "https://a.example", '["https://a.example"]', {"https://a.example"}),
    ("ack-timeout", "1.5s", '"1.5s"', 1.5),
    ("sweep-interval", "12s", '"12s"', 12.0),
    ("data-dir", "/srv/chat", '"/srv/chat"', Path("/srv/chat")),
    ("server-id", "ws-1", '"ws-1"', "ws-1"),
    ("roles", "writer, gateway", '["writer", "gateway"]', {"gateway", "writer"}),
    ("kafka-config", "kafka.properties", '"kafka.properties"', Path("kafka.properties")),
    ("allow-unsafe", "true", "true", True),
    ("log-dir", "logs", '"logs"', Path("logs")),
    ("log-format", "json", '"json"', "json"),
]


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

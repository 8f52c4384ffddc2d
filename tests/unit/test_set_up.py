"""`make` sets up what a target needs, no more than that, and once."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INPUTS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock", "pyproject.toml"]
STAMPS = {"server": ".ready-server", "development": ".ready-development"}


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout, in a path with spaces, in which nothing was set up."""
    root = tmp_path / "a check out"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    for name in ["Makefile", *INPUTS]:
        shutil.copy(ROOT / name, root)
    return root


def set_up(checkout: Path, *whats: str) -> None:
    """Do as scripts/setup does, as far as make can see: a Python, and stamps newer than locks."""
    python = checkout / ".venv/bin/python"
    if not python.exists():
        python.parent.mkdir(parents=True)
        python.symlink_to(Path(sys.executable).resolve())
    for what in whats:
        (checkout / ".venv" / STAMPS[what]).touch()


def make(checkout: Path, *arguments: str) -> str:
    """Return what make would run."""
    outer = {"MAKEFLAGS", "PYTHON"}  # of the make that runs the tests
    return subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name not in outer},
    ).stdout


def test_a_server_asks_for_what_a_server_needs(checkout: Path) -> None:
    commands = make(checkout, "run")
    assert 'scripts/setup server "python3"' in commands
    assert "development" not in commands


@pytest.mark.parametrize(
    "target", ["test", "check", "cluster", "simulate", "bench", "lock", "sbom"]
)
def test_everything_else_asks_for_all(checkout: Path, target: str) -> None:
    assert 'scripts/setup development "python3"' in make(checkout, target)
    set_up(checkout, "server")
    assert 'scripts/setup development "python3"' in make(checkout, target)


def test_a_browser_is_a_target_of_its_own_that_the_tests_ask_for(checkout: Path) -> None:
    assert "scripts/ensure-chromium" in make(checkout, "chromium")
    commands = make(checkout, "test")
    assert commands.index("scripts/ensure-chromium") < commands.index("bin/pytest --numprocesses")
    assert "ensure-chromium" not in make(checkout, "check") + make(checkout, "setup")


def test_a_server_after_the_tests_installs_nothing(checkout: Path) -> None:
    set_up(checkout, "server", "development")  # the latter is the former and more
    assert "scripts/setup" not in make(checkout, "run")
    assert "scripts/setup" not in make(checkout, "check")


@pytest.mark.parametrize(
    ("lock", "targets"),
    [
        ("requirements.lock", ["run"]),
        ("requirements-dev.lock", ["check"]),
        ("pyproject.toml", ["run", "check"]),
        ("requirements-build.lock", ["run", "check"]),
    ],
)
def test_what_was_locked_since_is_installed(checkout: Path, lock: str, targets: list[str]) -> None:
    set_up(checkout, "server", "development")
    later = time.time() + 60
    os.utime(checkout / lock, (later, later))
    for target in ["run", "check"]:
        assert ("scripts/setup" in make(checkout, target)) is (target in targets)


def test_another_python_makes_the_environment_again(checkout: Path, tmp_path: Path) -> None:
    set_up(checkout, "server", "development")
    assert "scripts/setup" not in make(checkout, "run", f"PYTHON={sys.executable}")
    other = script(tmp_path / "bin of mine" / "python", "echo 3.13.99")
    assert f'scripts/setup server "{other}"' in make(checkout, "run", f"PYTHON={other}")


def test_set_up_takes_wheels_with_hashes_alone() -> None:
    """Nothing is built, and so no compiler is asked for; except this package, which is ours."""
    script = (ROOT / "scripts/setup").read_text()
    assert re.findall(r"\binstall (--.*)$", script, re.MULTILINE) == [
        '--quiet "$@" && return',  # pip's own, of which both are
        '--only-binary :all: --require-hashes "$@"; }',
        "--no-deps --no-build-isolation --editable .",
    ]
    assert len(re.findall(r"\blocked --", script)) == 4


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("python3.1", "there is no python3.1: install Python 3.11 or newer"),
        ("old", "old is no CPython 3.11 or newer: install one"),
        ("bare", "bare has no venv module: install it"),
        ("broken", "broken does not run: libpython is away"),
    ],
)
def test_a_python_that_cannot_serve_is_named(checkout: Path, python: str, sentence: str) -> None:
    path = checkout / "bin"
    script(path / "old", 'test -z "$2"')
    script(path / "bare", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    script(path / "broken", "echo libpython is away >&2; exit 127")
    done = run_set_up(checkout, python, PATH=f"{path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"setup: {sentence}")
    assert not (checkout / ".venv").exists()


def test_a_python_of_pyenv_that_is_not_switched_on_is_found(checkout: Path, tmp_path: Path) -> None:
    """Its name is on the PATH all the same, and refuses."""
    minor = f"3.{sys.version_info.minor}"
    script(tmp_path / f"shims/python{minor}", "echo not switched on >&2; exit 127")
    real = tmp_path / f"versions/{minor}.1/bin/python"
    script(real, f'case "$*" in *"-m venv"*) echo "made by $0"; exit 1 ;; esac\n'
           f'exec "{sys.executable}" "$@"')  # fmt: skip
    path = f"{tmp_path}/shims:{os.environ['PATH']}"
    done = run_set_up(checkout, f"python{minor}", PATH=path, PYENV_ROOT=str(tmp_path))
    assert f"made by {real}" in done.stdout


def test_it_says_what_it_sets_up_and_of_nothing_twice(checkout: Path) -> None:
    """Who starts a server and then a cluster sees two of them, and was promised one."""
    path = checkout / "bin"
    script(path / "here", 'case "$*" in *"-m venv"*) exit 1 ;; esac')
    environment = {"PATH": f"{path}:{os.environ['PATH']}"}
    said = {
        what: run_set_up(checkout, "here", what, **environment).stdout
        for what in ("server", "development", "unit")
    }
    assert "Setting up .venv: what a server needs; each is set up once" in said["server"]
    assert "development tools" in said["development"]
    assert len(set(said.values())) == len(said)
    unknown = run_set_up(checkout, "here", "everything", **environment)
    assert unknown.stderr == "setup: there is no set-up called everything\n"


def run_set_up(
    checkout: Path, python: str, what: str = "server", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/setup", what, python],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )

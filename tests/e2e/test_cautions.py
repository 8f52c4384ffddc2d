"""Plain text on ways where others may be, and no sign-in: a server says so, and goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.papers import Papers
from support.server import ServerProcess
from support.waiting import wait_until

FAR = "192.0.2.7"  # an address for examples: nobody is there (RFC 5737)


def cautions(server: ServerProcess) -> list[str]:
    said = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line["setting"] for line in said if line["event"] == "unsafe_setting"]


@contextmanager
def launched(directory: Path, *args: str) -> Iterator[ServerProcess]:
    server = ServerProcess(directory, args=args)
    server.launch()
    try:
        yield server
    finally:
        server.kill()


def test_neighbours_without_tls_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    args = ["--kafka", f"{FAR}:9092", "--postgres", f"postgresql://u:secret@{FAR}/db"]
    with launched(tmp_path / "data", *args, "--redis", f"redis://:secret@{FAR}:6379/0") as server:
        wait_until(lambda: len(cautions(server)) == 3, "each is named")
        for option, caution in zip(
            ("--kafka", "--postgres", "--redis"), cautions(server), strict=True
        ):
            assert caution.startswith(option)
        assert "secret" not in server.log()


@pytest.mark.parametrize("has_tls", [False, True])
def test_tokens_without_tls_are_named(has_tls: bool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 32)
    args = ["--host", "0.0.0.0", "--auth", "jwt", "--jwt-secret-file", str(secret)]  # noqa: S104
    args += Papers.made(tmp_path / "papers").arguments if has_tls else []
    with launched(tmp_path / "data", *args) as server:
        wait_until(lambda: '"listening"' in server.log(), "it listens")
        assert len(cautions(server)) == (0 if has_tls else 1)
        assert all(each.startswith("--host 0.0.0.0 without TLS") for each in cautions(server))


def test_anybody_in_any_name_is_named(tmp_path: Path) -> None:
    with launched(tmp_path / "data", "--host", "0.0.0.0", "--insecure") as server:  # noqa: S104
        wait_until(lambda: '"listening"' in server.log(), "it listens")
        [caution] = cautions(server)
        assert caution.startswith("--host 0.0.0.0 with --auth none")

"""Outputs that fail hold up nothing, and files rotate."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from landline.observability import outputs
from landline.observability.outputs import Output, RotatingFile, Stream
from support.logs import lines_of

PROGRAM = """
import sys
from pathlib import Path
from landline.observability import logging
from landline.observability.logging import configure_logging, get_logger
logging._CLOSE_SECONDS = 60.0  # most of the lines are written at the end
configure_logging("json", Path(sys.argv[1]), "ws-1", 8081)
for n in range(1000):
    get_logger("x").info("tick", n=n)
"""


def run_with_output(tmp_path: Path, shell: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "shell",
    ['"$@" >/dev/full', '"$@" >&-', '"$@" | true', '{ "$@"; echo $? >&2; } | sleep 0.1'],
)
def test_a_broken_standard_output_does_not_matter(shell: str, tmp_path: Path) -> None:
    done = run_with_output(tmp_path, shell)
    assert done.returncode == 0
    assert done.stderr in {"", "0\n"}
    assert [line["n"] for line in lines_of(tmp_path)] == list(range(1000))


def test_an_output_that_nobody_reads_loses_lines_but_holds_up_nothing() -> None:
    total = 3 * outputs.BACKLOG_LINES
    read, write = os.pipe()
    output = Output("test", Stream(write), lambda count: b"lost %d\n" % count)
    for number in range(total):
        output.put(b"%d %s\n" % (number, b"x" * 100))  # returns although the pipe is full
    received: list[bytes] = []
    with os.fdopen(read, "rb") as reader:
        thread = threading.Thread(target=lambda: received.extend(reader))
        thread.start()
        output.close(60)
        os.close(write)
        thread.join(60)
    lost = sum(int(line.split()[1]) for line in received if line.startswith(b"lost"))
    kept = [int(line.split()[0]) for line in received if not line.startswith(b"lost")]
    assert lost > 0
    assert lost + len(kept) == total
    assert kept == sorted(kept)


def test_the_backlog_is_bounded_in_bytes() -> None:
    read, write = os.pipe()
    output = Output("test", Stream(write), lambda count: b"lost %d\n" % count)
    line = b"x" * (1024 * 1024 - 1) + b"\n"
    for _ in range(30):
        output.put(line)
    received: list[bytes] = []
    with os.fdopen(read, "rb") as reader:
        thread = threading.Thread(target=lambda: received.extend(reader))
        thread.start()
        output.close(60)
        os.close(write)
        thread.join(60)
    # One backlog may be on its way while the next one fills.
    assert received.count(line) <= 2 * outputs.BACKLOG_BYTES // len(line)
    assert any(line.startswith(b"lost") for line in received)


class Flaky:
    """A destination on a disk that is full for a while."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.is_full = True
        self.failed = threading.Event()

    def write(self, line: bytes) -> None:
        if self.is_full:
            self.failed.set()
            raise OSError(28, "No space left on device")
        self.lines.append(line)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self.lines.append(b"closed")


def test_a_full_disk_costs_lines_and_says_how_many_afterwards() -> None:
    flaky = Flaky()
    output = Output("test", flaky, lambda count: b"lost %d" % count)
    output.put(b"one")
    assert flaky.failed.wait(60)
    flaky.is_full = False
    output.put(b"two")
    output.close(60)
    # The loss is told as soon as there is room: before the second line, or behind it.
    assert flaky.lines in ([b"two", b"lost 1", b"closed"], [b"lost 1", b"two", b"closed"])


# Rotation -------------------------------------------------------------------------------------


def test_a_full_file_becomes_number_one(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = RotatingFile(path, limit_bytes=10, kept=3)
    for number in range(12):
        file.write(b"%04d\n" % number)
    file.close()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "x.log": "0010\n0011\n",
        "x.log.1": "0008\n0009\n",
        "x.log.2": "0006\n0007\n",
        "x.log.3": "0004\n0005\n",
    }


def test_a_file_that_was_there_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"12345678")
    file = RotatingFile(path, limit_bytes=10, kept=3)
    file.write(b"new\n")
    file.close()
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"12345678"


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", limit_bytes=3, kept=2)
    file.write(b"long line\n")
    file.write(b"another long line\n")
    file.close()
    assert (tmp_path / "x.log").read_bytes() == b"another long line\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"long line\n"


def test_when_rotation_fails_the_file_grows_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "x.log.1").mkdir()  # a directory cannot be replaced by a file
    (tmp_path / "x.log.1" / "y").touch()
    (tmp_path / "x.log.2").mkdir()
    (tmp_path / "x.log.2" / "y").touch()
    file = RotatingFile(tmp_path / "x.log", limit_bytes=10, kept=2)
    for number in range(12):
        file.write(b"%04d\n" % number)
    file.close()
    assert len((tmp_path / "x.log").read_bytes().splitlines()) == 12


def test_a_line_after_a_torn_one_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = RotatingFile(path)
    with pytest.MonkeyPatch.context() as patch:
        real_write = os.write
        written: list[int] = []

        def write(descriptor: int, data: bytes) -> int:
            if written:
                raise OSError(28, "No space left on device")
            written.append(real_write(descriptor, data[:3]))
            return written[0]

        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            file.write(b"half a line\n")
    file.write(b"whole\n")
    file.close()
    assert path.read_bytes() == b"hal\nwhole\n"


def test_the_limits_are_those_of_the_contract() -> None:
    assert (outputs.FILE_BYTES, outputs.FILES_KEPT) == (20_000_000, 30)

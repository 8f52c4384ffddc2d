"""Autobahn's cases, run by kosoku against the echo, and what may come of them."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KOSOKU = Path(sys.executable).with_name("kosoku")
TESTS = Path(__file__).parents[1]
RUN_SECONDS = 240

# Autobahn's groups: framing, pings, reserved bits, opcodes, fragments, UTF-8, close, and one long
# message in pieces. 12 and 13 are about compression, which is not negotiated.
USUAL = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
# Limits and speed: messages of up to 16 MiB.
LARGE = ("9.*",)
CASES = {"1", "2", "3", "4", "5", "6", "7", "9", "10"}
COUNT = 301

WHOLE_FRAMES = (
    "bytes that are no UTF-8 are found when their frame is complete, not while it arrives. A frame "
    "has at most 64 KiB, and nothing of it is used before"
)
READ_AHEAD = (
    "the echo of the message before the broken frame is not sent when both came in one read: "
    "picows looks at the next frame before it hands one over. The message was heard; its sender "
    "has no answer and repeats it, as after any lost connection"
)
# Not a breach of the standard, but less than Autobahn would like, always or by chance of timing.
ALWAYS_NON_STRICT: Mapping[str, str] = {"6.4.3": WHOLE_FRAMES, "6.4.4": WHOLE_FRAMES}
AT_TIMES_NON_STRICT: Mapping[str, str] = dict.fromkeys(
    ("4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5"), READ_AHEAD
)
# Where the standard leaves it open, Autobahn only tells what it saw.
INFORMATIONAL: Mapping[str, str] = {
    "7.1.6": "256 KiB in one frame, then a close: it is too large, and closed with 1009",
    "7.13.1": "the close code 5000 is no code: 1002",
    "7.13.2": "the close code 65535 is no code: 1002",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Autobahn says of the messages of a case, and of its end."""

    behavior: str
    close: str


@contextmanager
def echo(log: Path, *options: str) -> Iterator[int]:
    """Have the server under test run; its port. Whatever was sent to it, it never tripped."""
    with socket.create_server(("127.0.0.1", 0)) as sock, log.open("w") as output:
        number = sock.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "conformance.echo", str(number), *options],
            cwd=TESTS,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[number],
        )
        try:
            yield sock.getsockname()[1]
            assert process.poll() is None, "the echo has ended"
        finally:
            process.terminate()
            process.wait()
    said = log.read_text()
    assert "connection_closed" in said
    assert "Traceback" not in said
    assert "_failed" not in said


def run(cases: Sequence[str], reports: Path, *options: str) -> dict[str, Verdict]:
    """Run cases, each in a connection of its own. The reports for people are written there."""
    reports.mkdir(parents=True, exist_ok=True)
    with echo(reports / "echo.log", *options) as port:
        include = [part for case in cases for part in ("--include", case)]
        url = f"ws://127.0.0.1:{port}/ws?username=autobahn"
        subprocess.run(
            [str(KOSOKU), url, *include, "--outdir", str(reports)],
            check=False,  # its exit code says less than its report
            capture_output=True,
            timeout=RUN_SECONDS,
        )
    [verdicts] = json.loads((reports / "index.json").read_text()).values()
    return {
        case: Verdict(found["behavior"], found["behaviorClose"]) for case, found in verdicts.items()
    }


def run_all(reports: Path) -> dict[str, Verdict]:
    """Run every case that concerns Landline."""
    return run(USUAL, reports / "usual") | run(LARGE, reports / "large", "--large")


def unexpected(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return what is not as the tables say."""
    wrong = []
    for case, verdict in verdicts.items():
        wanted = {Verdict("OK", "OK")}
        if case in ALWAYS_NON_STRICT:
            wanted = {Verdict("NON-STRICT", "OK")}
        elif case in AT_TIMES_NON_STRICT:
            wanted.add(Verdict("NON-STRICT", "OK"))
        elif case in INFORMATIONAL:
            wanted = {Verdict("INFORMATIONAL", "INFORMATIONAL")}
        if verdict not in wanted:
            wrong.append(f"{case}: {verdict.behavior}, close {verdict.close}")
    return wrong

"""Requests that schemathesis makes from the server's own description, and checks the answers by."""

import subprocess
import sys
from pathlib import Path
from typing import Final

SCHEMATHESIS: Final = Path(sys.executable).with_name("schemathesis")
# That an answer is one of those that are described. Left out are checks that Landline's contract
# is not made for: HTTP's own refusals are plain text, a name is taken without a token where the
# server has no authentication, and a schema counts characters where the contract counts bytes.
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
RUN_SECONDS: Final = 540
SHOWN_CHARACTERS: Final = 4_000


def attack(port: int, seed: int, count: int) -> None:
    """Send so many requests to each address. Raises: AssertionError."""
    done = subprocess.run(
        [
            str(SCHEMATHESIS),
            *("run", f"http://127.0.0.1:{port}/v1/openapi.json"),
            *("--header", "username: alice", "--checks", ",".join(CHECKS)),
            *("--seed", str(seed), "--max-examples", str(count)),
            *("--generation-database", "none", "--no-color"),
        ],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_SECONDS,
        text=True,
    )
    assert done.returncode == 0, f"schemathesis has found: {done.stdout[-SHOWN_CHARACTERS:]}"

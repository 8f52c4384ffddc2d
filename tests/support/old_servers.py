"""Servers of the version before, run from the repository's own history."""

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from support.server import ServerProcess
from support.temporary import CHECKOUT

# The last commit whose servers know the store's format 1 alone.
VERSION_BEFORE = "c689d6bacaccbaf9087f42ceb909153afa5f4d44"


@pytest.fixture(scope="session")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the source of the version before is. Its dependencies are those of this one."""
    archived = subprocess.run(
        ["git", "archive", VERSION_BEFORE, "src"],
        cwd=CHECKOUT.parent, capture_output=True, check=False,
    )  # fmt: skip
    if archived.returncode:
        reason = archived.stderr.decode(errors="replace").strip()
        pytest.skip(
            f"the history has no commit {VERSION_BEFORE[:7]}: {reason}; it takes a full clone"
        )
    directory = tmp_path_factory.mktemp("version_before")
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as files:
        files.extractall(directory, filter="data")
    return directory / "src"


def age(server: ServerProcess, source: Path) -> None:
    """Have a server be of another version from its next start on."""
    server.environment["PYTHONPATH"] = str(source)
    # The source is the session's, and nothing is to be left in it.
    server.environment["PYTHONDONTWRITEBYTECODE"] = "1"


def renew(server: ServerProcess) -> None:
    """Have a server be of this version from its next start on."""
    server.environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")

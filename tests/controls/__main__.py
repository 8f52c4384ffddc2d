"""`make controls`: switches each control off, and sees that its test fails."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from controls.switches import SWITCHES, Switch
from support.pages import ROOT

_COPIED = ("src", "tests", "scripts", "docs", "examples", "bench")
_TEST_SECONDS = 400
_FAILED = 1  # pytest's code where tests have run, and one has failed


def main() -> int:
    """Return 1 where a test does not notice, or fails with all controls on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("controls", nargs="*", help="rows of docs/security.md, all unless given")
    wanted = parser.parse_args().controls
    switches = [each for each in SWITCHES if not wanted or each.control in wanted]
    with tempfile.TemporaryDirectory() as folder:
        checkout = _copy(Path(folder) / "landline")
        print(f"{len(switches)} switches; first with all controls on ...", flush=True)
        if _run(checkout, *sorted({each.test for each in switches})) != 0:
            print("A test fails with all controls on: there is nothing to learn.")
            return 1
        blind = [each for each in switches if not _notices(checkout, each)]
    print(f"{len(switches) - len(blind)} of {len(switches)} are noticed.")
    return 1 if blind else 0


def _copy(checkout: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, checkout / file.name)
    return checkout


def _notices(checkout: Path, switch: Switch) -> bool:
    file = checkout / switch.file
    source = file.read_text()
    file.write_text(source.replace(switch.on, switch.off))
    try:
        is_noticed = _run(checkout, switch.test) == _FAILED
    finally:
        file.write_text(source)
    says = "noticed" if is_noticed else "NOT NOTICED"
    print(f"  {switch.control} {says}: {switch.what} ({switch.test})", flush=True)
    return is_noticed


def _run(checkout: Path, *tests: str) -> int:
    """Run tests of the copy. Returns pytest's exit code."""
    paths = os.pathsep.join(str(checkout / each) for each in ("src", "tests"))
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *(f"tests/{each}" for each in tests)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        check=False,
        timeout=_TEST_SECONDS * len(tests),
    ).returncode


if __name__ == "__main__":
    sys.exit(main())

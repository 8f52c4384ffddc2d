"""What is installed is what was locked. It can be listed, and known holes are asked for."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from landline_stack.ports import free_port
from support.pages import ROOT

# --- hashes ---------------------------------------------------------------------------------------


def wheel(directory: Path, name: str, content: str) -> Path:
    """Make a package of one module."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", content)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


def set_up(tmp_path: Path, lock: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """Run scripts/setup with this lock and an index of one package; return what it installed."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts", dirs_exist_ok=True)
    for name in ("requirements.lock", "requirements-build.lock"):
        (checkout / name).write_text(lock)
    done = subprocess.run(
        ["scripts/setup", "server", sys.executable],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (tmp_path / "index").as_uri(),  # a list, with blanks between
        },
    )
    return done, list((checkout / ".venv").rglob("changeable.py"))


def test_a_changed_hash_stops_the_install(tmp_path: Path) -> None:
    good = sha256(wheel(tmp_path / "index", "changeable", "x = 1\n").read_bytes()).hexdigest()
    bad = ("1" if good[0] == "0" else "0") + good[1:]
    for what, is_installed in (
        (f" --hash=sha256:{bad}", False),
        ("", False),  # no hash at all is no way round it
        (f" --hash=sha256:{good}", True),
    ):
        done, installed = set_up(tmp_path, f"changeable==1.0{what}\n")
        assert bool(installed) is is_installed, done.stderr
        # Without this package's own sources the good one gets to the last step and no further.
        assert done.returncode == 1
        assert bool(re.search(r"(?i)\bhashes\b", done.stderr)) is not is_installed, done.stderr


# --- the list of parts ----------------------------------------------------------------------------


def test_the_list_of_parts_has_all_that_is_locked(tmp_path: Path) -> None:
    """`make sbom` needs no network. What it writes is CycloneDX, and has every hash."""
    [line] = [
        line.strip()
        for line in (ROOT / "Makefile").read_text().splitlines()
        if "cyclonedx_py" in line
    ]
    target = tmp_path / "sbom.json"
    named = {"@$(BIN)/python": sys.executable, "$(SBOM)": str(target)}
    command = [named.get(word, word) for word in line.split()]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    text = target.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed: dict[str, Any] = json.loads(text)
    assert listed["metadata"]["component"]["name"] == "landline"
    lock = (ROOT / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", lock, re.MULTILINE))
    assert {each["name"]: each["version"] for each in listed["components"]} == pins
    assert all(digest in text for digest in re.findall(r"sha256:([0-9a-f]{64})", lock))


# --- known holes ----------------------------------------------------------------------------------


@contextmanager
def service(vulnerable: str | None) -> Iterator[str]:
    """Answer as OSV does: one hole in one package, or none."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hole = {
                "id": "PYSEC-2026-1",
                "summary": "a hole",
                "affected": [
                    {
                        "package": {"ecosystem": "PyPI", "name": vulnerable},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
                    }
                ],
            }
            is_it = asked["package"]["name"] == vulnerable
            body = json.dumps({"vulns": [hole]} if is_it else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def vulnerabilities(url: str) -> subprocess.CompletedProcess[str]:
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ["scripts/vulnerabilities"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**environment, "OSV_URL": url},
    )


needs_the_environment = pytest.mark.skipif(
    not (ROOT / ".venv/bin/python").exists(), reason="the script uses the environment of `make`"
)


@needs_the_environment
def test_a_known_vulnerability_fails() -> None:
    with service("starlette") as url:
        done = vulnerabilities(url)
    assert done.returncode == 1, done
    assert "starlette" in done.stdout
    assert "PYSEC-2026-1" in done.stdout
    with service(None) as url:
        done = vulnerabilities(url)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "No vulnerability is known."), (
        done
    )


@needs_the_environment
def test_nobody_to_ask_is_no_good_news() -> None:
    done = vulnerabilities(f"http://127.0.0.1:{free_port()}/v1/query")
    assert done.returncode == 2, done
    assert "NOTHING WAS CHECKED" in done.stderr
    assert "No vulnerability is known" not in done.stdout
    assert "Traceback" not in done.stderr

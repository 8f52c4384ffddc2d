"""What `docker build` and `docker run` would do with the Dockerfile, done without Docker: the same
package from the same files, then the same commands with the image's environment and nothing else.
"""

import http.client
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import jwt
import pytest

from landline_stack.ports import free_port
from support.pages import ROOT, read
from support.papers import Papers
from support.peer import Peer
from support.raw import dialled, request
from support.waiting import until

DOCKERFILE = read("Dockerfile").replace("\\\n", " ")
SECRET = b"a secret of thirty-two bytes, or more"
NOBODY = "http://127.0.0.1:9"  # nobody listens there
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), NOBODY)

pytestmark = pytest.mark.e2e


def words(instruction: str) -> list[str]:
    """Return the last exec form of an instruction."""
    found: list[str] = json.loads(
        re.findall(rf"^{instruction}[^\[\n]*(\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]
    )
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package as the image has it: built from the files that are copied, unpacked."""
    context = tmp_path_factory.mktemp("context")
    for files in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for file in files.split():
            source = ROOT / file
            if source.is_dir():
                shutil.copytree(
                    source, context / file, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, context)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"],
        cwd=context,
        capture_output=True,
        check=True,
        timeout=60,
    )
    [wheel] = (context / "dist").iterdir()
    unpacked = tmp_path_factory.mktemp("package")
    ZipFile(wheel).extractall(unpacked)
    return unpacked


def environment(tmp_path: Path, package: Path, **given: str) -> dict[str, str]:
    """Return what a container would have; its directories are here instead."""
    [line] = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
    image = dict(word.split("=", 1) for word in shlex.split(line))
    assert image["LANDLINE_DATA_DIR"].startswith("/var/lib/landline/")
    return {
        **image,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(package),  # before the checkout
        "LANDLINE_HOST": "127.0.0.1",  # the tests' servers are for nobody else
        "LANDLINE_DATA_DIR": str(tmp_path / "data"),
        **given,
    }


@contextmanager
def container(variables: dict[str, str], directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        words("ENTRYPOINT") + words("CMD"),
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def is_healthy(variables: dict[str, str]) -> bool:
    done = subprocess.run(
        words("HEALTHCHECK"), env=variables, capture_output=True, check=False, timeout=60
    )
    return done.returncode == 0


def is_ready(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status == 200
    finally:
        line.close()


def files_of(root: Path, name: str) -> set[Path]:
    found = (each.relative_to(root) for each in (root / name).rglob("*.*"))
    return {each for each in found if each.suffix != ".pyc"}


def test_it_has_all_of_every_package(package: Path) -> None:
    """Pages, SQL and the checker's report are files of packages, and are read from there."""
    for name in ("landline", "landline_stack", "landline_verify"):
        assert files_of(package, name) == files_of(ROOT / "src", name)


def test_it_has_the_checker_of_a_deployment(package: Path, tmp_path: Path) -> None:
    program = "import landline_verify.command as command; print(command.__file__)"
    variables = environment(tmp_path, package)
    found = subprocess.check_output(
        ["python", "-c", program], cwd=tmp_path, env=variables, text=True, timeout=60
    )
    assert found.startswith(str(package))
    done = subprocess.run(
        [*words("ENTRYPOINT"), "verify", "--url", f"ws://127.0.0.1:{free_port()}/ws/chat"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("more", [{}, PROXIES], ids=["plain", "proxies"])
async def test_it_starts_is_healthy_and_stops(
    more: dict[str, str], package: Path, tmp_path: Path
) -> None:
    port = free_port()
    variables = environment(tmp_path, package, LANDLINE_PORT=str(port), **more)
    assert not is_healthy(variables)
    with container(variables, tmp_path) as process:
        await until(lambda: is_healthy(variables), "the health check succeeds")
        async with Peer(f"ws://127.0.0.1:{port}/ws/chat", "alice") as alice:
            await alice.send_and_wait("bob", "hello")
        process.terminate()  # as STOPSIGNAL says
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert all(json.loads(line)["port"] == port for line in output.splitlines())


async def test_it_is_healthy_with_tls_too(package: Path, tmp_path: Path) -> None:
    """Its certificate is for the name that clients know, not for the machine itself."""
    papers = Papers.made(tmp_path / "papers")
    variables = environment(
        tmp_path,
        package,
        LANDLINE_PORT=str(free_port()),
        LANDLINE_TLS_CERT=str(papers.certificate),
        LANDLINE_TLS_KEY=str(papers.key),
    )
    with container(variables, tmp_path):
        await until(lambda: is_healthy(variables), "the health check succeeds")


@pytest.mark.parametrize("port", ["", "tcp://10.0.0.1:80"])
def test_a_port_that_is_none_is_the_default(port: str, package: Path, tmp_path: Path) -> None:
    """Empty, or what Kubernetes sets for a service that is called landline."""
    program = words("HEALTHCHECK")
    assert program[:2] == ["python", "-c"]
    shown = re.sub(r"u\.build_opener\(.*\)\)\.open\(", "print(", program[2])
    shown = shown.replace(", timeout=4", "")
    done = subprocess.run(
        [*program[:2], shown],
        env=environment(tmp_path, package, LANDLINE_PORT=port),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "http://127.0.0.1:8081/healthz\n"


TOKENS = {"LANDLINE_AUTH": "jwt", "LANDLINE_JWT_SECRET_FILE": "jwt-secret"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, ["--auth jwt --jwt-secret-file FILE", "--insecure"]),
        ({"LANDLINE_AUTH": "jwt"}, ["LANDLINE_AUTH=jwt", "--jwt-secret-file FILE"]),
        ({"LANDLINE_JWT_SECRET_FILE": "jwt-secret"}, ["LANDLINE_JWT_SECRET_FILE", "--auth jwt"]),
        (TOKENS, ["--jwt-secret-file", "jwt-secret"]),
    ],
    ids=["nothing", "no secret", "a secret alone", "no file"],
)
def test_it_says_what_is_missing(
    given: dict[str, str], missing: list[str], package: Path, tmp_path: Path
) -> None:
    variables = environment(tmp_path, package, LANDLINE_HOST="0.0.0.0", **given)  # noqa: S104 - it is refused
    with container(variables, tmp_path) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert all(each.encode() in output for each in missing), output
    assert output.count(b"\n") <= 2


async def test_it_starts_with_a_secret_for_tokens(package: Path, tmp_path: Path) -> None:
    """As it is meant to be run: on every address, with a secret that was mounted."""
    (tmp_path / "jwt-secret").write_bytes(SECRET + b"\n")
    port = free_port()
    variables = environment(
        tmp_path,
        package,
        LANDLINE_HOST="0.0.0.0",  # noqa: S104 - whoever comes needs a token
        LANDLINE_PORT=str(port),
        **TOKENS,
    )
    with container(variables, tmp_path) as process:
        await until(lambda: is_healthy(variables), "the health check succeeds")
        await until(lambda: is_ready(port), "it takes people, which is later than being alive")
        token = jwt.encode({"sub": "alice", "exp": time.time() + 60}, SECRET, "HS256")
        wrong = jwt.encode({"sub": "alice", "exp": time.time() + 60}, SECRET * 2, "HS256")
        for shown, status in ((token, 101), (wrong, 401)):
            async with dialled(port) as raw:
                headers = [("Authorization", f"Bearer {shown}")]
                assert (await raw.upgrade(request(port, "/ws/chat", headers))).status == status
        process.terminate()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert SECRET not in output
    assert token.encode() not in output

"""Kafka's jars: fetched once, kept in the user's cache, checked before every use.

`kafka-4.4.0.sha256` names them, each with its hash; nothing else is ever loaded. Maven
fetches them where it is installed, as it knows the mirrors of its machine. Otherwise they come from
Maven Central, or from the repository that LANDLINE_MAVEN_REPOSITORY names.

    python -m landline_stack.jars      after a change of pom.xml: writes the list of hashes again
"""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from landline_stack.errors import Missing, StackError
from landline_stack.process import GuardedProcess
from landline_stack.progress import Progress

KAFKA_VERSION: Final = "4.4.0"
MAVEN_CENTRAL: Final = "https://repo.maven.apache.org/maven2"
REPOSITORY_VARIABLE: Final = "LANDLINE_MAVEN_REPOSITORY"

_HERE: Final = Path(__file__).parent
_POM: Final = _HERE / "pom.xml"
_MANIFEST: Final = _HERE / f"kafka-{KAFKA_VERSION}.sha256"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_DOWNLOADS: Final = 6  # at a time
_READ_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2


class JarCache:
    """A directory of jars that are what the manifest says."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        progress: Progress | None = None,
        use_maven: bool = True,
    ) -> None:
        self.directory = (directory or _user_cache()) / f"kafka-{KAFKA_VERSION}"
        self._progress = progress or Progress()
        self._maven = shutil.which("mvn") if use_maven else None
        self._jars = _manifest()

    def class_path(self) -> str:
        """Return the class path, after fetching what is missing or damaged. Raises: StackError."""
        if os.pathsep in str(self.directory):  # which a class path has no way to escape
            raise StackError(
                f"Java cannot load Kafka's jars from {self.directory.parent}, for the"
                f" {os.pathsep!r} in it: set XDG_CACHE_HOME to a directory without one"
            )
        with self._alone():
            if self.directory.exists():
                damaged = _first_mismatch(self.directory, self._jars)
                if damaged is not None:
                    self._progress.say(
                        f"{self.directory / damaged} is not what it should be: fetching Kafka again"
                    )
                    self._fetch()
            else:
                self._fetch()
        return os.pathsep.join(str(self.directory / PurePosixPath(jar).name) for jar in self._jars)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two runs at once do not fetch the same; the second finds what the first has fetched."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            lock = self.directory.with_name(f"{self.directory.name}.lock").open("w")
        except OSError as error:
            raise StackError(
                f"cannot keep Kafka's jars in {self.directory.parent} ({error.strerror}):"
                " set XDG_CACHE_HOME to a directory that can be written"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetch(self) -> None:
        self._progress.say(f"Fetching Kafka {KAFKA_VERSION} (once, 43 MB) ...")
        # Complete or not there: the directory gets its name when all is checked.
        with tempfile.TemporaryDirectory(
            dir=self.directory.parent, prefix="fetching-", ignore_cleanup_errors=True
        ) as name:
            new = Path(name) / "jars"
            new.mkdir()
            maven_said = self._run_maven(new) if self._maven else "there is no mvn"
            mismatch = _first_mismatch(new, self._jars)
            if mismatch is not None:
                self._download(new, maven_said)
                mismatch = _first_mismatch(new, self._jars)
            if mismatch is not None:
                raise StackError(
                    f"{mismatch}, as fetched, has not the SHA-256 that {_MANIFEST.name} names:"
                    f" what {_repository()} serves is not Kafka {KAFKA_VERSION}"
                )
            shutil.rmtree(self.directory, ignore_errors=True)
            new.rename(self.directory)

    def _run_maven(self, target: Path) -> str:
        """Let Maven fetch; return its last word, for the case that it did not work."""
        assert self._maven is not None
        log = target.with_name("maven.log")
        command = [self._maven, "--batch-mode", "--quiet", f"--file={_POM}", _COPY]
        maven = GuardedProcess(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={target}"], log
        )
        began = time.monotonic()
        try:
            while maven.exit_code() is None:
                self._progress.show(f"  mvn is at it, {time.monotonic() - began:.0f} s")
                time.sleep(_POLL_SECONDS)
        finally:
            maven.kill()
        errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
        return f"mvn: {errors[0]}" if errors else "mvn brought other files"

    def _download(self, target: Path, why: str) -> None:
        base, done, lock = _repository(), 0, threading.Lock()

        def download(jar: str) -> None:
            nonlocal done
            with (
                urllib.request.urlopen(  # noqa: S310 - http(s), see below
                    f"{base}/{jar}", timeout=_READ_SECONDS
                ) as response,
                (target / PurePosixPath(jar).name).open("wb") as file,
            ):
                shutil.copyfileobj(response, file)
            with lock:
                done += 1
                self._progress.show(f"  {done} of {len(self._jars)} files")

        if not base.startswith(("https://", "http://")):
            raise StackError(f"{REPOSITORY_VARIABLE}={base} is not an http(s) address")
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            try:
                list(pool.map(download, self._jars))
            except OSError as error:
                pool.shutdown(cancel_futures=True)
                raise Missing(
                    f"cannot fetch Kafka from {base} ({error}), and {why}; install Maven, or name a"
                    f" Maven repository in {REPOSITORY_VARIABLE}"
                ) from error


def _repository() -> str:
    return os.environ.get(REPOSITORY_VARIABLE, MAVEN_CENTRAL).rstrip("/")


def _user_cache() -> Path:
    # As the XDG base directory specification says, relative paths are invalid and ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "landline"


def _manifest() -> Mapping[str, str]:
    """Return the hash of each jar, by its path in a Maven repository."""
    rows = [line.split() for line in _MANIFEST.read_text().splitlines()]
    return {jar: digest for digest, jar in rows}


def _first_mismatch(directory: Path, jars: Mapping[str, str]) -> str | None:
    for jar, digest in jars.items():
        path = directory / PurePosixPath(jar).name
        if not path.is_file() or _sha256(path) != digest:
            return path.name
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest() -> None:
    with tempfile.TemporaryDirectory() as name:
        maven = shutil.which("mvn")
        if maven is None:
            raise StackError("this needs Maven: install it, e.g. apt-get install maven")
        target = Path(name) / "jars"
        options = ["-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        command = [maven, "--batch-mode", f"--file={_POM}", _COPY, *options]
        log = Path(name) / "maven.log"
        if GuardedProcess([*command, f"-DoutputDirectory={target}"], log).wait() != 0:
            raise StackError(f"mvn failed:\n{log.read_text()}")
        jars = sorted(target.rglob("*.jar"))
        lines = [f"{_sha256(jar)}  {jar.relative_to(target).as_posix()}\n" for jar in jars]
        _MANIFEST.write_text("".join(lines))


if __name__ == "__main__":
    try:
        _write_manifest()
    except StackError as error:
        sys.exit(f"landline: {error}")

"""What Kafka is loaded from is what the manifest says, even if somebody changed it on the way."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from landline_stack import Silence
from landline_stack.errors import StackError
from landline_stack.jars import KAFKA_VERSION, REPOSITORY_VARIABLE, JarCache


class Repository(ThreadingHTTPServer):
    """Serves the jars of the user's cache as a Maven repository does."""

    def __init__(self, source: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.source = source
        self.asked: list[str] = []
        self.damaged = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/maven2"


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        name = PurePosixPath(self.path).name
        self.server.asked.append(name)
        body = (self.server.source / name).read_bytes()
        if name == self.server.damaged:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    cache = JarCache()
    cache.class_path()
    with Repository(cache.directory) as repository:
        monkeypatch.setenv(REPOSITORY_VARIABLE, repository.url)
        thread = threading.Thread(target=repository.serve_forever)
        thread.start()
        yield repository
        repository.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> JarCache:
    return JarCache(tmp_path, progress=Silence(), use_maven=False)


def test_all_jars_are_fetched_once(cache: JarCache, repository: Repository) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: cache.class_path(), range(2)))
    assert paths[0] == paths[1]
    jars = [Path(jar) for jar in paths[0].split(":")]
    assert all(jar.is_file() for jar in jars)
    assert sorted(repository.asked) == sorted(jar.name for jar in jars)
    assert {jar.parent for jar in jars} == {cache.directory}


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_jar_is_noticed_and_fetched_again(
    cache: JarCache, repository: Repository, damage: str
) -> None:
    shutil.copytree(repository.source, cache.directory)
    jar = cache.directory / f"kafka-clients-{KAFKA_VERSION}.jar"
    good = jar.read_bytes()
    if damage == "changed":
        jar.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "cut":
        jar.write_bytes(good[:1000])
    else:
        jar.unlink()
    cache.class_path()
    assert jar.read_bytes() == good


def test_what_a_repository_has_changed_is_refused(cache: JarCache, repository: Repository) -> None:
    repository.damaged = f"kafka-clients-{KAFKA_VERSION}.jar"
    with pytest.raises(StackError, match=rf"{repository.damaged}.*SHA-256.*{repository.url}"):
        cache.class_path()
    assert not cache.directory.exists()
    assert [path.name for path in cache.directory.parent.iterdir()] == [
        f"{cache.directory.name}.lock"
    ]


def test_a_stranger_in_the_cache_is_not_loaded(cache: JarCache, repository: Repository) -> None:
    shutil.copytree(repository.source, cache.directory)
    (cache.directory / "stranger.jar").write_bytes(b"PK")
    assert "stranger.jar" not in {Path(jar).name for jar in cache.class_path().split(":")}
    assert repository.asked == []


def test_no_repository_is_a_sentence(cache: JarCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, "http://127.0.0.1:9/maven2")
    with pytest.raises(StackError, match=rf"cannot fetch.*{REPOSITORY_VARIABLE}"):
        cache.class_path()


def test_a_cache_that_java_cannot_name_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="':' in it: set XDG_CACHE_HOME"):
        JarCache(tmp_path / "a:b").class_path()

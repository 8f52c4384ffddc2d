"""Kafka, PostgreSQL and Redis together, in one directory."""

import fcntl
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

from landline_stack.errors import StackError
from landline_stack.jars import JarCache
from landline_stack.java import find_java
from landline_stack.kafka import KafkaNode, new_cluster_id
from landline_stack.postgres import PostgresServer
from landline_stack.process import StackServer
from landline_stack.progress import Progress
from landline_stack.redis import RedisServer

# The servers of a stack that was killed need a moment to go.
_LOCK_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05


class Stack:
    """The servers that a cluster of Landline needs, as child processes.

    They live in `directory`, and find their data there at the next start; without one they live in
    a temporary directory that goes when they go. They end with this process, however it ends.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        brokers: int = 1,
        kafka: bool = True,
        postgres: bool = True,
        redis: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Find the programs and take the ports. Raises: StackError, where something is missing."""
        if brokers not in {1, 3}:
            raise StackError(f"{brokers} brokers: choose 1, or 3 for replication")
        self._progress = progress or Progress()
        self._is_temporary = directory is None
        self._is_kept = False
        self._lock_file: IO[str] | None = None
        # A stack that is never started leaves no directory: `start` makes it.
        self.directory = (directory or _temporary()).absolute()
        java = find_java() if kafka else None
        self.brokers = [
            KafkaNode(node, self.directory / f"kafka-{node}", java)
            for node in range(1, brokers + 1)
            if java
        ]
        self._postgres = PostgresServer(self.directory / "postgres") if postgres else None
        self._redis = RedisServer(self.directory / "redis") if redis else None

    # --- addresses --------------------------------------------------------------------------------

    @property
    def postgres(self) -> PostgresServer:
        """Return the PostgreSQL that was asked for."""
        assert self._postgres is not None, "this stack has no PostgreSQL"
        return self._postgres

    @property
    def redis(self) -> RedisServer:
        """Return the Redis that was asked for."""
        assert self._redis is not None, "this stack has no Redis"
        return self._redis

    @property
    def kafka_servers(self) -> str:
        """Return the brokers' addresses as `--kafka` takes them."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def postgres_url(self) -> str:
        """Return PostgreSQL's address as `--postgres` takes it."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """Return Redis' address as `--redis` takes it."""
        return self.redis.url

    @property
    def servers(self) -> list[StackServer]:
        """Return all its servers."""
        return [*self.brokers, *(each for each in (self._postgres, self._redis) if each)]

    # --- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start all of them at once and wait until they are ready. Raises: StackError.

        After an error nothing runs, and a temporary directory is kept: the logs are in it.
        """
        self._lock_directory()
        try:
            if self.brokers:
                self._form_cluster()
            self._progress.say(f"Starting {', '.join(server.name for server in self.servers)} ...")
            start_together(self.servers, self._progress)
        except StackError:
            self._give_up()
            raise
        except BaseException:
            self._give_up()
            self._remove()
            raise

    def stop(self) -> None:
        """End all of them; politely where there are data that somebody may want again."""
        try:
            if self._is_temporary:
                together(self.servers, StackServer.give_up)
            else:
                together(self.servers, StackServer.stop)
        except BaseException:
            self._give_up()
            raise
        finally:
            self._remove()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        self._is_kept = isinstance(error, StackError)  # it names a log to read
        self.stop()

    def _form_cluster(self) -> None:
        class_path = JarCache(progress=self._progress).class_path()
        file = self.directory / "kafka-cluster"
        if not file.exists():
            file.write_text(f"{new_cluster_id()} {len(self.brokers)}\n")
        cluster_id, brokers = file.read_text().split()
        if int(brokers) != len(self.brokers):
            raise StackError(
                f"{self.directory} is a cluster with --brokers {brokers}, not {len(self.brokers)}:"
                " choose another directory, or the same number"
            )
        for broker in self.brokers:
            broker.join(self.brokers, cluster_id, class_path)

    def _lock_directory(self) -> None:
        # Root's PostgreSQL runs as `nobody`, which has to pass; the files inside are their owners'.
        self.directory.mkdir(0o711, parents=True, exist_ok=not self._is_temporary)
        self._lock_file = (self.directory / "lock").open("w")
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(self._lock_file):
            if time.monotonic() > deadline:
                self._lock_file.close()
                raise StackError(f"{self.directory} is in use by another stack that runs now")
            time.sleep(_POLL_SECONDS)
        for server in self.servers:
            server.held = (self._lock_file.fileno(),)

    def _give_up(self) -> None:
        for server in self.servers:
            server.give_up()
        if self._lock_file is not None:
            self._lock_file.close()

    def _remove(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
        if self._is_temporary and not self._is_kept:
            shutil.rmtree(self.directory, ignore_errors=True)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"landline-stack-{secrets.token_hex(4)}"


def start_together(servers: Sequence[StackServer], progress: Progress) -> None:
    """Start servers at once; the first that fails stops the others. Raises: StackError."""
    began, lock, waiting = time.monotonic(), threading.Lock(), {server.name for server in servers}

    def start(server: StackServer) -> None:
        server.start()
        with lock:
            waiting.remove(server.name)
            progress.say(f"  {server.name} is ready ({time.monotonic() - began:.1f} s)")
            if waiting:
                progress.show(f"  waiting for {', '.join(sorted(waiting))} ...")

    together(servers, start)


def together(servers: Sequence[StackServer], action: Callable[[StackServer], object]) -> None:
    """Do something to all of them at once. On the first error, or Ctrl-C, all are ended."""
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as pool:
        futures = [pool.submit(action, server) for server in servers]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            for server in servers:
                with suppress(StackError):
                    server.give_up()
            raise

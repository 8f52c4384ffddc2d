"""Apache Kafka on free ports of loopback: one broker, or three with replication.

Each node is broker and controller at once (KRaft, no ZooKeeper). The jars come from
`landline_stack.jars`, the Java from `landline_stack.java`.
"""

import base64
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from landline_stack.errors import StackError
from landline_stack.ports import free_port
from landline_stack.process import StackServer

# Measured on two cores: the quick compiler alone starts a broker in 1.3 s instead of 3.4 s, and it
# needs 310 MB. Counters in a shared file and a second garbage collector thread help nobody here.
_JVM_OPTIONS: Final = (
    "-Xms128m",
    "-Xmx400m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)

_STARTED: Final = b"Kafka Server started"

_LOG4J: Final = """\
<Configuration status="warn">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="info"><AppenderRef ref="out"/></Root>
    <!-- Hundreds of lines at each start, all of them to be read in server.properties. -->
    <Logger name="org.apache.kafka.common.config" level="warn"/>
  </Loggers>
</Configuration>
"""


class KafkaNode(StackServer):
    """One node of a cluster."""

    def __init__(self, node: int, directory: Path, java: Path) -> None:
        """Take ports. `join` names the other nodes and the class path before the first start."""
        super().__init__(f"kafka-{node}", directory)
        self.node = node
        self.port = free_port()
        self.controller_port = free_port()
        self._java = java
        self._class_path = ""
        self._cluster_id = ""
        self._data = directory / "data"
        self.more_settings: dict[str, object] = {}  # for `join`

    @property
    def address(self) -> str:
        """Return where clients find it."""
        return f"127.0.0.1:{self.port}"

    @property
    def voter(self) -> str:
        """Return how the other nodes name its controller."""
        return f"{self.node}@127.0.0.1:{self.controller_port}"

    def join(self, nodes: Sequence["KafkaNode"], cluster_id: str, class_path: str) -> None:
        """Write the node's configuration as a member of this cluster."""
        self._class_path = class_path
        self._cluster_id = cluster_id
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        settings = "".join(f"{key}={value}\n" for key, value in self._settings(nodes).items())
        self._properties.write_text(settings)
        (self.directory / "log4j2.xml").write_text(_LOG4J)

    def is_ready(self) -> bool:
        """Say whether the broker is part of the cluster and serves clients.

        Kafka says "started" once the controllers have a leader and it has let this broker in.
        """
        return _STARTED in self._log_since_start() and self.is_listening(self.port)

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _settings(self, nodes: Sequence["KafkaNode"]) -> dict[str, object]:
        replicas = min(3, len(nodes))
        in_sync = 2 if replicas == 3 else 1
        plaintext, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": ",".join(node.voter for node in nodes),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{plaintext},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{plaintext}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            # Seen from the node's directory, in which its processes run, as all paths here: its own
            # path may hold a comma, at which Kafka splits, or what a properties file escapes.
            "log.dirs": self._data.name,
            # A test has the topics that it asked for: none springs up by itself.
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "unclean.leader.election.enable": "false",
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": 0,
            # A killed broker counts as alive until then, and cannot come back before (default 9 s).
            "broker.session.timeout.ms": 5000,
            "broker.heartbeat.interval.ms": 1000,
            # Few threads and small files: it has company on its machine.
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "num.recovery.threads.per.data.dir": 2,
            "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
            "log.index.size.max.bytes": 1024 * 1024,
            **self.more_settings,
        }

    def _command(self) -> Sequence[str]:
        return [*self._jvm(), "kafka.Kafka", self._properties.name]

    def _jvm(self) -> list[str]:
        return [
            str(self._java),
            *_JVM_OPTIONS,
            "-Djava.io.tmpdir=tmp",  # where its native libraries go
            "-Dlog4j2.configurationFile=log4j2.xml",
            "-cp",
            self._class_path,
        ]

    def _prepare(self) -> None:
        if not self._class_path:
            raise StackError(f"{self.name} has not joined a cluster")
        if (self._data / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        names = ["--cluster-id", self._cluster_id, "--config", self._properties.name]
        self._run_to_end([*self._jvm(), *tool, *names])


def new_cluster_id() -> str:
    """Return a fresh name for a cluster, in the form that Kafka wants: 22 characters of base64."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith(
        "-"
    ):
        pass  # it would read as an option
    return name

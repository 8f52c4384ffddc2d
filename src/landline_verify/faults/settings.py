"""The settings of the log's topic, changed while servers run."""

from typing import Final

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from landline_verify.dumps.log import TOPIC

_ASK_SECONDS: Final = 10.0


class TopicSetting:
    """One setting of CHAT-MESSAGES. Blocks; raises KafkaException where the brokers do not answer.

    What it was before is asked when it is first changed.
    """

    def __init__(self, brokers: str, name: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
        self._name = name
        self._before: str | None = None

    def change(self, value: str) -> None:
        """Set it."""
        if self._before is None:
            self._before = self._ask()
        self._set(value)

    def restore(self) -> None:
        """Set it to what it was."""
        if self._before is not None:
            self._set(self._before)

    def _ask(self) -> str:
        topic = ConfigResource(ResourceType.TOPIC, TOPIC)
        asked = self._admin.describe_configs([topic], request_timeout=_ASK_SECONDS)[topic]
        return str(asked.result(_ASK_SECONDS)[self._name].value)

    def _set(self, value: str) -> None:
        entry = ConfigEntry(self._name, value, incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
        done = self._admin.incremental_alter_configs([topic], request_timeout=_ASK_SECONDS)
        done[topic].result(_ASK_SECONDS)

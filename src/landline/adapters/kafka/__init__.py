"""Kafka: CHAT-MESSAGES as the event log, CHAT-ROUTING as the routing bus."""

from landline.adapters.kafka.cluster import KafkaCluster
from landline.adapters.kafka.event_log import KafkaEventLog
from landline.adapters.kafka.routing_bus import KafkaRoutingBus
from landline.adapters.kafka.topics import MESSAGES_TOPIC, ROUTING_TOPIC, prepare_topics

__all__ = [
    "MESSAGES_TOPIC",
    "ROUTING_TOPIC",
    "KafkaCluster",
    "KafkaEventLog",
    "KafkaRoutingBus",
    "prepare_topics",
]

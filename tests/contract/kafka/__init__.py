"""Contract tests of what is particular to Kafka; its package keeps one stack for all of them."""

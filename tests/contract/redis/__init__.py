"""Contract tests of what is particular to Redis; its package keeps one server for all of them."""

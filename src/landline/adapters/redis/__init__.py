"""The directory in Redis: hints shared by the servers of a cluster."""

from landline.adapters.redis.directory import RedisDirectory
from landline.adapters.redis.startup import check

__all__ = ["RedisDirectory", "check"]

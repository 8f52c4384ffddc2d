"""A local stack: Kafka, PostgreSQL and Redis as child processes that never outlive their parent.

    with Stack() as stack:
        print(stack.kafka_servers, stack.postgres_url, stack.redis_url)

`python -m landline.stack` is the same as a command.
"""

from landline.errors import Missing, StackError
from landline.stack.cluster import LandlineServer
from landline.stack.process import Server
from landline.stack.progress import Progress, Silence
from landline.stack.stack import Stack

__all__ = ["LandlineServer", "Missing", "Progress", "Server", "Silence", "Stack", "StackError"]

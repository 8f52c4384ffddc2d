"""A local stack: Kafka, PostgreSQL and Redis as child processes that never outlive their parent.

    with Stack() as stack:
        print(stack.kafka_servers, stack.postgres_url, stack.redis_url)

`python -m landline_stack` is the same as a command.
"""

from landline_stack.errors import Missing, StackError
from landline_stack.landline import LandlineServer
from landline_stack.process import StackServer
from landline_stack.progress import Progress, Silence
from landline_stack.stack import Stack

__all__ = ["LandlineServer", "Missing", "Progress", "Silence", "Stack", "StackError", "StackServer"]

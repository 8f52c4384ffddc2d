"""An outbox worker: sends every row of an application's table once, whatever crashes in between.

    .venv/bin/python examples/outbox_worker.py --database shop.db --as shop

It waits for a server that is down at first. Where the server checks tokens, LANDLINE_TOKEN has the
worker's; a worker that outlives its token gives `connect` a function that brings fresh ones.

An application that changes its data and then sends a message may die between the two. So it writes
the message as a row of `notices`, in the transaction that changes its data. This worker sends rows.

Why no row is lost or sent twice: the client's outbox file keeps a message from before its first
try until `on_event`, which marks the row, was told its answer. A row without a mark was never
tried, or it is in the file, and the client repeats it: a repeat is stored once. A message that is
in the file though its row is marked is known by its id. Equal rows stand for each other.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import landline
from landline import Accepted, ClientError, Disconnected, Event, MessageRejected, Rejected

SCHEMA = """CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    content TEXT NOT NULL,
    message_id TEXT UNIQUE,  -- set when the message is durable
    problem TEXT  -- set when no server will ever take it
)"""
POLL_SECONDS = 0.5

Notice = tuple[str, str]  # recipient and content


class Notices:
    """The application's table. Each call is a transaction."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
        self._database.execute(SCHEMA)

    def next(self, in_the_file: Iterable[Notice]) -> Notice | None:
        """Return the oldest row that has no mark and is not on its way already."""
        on_their_way = Counter(in_the_file)
        for notice in self._database.execute(
            "SELECT recipient, content FROM notices"
            " WHERE message_id IS NULL AND problem IS NULL ORDER BY id"
        ):
            if not on_their_way[notice]:
                return notice[0], notice[1]
            on_their_way[notice] -= 1
        return None

    def mark(self, notice: Notice, *, message_id: str | None = None, problem: str = "") -> None:
        """Mark a row as sent or as impossible; a message that has its row already needs none."""
        self._database.execute(
            "UPDATE notices SET message_id = ?1, problem = nullif(?2, '') WHERE id ="
            " (SELECT min(id) FROM notices WHERE recipient = ?3 AND content = ?4"
            "  AND message_id IS NULL AND problem IS NULL)"
            " AND NOT EXISTS (SELECT 1 FROM notices WHERE message_id = ?1)",
            (message_id, problem, *notice),
        )


async def work(notices: Notices, url: str, name: str, outbox: str) -> None:
    """Send rows as they come, one at a time and in their order."""

    def note(event: Event) -> None:
        match event:
            case Accepted(to, content, answer):
                notices.mark((to, content), message_id=answer.id)
            # Of an earlier run. No server has seen one that was `not_kept`: its row stays.
            case Rejected(to, content, code, reason) if code != "not_kept":
                notices.mark((to, content), problem=reason)
            case Disconnected(reason, float()):
                print(f"outbox_worker: no connection: {reason}", file=sys.stderr)

    token = os.environ.get("LANDLINE_TOKEN") or None
    async with landline.connect(
        url,
        username=name,
        token=token,
        outbox=outbox,
        on_event=note,
        connect_timeout=None,
    ) as chat:
        while chat.problem is None:
            notice = notices.next((draft.to, draft.content) for draft in chat.unanswered)
            if notice is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                await chat.send(*notice)
            except MessageRejected as error:
                notices.mark(notice, problem=error.reason)
        raise chat.problem


def main() -> None:
    """Run the worker until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Send the rows of an application's table.")
    parser.add_argument("--url", default="ws://127.0.0.1:8081/ws/chat")
    parser.add_argument("--as", dest="name", default="shop", help="the sender's user name")
    parser.add_argument("--database", required=True, help="the application's SQLite file")
    options = parser.parse_args()
    try:
        notices = Notices(options.database)
        with suppress(KeyboardInterrupt):
            asyncio.run(work(notices, options.url, options.name, f"{options.database}.outbox"))
    except (ClientError, sqlite3.Error) as error:
        sys.exit(f"outbox_worker: {error}")


if __name__ == "__main__":
    main()

"""What users ask of their conversations: now and then while they live, and in the end all of it."""

import asyncio
import random
from typing import Any, Literal, Protocol

Question = Literal["list", "history"]
Answer = dict[str, Any]

_PAGE = 100
# After an error, which says that the server is busy or the store away.
_AGAIN_SECONDS = 0.5


class Asker(Protocol):
    """A session that may ask."""

    async def ask(self, what: Question, **fields: Any) -> Answer | None:
        """Ask, and return the answer; None, if there was none."""


async def wonder(asker: Asker, chance: random.Random) -> None:
    """For ever, ask for the list and for a page of one of the conversations in it."""
    while True:
        await asyncio.sleep(chance.uniform(1, 10))
        answer = await asker.ask("list", limit=chance.randint(1, _PAGE))
        if answer is not None and answer["items"]:
            item = chance.choice(answer["items"])
            fields = {"conversation": item["conversation"], "limit": chance.randint(1, _PAGE)}
            page = await asker.ask("history", **fields)
            if page is not None and not page["complete"]:
                await asker.ask("history", **fields, before=page["from"])


async def read_all(asker: Asker) -> None:
    """Ask for every conversation, and for all of each, from its end to its beginning."""
    fields: dict[str, Any] = {}
    conversations: list[str] = []
    while True:
        answer = await _insist(asker, "list", **fields)
        conversations += [item["conversation"] for item in answer["items"]]
        if "next" not in answer:
            break
        fields = {"after": answer["next"]}
    for conversation in conversations:
        fields = {}
        while True:
            page = await _insist(asker, "history", conversation=conversation, **fields)
            if page["complete"]:
                break
            fields = {"before": page["from"]}


async def _insist(asker: Asker, what: Question, **fields: Any) -> Answer:
    while True:
        answer = await asker.ask(what, **fields)
        if answer is not None:
            return answer
        await asyncio.sleep(_AGAIN_SECONDS)

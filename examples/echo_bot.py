"""An echo bot: it answers every message that it gets.

    .venv/bin/python examples/echo_bot.py --as echo

Where the server checks tokens, LANDLINE_TOKEN has the bot's; a bot that outlives its token gives
`connect` a function instead, which brings fresh ones.

A message is acknowledged when the body of the loop has finished, and `send` returns when the
answer is durable. So a bot that is killed loses no message: what it had not answered comes again.
A bot that is killed between answer and acknowledgement answers twice. Where that matters, remember
`message.id` with your own data.

A server that is down when the bot starts ends it after ten seconds, with a sentence; one that goes
away later is waited for.
"""

import argparse
import asyncio
import os
import sys
from contextlib import suppress

import landline
from landline import ClientError, MessageRejected


async def answer(url: str, name: str) -> None:
    """Answer messages until the chat ends."""
    async with landline.connect(
        url, username=name, token=os.environ.get("LANDLINE_TOKEN") or None
    ) as chat:
        print(f"{name} listens", flush=True)
        async for message in chat:
            if message.is_own:
                continue  # to itself, or from elsewhere in its name: answered for ever otherwise
            try:
                await chat.send(message.sender, f"you said: {message.content}")
            # The answer is too long, say. It never will be sent.
            except MessageRejected as error:
                print(f"no answer to {message.id}: {error}", flush=True)


def main() -> None:
    """Run the bot until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Answer every message.")
    parser.add_argument("--url", default="ws://127.0.0.1:8081/ws/chat")
    parser.add_argument("--as", dest="name", default="echo", help="the bot's user name")
    options = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(answer(options.url, options.name))
    except ClientError as error:
        sys.exit(f"echo_bot: {error}")


if __name__ == "__main__":
    main()

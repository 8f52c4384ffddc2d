"""`landline chat`: a chat in a terminal or a pipe, line by line."""

from landline.terminal.chat import run_chat

__all__ = ["run_chat"]

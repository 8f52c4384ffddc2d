"""The error tree of the stack.

StackError          a server of it did not start, or an option cannot work
└── Missing         this machine does not have what it needs
"""


class StackError(Exception):
    """A server of the local stack did not start; the sentence says why, and what to do."""


class Missing(StackError):
    """This machine does not have what a server needs; the sentence says what to install."""

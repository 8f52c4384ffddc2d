"""The error tree of the checker.

    VerifyError         a run cannot begin: one sentence
    └── BadHistory      a history or its report cannot be read or written

What cannot be started is a `landline_stack.StackError`.
"""


class VerifyError(Exception):
    """A run cannot begin; the sentence says why, and what to do."""


class BadHistory(VerifyError):
    """A history cannot be read or written; the sentence names file, line and reason."""

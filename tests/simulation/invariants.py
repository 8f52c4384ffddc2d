"""The invariants of the project, in a line each, and what says that one does not hold."""

from typing import NamedTuple


class Violation(NamedTuple):
    """An invariant that does not hold. `about`: the message or connection it is about."""

    invariant: str
    about: str
    what: str


INVARIANTS = {
    "defect": "no unexpected exception, no leaked task",
    "I1": "durable: what was accepted is in the log, and once in the store",
    "I2": "delivered: every recipient has received what was accepted",
    "I2b": "not stranded: within writer lag and sweep, while the recipient stays connected",
    "I2p": "prompt: without faults a connected recipient need not wait for the sweep",
    "I2c": "`caught_up` comes after everything that was owed when the session began",
    "I2d": "not deaf: a session that waits for a store gets live messages meanwhile",
    "I3": "no phantom: nothing arrives that was not sent, nothing rejected is in the log",
    "I4": "unaltered: one digest everywhere",
    "I5": "at most once per session, and without faults at most once",
    "I6": "order within a conversation",
    "I7": "one message, one position, and the other way round",
    "I8": "receipts are honest, monotone, and told once",
    "I9": "the store is the fold of the log",
    "I10": "`applied` reaches the end",
    "I11": "accepted and pushed only after the log has it",
    "I12": "one final answer to every send",
    "I13": "confidential: for recipients only",
    "I14": "bounded: windows, and nothing left behind",
    "I15": "live again: after the last fault all comes to rest",
}

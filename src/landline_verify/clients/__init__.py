"""The users of a run, and what they send: clients made from docs/protocol.md alone."""

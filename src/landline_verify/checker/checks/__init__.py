"""The invariants, in groups; each is a function from the evidence to its violations."""

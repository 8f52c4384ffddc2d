"""Structured fuzzing of all that a stranger can send: frames, handshakes, requests, tokens."""

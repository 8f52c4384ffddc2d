"""Whole clusters; the package keeps one stack for all of them, which each test leaves whole."""

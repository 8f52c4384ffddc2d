"""Measurements of the real server. `make bench` runs all; every figure in the docs is theirs."""

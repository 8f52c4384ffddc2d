"""Measurements of the real server. `make bench` runs all but the last; figures in the docs are theirs.

- `python -m bench.speed`: messages a second and latency of one embedded server.
- `python -m bench.floods`: how long others wait while one client floods it.
- `python -m bench.idle`: what it costs when nobody talks, with and without connections.
- `python -m bench.cluster`: the same as speed and idle, for two servers on a real stack.
- `python -m bench.memory`: what sessions cost that wait for a store that is away.
- `python -m bench.compare OLD_TREE NEW_TREE`: which of two checkouts is faster.

Each takes `--help`. All of them start their own servers on loopback, and need `taskset`.
"""

"""Measurements of the real server, from which the figures in the docs come.

- `python -m bench.speed`: messages a second and latency of one embedded server.
- `python -m bench.floods`: how long other clients wait while one floods it.
- `python -m bench.idle`: what it costs when nobody talks, with and without connections.
- `python -m bench.cluster`: the same as speed and idle, for two servers on a real stack.
- `python -m bench.memory`: what sessions cost while the store is away.
- `python -m bench.compare OLD_TREE NEW_TREE`: which of two checkouts is faster.

`make bench` runs all but the last. Each takes `--help`, starts its own servers on loopback, and
needs `taskset`.
"""

"""Measurements of the real server, from which the figures in the docs come.

- `python -m bench.speed`: messages a second and latency of one embedded server.
- `python -m bench.floods`: how long other clients wait while one floods it.
- `python -m bench.sign_in`: what sign-in and limits cost, in throughput and on connect.
- `python -m bench.rates`: what a limit lets through over a minute, and what others notice of it.
- `python -m bench.attack`: what others notice of a thousand hostile connections.
- `python -m bench.idle`: what it costs when nobody talks, with and without connections.
- `python -m bench.cluster`: the same as speed and idle, for two servers on a real stack.
- `python -m bench.memory`: what sessions cost while the store is away.
- `python -m bench.compare OLD_TREE NEW_TREE`: which of two checkouts is faster.

`make bench` runs all but the last. Each takes `--help`, starts its own servers on loopback, and
needs `taskset`.
"""

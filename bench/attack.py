"""What well-behaved users notice while others attack from another address.

One server with the default limits. Pairs on 127.0.0.2 chat alone, and then while attackers on
127.0.0.1, a fifth of each kind, send headers slowly, say nothing, flood at ten times the limit,
sign in and read nothing, or cut frames into fragments. Meanwhile somebody on 127.0.0.2 connects
twice a second. The server has one core. Most attackers meet the limits of their address:
`--no-address-limit` lets them in, so that their sessions attack. Takes half a minute.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import psutil
import uvloop
from picows import WSError

from bench import machine
from bench.attackers import ADDRESS, KINDS, RAMP_SECONDS, Account, Plan, run
from bench.newcomers import seconds_to_welcome
from bench.pairs import Pairs, Timed
from bench.signing import Signer
from landline.config.limits import USUAL_LIMITS
from landline_stack import LandlineServer

GOOD_ADDRESS: Final = "127.0.0.2"
RATIO: Final = 1.2
CONNECT_SECONDS: Final = 1.0
CONNECT_EVERY_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 20.0
NO_ADDRESS_LIMIT: Final = ["--limit-address-connections", "0", "--limit-handshakes", "0"]

Tallies = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Noticed:
    """What well-behaved users noticed: pushes, and the seconds of connects."""

    pushes: Timed
    connects: list[float]
    refusals: int
    cpu_share: float
    waiting_share: float

    def __str__(self) -> str:
        connects = (
            f"{len(self.connects)} connects,"
            f" median {statistics.median(self.connects) * 1e3:.1f} ms,"
            f" slowest {max(self.connects) * 1e3:.1f} ms"
            if self.connects
            else "no connect"
        )
        return (
            f"{self.pushes}; {connects}, {self.refusals} refused;"
            f" the server ran {self.cpu_share:.0%} and waited for its core {self.waiting_share:.0%}"
            " of the time"
        )


class Newcomers:
    """Well-behaved users who connect, one after the other."""

    def __init__(self, server: LandlineServer, signer: Signer) -> None:
        self._server = server
        self._signer = signer
        self._count = 0

    async def come(self, seconds: float) -> tuple[list[float], int]:
        """Let them connect for so long. Returns the seconds of each, and how many were refused."""
        found, refusals = [], 0
        for _ in range(max(1, round(seconds / CONNECT_EVERY_SECONDS))):
            self._count += 1
            user = f"newcomer{self._count}"
            try:
                found.append(
                    await seconds_to_welcome(
                        self._server.ws_url, user, self._signer.headers(user), local=GOOD_ADDRESS
                    )
                )
            except (OSError, WSError):
                refusals += 1
            await asyncio.sleep(CONNECT_EVERY_SECONDS)
        return found, refusals


async def notice(
    server: LandlineServer, pairs: Pairs, newcomers: Newcomers, seconds: float
) -> Noticed:
    """Return what they notice in so many seconds."""
    process = psutil.Process(server.pid)
    cpu_seconds, waited = sum(process.cpu_times()[:2]), machine.waited_seconds(server.pid)
    began = time.perf_counter()
    pushes, (connects, refusals) = await asyncio.gather(
        pairs.measure(seconds), newcomers.come(seconds)
    )
    took = time.perf_counter() - began
    return Noticed(
        pushes,
        connects,
        refusals,
        float(sum(process.cpu_times()[:2]) - cpu_seconds) / took,
        (machine.waited_seconds(server.pid) - waited) / took,
    )


@contextmanager
def attack(plan: Plan) -> Iterator[Connection]:
    """Attack; the pipe tells when it has begun, and what became of the attackers."""
    # Not forked: a copy of this process would have its event loop.
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=run, args=(plan, theirs))
    process.start()
    theirs.close()  # the pipe ends when the attackers do
    try:
        yield pipe
    finally:
        process.kill()
        process.join()


async def told(pipe: Connection, seconds: float) -> Tallies | None:
    """Return what the attackers tell next. Raises: TimeoutError, EOFError where they do not."""
    if not await asyncio.to_thread(pipe.poll, seconds):
        raise TimeoutError("the attackers say nothing")
    said: Tallies | None = pipe.recv()
    return said


async def measure(
    server: LandlineServer, signer: Signer, options: argparse.Namespace
) -> tuple[Noticed, Noticed, Tallies]:
    """Return what was noticed without and with the attack, and what became of the attackers."""
    pairs = await Pairs.connect(server.ws_url, options.pairs, signer.headers, local=GOOD_ADDRESS)
    newcomers = Newcomers(server, signer)
    alone = await notice(server, pairs, newcomers, options.seconds)
    print(f"alone:   {alone}", flush=True)
    plan = Plan(
        server.port,
        list(accounts(signer, options.attackers)),
        options.kinds,
        options.attackers // len(options.kinds),
        RAMP_SECONDS + options.seconds + GRACE_SECONDS / 4,
    )
    with attack(plan) as pipe:
        await told(pipe, RAMP_SECONDS + GRACE_SECONDS)
        attacked = await notice(server, pairs, newcomers, options.seconds)
        print(f"attacked: {attacked}", flush=True)
        tallies = await told(pipe, plan.seconds + GRACE_SECONDS)
    pairs.hang_up()
    assert tallies is not None
    return alone, attacked, tallies


def accounts(signer: Signer, attackers: int) -> Iterator[Account]:
    """Yield as many as it takes for all to be let in: a user has so many connections and no more.
    Each floods the next but one, whose sessions are of other kinds as well.
    """
    count = -(-attackers // USUAL_LIMITS.user_connections)
    for number in range(count):
        user = f"attacker{number}"
        yield Account(user, signer.token(user), f"attacker{(number + 2) % count}")


def report(alone: Noticed, attacked: Noticed, tallies: Tallies) -> Iterator[str]:
    """Yield the lines: the ratio, and what became of the attackers."""
    ratio = attacked.pushes.p99_seconds / alone.pushes.p99_seconds
    yield f"p99 of pushes, attacked/alone: {ratio:.2f} (target: at most {RATIO})"
    slowest = max(attacked.connects, default=float("inf"))
    yield (
        f"slowest connect: {slowest * 1e3:.0f} ms, {attacked.refusals} refused"
        f" (target: under {CONNECT_SECONDS * 1e3:,.0f} ms, none)"
    )
    for kind, tally in tallies.items():
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(tally.items()) if count)
        yield f"{kind:13} {told}"


def main() -> None:
    """Start a server, measure without and with the attack, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="without, and again with it")
    parser.add_argument("--attackers", type=int, default=1_000, help="connections, 2,000 at most")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    parser.add_argument("--pairs", type=int, default=4, help="well-behaved ones")
    parser.add_argument("--no-address-limit", action="store_true", help="let the attackers in")
    options = parser.parse_args()
    if not 1 <= options.attackers <= 2_000 or not 0 < options.seconds <= 60:
        parser.error("attackers are 1 to 2,000 and last for 60 s at most")
    print(
        f"{machine.describe()}; {options.attackers} attackers on {ADDRESS},"
        f" {options.pairs} pairs on {GOOD_ADDRESS}"
    )
    with tempfile.TemporaryDirectory() as folder:
        signer = Signer("HS256", Path(folder) / "keys")
        server = LandlineServer.embedded("server", Path(folder), prefix=machine.share_cores())
        server.arguments += signer.arguments
        server.arguments += NO_ADDRESS_LIMIT if options.no_address_limit else []
        # The defaults on loopback are those of any other place where tokens are checked.
        with server:
            found = uvloop.run(measure(server, signer, options))
    print(*report(*found), sep="\n")


if __name__ == "__main__":
    main()

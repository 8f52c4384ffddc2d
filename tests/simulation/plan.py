"""What one schedule is made of: everything that the seed decides before the first turn."""

import random
from dataclasses import dataclass, fields, replace

_FIRST_FAULTS = (
    "bad_frames",
    "clients",  # silent, slow, several sessions, hopping
    "cramped",  # small bounds on what is remembered
    "crash",
    "directory",
    "gaps",
    "garbage",
    "hints",
    "leader",
    "log",
    "network",
    "pause",
    "restart",
    "retention",
    "store",
)
# The store is away for long while people connect: in every fifth schedule, beside what it has.
# Not drawn with the others: all schedules would become different ones.
_AWAY = "away"
FAULTS = (_AWAY, *_FIRST_FAULTS)


# Of a chance of their own, so that the seeds from before they came keep the rest of their plan.
LATER_FAULTS = (
    "flood",  # somebody writes to one user faster than that one acknowledges
    "mailbox",  # whose rows the store cannot read
    "stuck",  # a partition is not applied while others are well
)


# What comes with sign-in, in a quarter of the schedules, of a chance of its own as well.
SIGNED_IN_FAULTS = (
    "expiry",  # tokens end soon; some clients renew theirs, others come back with another
    "limits",  # users may send so much, and clients wait as they are told
    "revocation",  # all sessions of a user are ended
)


@dataclass(frozen=True)
class Plan:
    """One schedule's size and faults. `PLAN` of the command line overrides any of it."""

    seed: int
    servers: int
    writers: int
    partitions: int
    users: int
    steps: int
    has_auto: bool  # one more user, who acknowledges by `ack=auto`
    devices: int  # that a user has; 0: nobody has one
    rooms: int  # that are made; 0: nobody asks about conversations either
    faults: frozenset[str]

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """Return the plan of a seed. One in ten has no faults at all."""
        rng = random.Random(f"plan {seed}")
        servers = rng.choice((1, 2, 2, 3))
        is_fair = seed % 10 == 0
        count = 0 if is_fair else rng.randint(1, len(_FIRST_FAULTS) - 2)
        away = {_AWAY} if seed % 5 == 3 else set()
        later = random.Random(f"later {seed}")
        more = {each for each in reversed(LATER_FAULTS) if later.random() < 0.2 and not is_fair}
        signed_in = random.Random(f"signed in {seed}")
        if signed_in.random() < 0.25 and not is_fair:
            more |= {*signed_in.sample(SIGNED_IN_FAULTS, signed_in.randint(1, 3))}
        if "flood" in more:
            more -= {"limits"}  # nobody floods then
        return cls(
            seed=seed,
            servers=servers,
            writers=rng.choice((1, min(2, servers))),
            partitions=rng.randint(1, 3),
            users=rng.randint(2, 4),
            steps=rng.randint(15, 45),
            has_auto=rng.random() < 0.2,
            devices=random.Random(f"devices of {seed}").choice((0, 0, 0, 1, 2, 3)),
            rooms=random.Random(f"rooms of {seed}").choice((0, 0, 0, 0, 1, 2)),
            faults=frozenset({*away, *more, *rng.sample(_FIRST_FAULTS, count)}),
        )

    @property
    def is_fair(self) -> bool:
        """Say whether nothing goes wrong."""
        return not self.faults

    @property
    def ack_seconds(self) -> float:
        """Return how long clients take to acknowledge, at the most."""
        return 0.1 if self.is_fair else 1.0

    def smaller(self) -> list["Plan"]:
        """Return plans that are one notch simpler, the largest cut first."""
        plans = [
            replace(self, steps=steps)
            for steps in (self.steps // 4, self.steps // 2, self.steps * 3 // 4, self.steps - 1)
            if 0 < steps < self.steps
        ]
        plans += [replace(self, faults=self.faults - {fault}) for fault in sorted(self.faults)]
        sizes = (
            *(("servers", 1), ("writers", 1), ("partitions", 1)),
            *(("users", 2), ("devices", 0), ("rooms", 0)),
        )
        for name, least in sizes:
            size = getattr(self, name)
            if size > least:
                plans.append(replace(self, **{name: size - 1}))
        if self.has_auto:
            plans.append(replace(self, has_auto=False))
        return [plan for plan in plans if plan.writers <= plan.servers]

    def changes(self) -> str:
        """Return in what it differs from the plan of its seed, as `parse` reads it."""
        usual = Plan.of(self.seed)
        changed = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value != getattr(usual, each.name):
                shown = ",".join(sorted(value)) if isinstance(value, frozenset) else int(value)
                changed.append(f"{each.name}={shown}")
        return " ".join(changed)

    @classmethod
    def parse(cls, seed: int, changes: str) -> "Plan":
        """Return the plan of a seed with these changes."""
        plan = cls.of(seed)
        for change in changes.split():
            name, _, value = change.partition("=")
            if name == "faults":
                plan = replace(plan, faults=frozenset(value.split(",")) - {""})
            else:
                plan = replace(plan, **{name: type(getattr(plan, name))(int(value))})
        return plan

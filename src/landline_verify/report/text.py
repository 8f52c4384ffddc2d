"""The page at the end of a run, as plain text of 80 columns."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from landline_verify.checker.verdict import INVARIANTS, Verdict, Violation
from landline_verify.history.events import Event
from landline_verify.report.figures import Figures, figures, percentile
from landline_verify.report.story import tell

WIDTH = 80
# The page names so many violations of one invariant; the history has them all.
NAMED = 3

HEADLINES = {
    "pass": "PASS: nothing that was acknowledged was lost, and no other promise was broken",
    "fail": "FAIL: a promise was broken",
    "unknown": "UNKNOWN: nothing was found broken, but this run proves nothing",
}

# What a run may lack to judge an invariant.
NEEDED = {
    "I1": "give --data-dir, or log or store",
    "I2b": "needs 15 s without a fault",
    "I2c": "needs a store that is away",
    "I9": "give --data-dir, or log and store",
    "I10": "give --data-dir, or log and store",
    "I11": "give --data-dir or --kafka",
    "I12b": "give --flood",
    "I14": "measured with --faults",
    "I17": "needs --rooms",
    "I18": "needs --rooms, and the log",
}


def lines(history: Sequence[Event], verdict: Verdict) -> Iterator[str]:
    """Yield the page, line by line."""
    numbers = figures(history)
    yield f"landline verify: {HEADLINES[verdict.outcome]}"
    for reason in verdict.reasons:
        yield from _wrapped(f"- {reason}", "  ")
    yield ""
    yield "What was tried"
    for name, text in tried(numbers):
        yield from _wrapped(f"  {name:<12}{text}", " " * 14)
    yield ""
    yield "What was counted"
    for name, text in counted(numbers):
        yield from _wrapped(f"  {name:<12}{text}", " " * 14)
    yield ""
    yield "What was found"
    for invariant, name in INVARIANTS.items():
        found = [each for each in verdict.violations if each.invariant == invariant]
        yield f"  {invariant:<4} {name:<26} {found_of(verdict, invariant)}"
        for violation in found[:NAMED]:
            yield from _wrapped(f"       - {violation.sentence}", " " * 9)
        if len(found) > NAMED:
            yield f"       - and {len(found) - NAMED:,} more"
    for violation in first_of_each(verdict):
        yield ""
        yield f"The story of {called(violation)} ({violation.invariant})"
        for line in tell(history, violation):
            yield f"  {line}"


def tried(numbers: Figures) -> Iterator[tuple[str, str]]:
    """Yield what a run did, as names and sentences."""
    run = numbers.run
    if run is not None:
        asked = run.options
        yield (
            "asked for",
            (
                f"{asked.get('duration', 0):g} s, {asked.get('users')} users, "
                f"{asked.get('rate', 0):g} messages/s, seed {run.seed}, {run.started_at}"
            ),
        )
        if asked.get("auth"):
            yield "signed in", "every user, with a token for each connection"
        for url in run.urls:
            names = ", ".join(sorted(numbers.servers.get(url, ()))) or "never answered"
            yield "server", f"{url} ({names})"
        dumped = [what for what in ("log", "store") if asked.get(what)]
        yield "read too", " and ".join(dumped) or "neither log nor store: only what clients see"
    if numbers.durability:
        yield "durability", ", ".join(sorted(numbers.durability))
    users = sorted(numbers.users.items(), key=lambda each: -each[1])
    yield "users", ", ".join(f"{count} {name}" for name, count in users)
    ended = [
        f"{count:,} {name}" for name, count in numbers.counts.items() if name.startswith("ended by")
    ]
    yield "connections", ", ".join([f"{numbers.counts['connections']:,} begun", *ended])
    yield from _harm(numbers)


def _harm(numbers: Figures) -> Iterator[tuple[str, str]]:
    asked = {} if numbers.run is None else numbers.run.options
    kinds = Counter(each.name for each in numbers.faults)
    happened, of_planned = len(numbers.faults), ""
    if "faults" in asked:
        planned = Counter(asked["faults"])
        happened = sum((kinds & planned).values())  # a fault may bring another one with it
        of_planned = f" of {sum(planned.values())} planned"
    named = ", ".join(
        name if count == 1 else f"{name} ({count} times)" for name, count in sorted(kinds.items())
    )
    yield "faults", f"{happened}{of_planned}: {named}" if kinds else "none"
    for name, reason in asked.get("left out", {}).items():
        yield "left out", f"{name}: {reason}"


def _rejected(counts: Mapping[str, int]) -> str:
    """Say what was refused, and why: the load tries some things that have to be."""
    begin = "rejected: "
    codes = [
        f"{name.removeprefix(begin)} {count:,}" + (", too large on purpose" * ("too_large" in name))
        for name, count in sorted(counts.items())
        if name.startswith(begin)
    ]
    return f"{counts['rejected']:,} rejected" + (f" ({'; '.join(codes)})" if codes else "")


def counted(numbers: Figures) -> Iterator[tuple[str, str]]:
    """Yield what a run counted, as names and sentences."""
    counts = numbers.counts
    asked = numbers.run.options.get("rate", 0) if numbers.run is not None else 0
    share = f", {numbers.rate / asked:.1%} of the asked rate" if asked else ""
    yield "sent", f"{counts['sent']:,} ({numbers.rate:.1f}/s under load{share})"
    yield (
        "answered",
        (
            f"{counts['accepted']:,} accepted, {_rejected(counts)}, "
            f"{counts['unknown']:,} times unknown; {counts['repeats']:,} repeats"
        ),
    )
    yield (
        "received",
        (
            f"{counts['received']:,} messages in {counts['pushed']:,} pushes, "
            f"{counts['replayed']:,} of them from the store; "
            f"{counts['pushed again']:,} to a second or later session"
        ),
    )
    yield "receipts", f"{counts['receipts']:,} told to senders"
    if counts["devices"]:
        yield "devices", f"{counts['devices']:,} were connected"
    if counts["rooms: create"]:
        yield (
            "rooms",
            (
                f"{counts['rooms: create']:,} asked for, {counts['rooms: send']:,} messages,"
                f" {counts['rooms: member']:,} changes of members,"
                f" {counts['rooms: room']:,} of titles"
            ),
        )
    if counts["mark"] or counts["paged"]:
        yield (
            "reading",
            f"{counts['mark']:,} read marks, {counts['listed']:,} lists, {counts['paged']:,} pages",
        )
    if counts["records"] or counts["rows"]:
        yield "read", f"{counts['records']:,} messages in the log, {counts['rows']:,} in the store"
    if counts["stalls"]:
        yield (
            "stood still",
            (
                f"the clients themselves, {counts['stalls']:,} times, for "
                f"{numbers.stalled_seconds:.1f} s: no server is blamed for that time"
            ),
        )
    if counts["directory failures"]:
        yield (
            "no hints",
            (
                f"{counts['directory failures']:,} times, the directory (Redis) gave a server no "
                "answer; what it was asked for came with the sweep"
            ),
        )
    yield "accepted in", latencies(numbers.accepted_after) + " (from the first try)"
    if numbers.flooded_after:
        yield "", latencies(numbers.flooded_after) + " (the same, beside a flood)"
    yield "received in", latencies(numbers.received_after) + " (live pushes)"


def latencies(values: Sequence[float]) -> str:
    """Return a sentence about latencies in seconds."""
    if not values:
        return "-"
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return ", ".join(f"{name} {in_ms(percentile(values, at))}" for name, at in shares.items())


def in_ms(seconds: float) -> str:
    """Return a time in milliseconds, with as many digits as mean something."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:,.0f} ms"


def first_of_each(verdict: Verdict) -> list[Violation]:
    """Return the first violation of every violated invariant: their stories are told."""
    return list({each.invariant: each for each in reversed(verdict.violations)}.values())[::-1]


def called(violation: Violation) -> str:
    """Return what a violation's message is called: by its id, or by sender and ref."""
    if violation.id is not None:
        return f"message {violation.id}"
    if violation.ref is not None:
        return f"{violation.sender}'s send {violation.ref}"
    return "the run"


def found_of(verdict: Verdict, invariant: str) -> str:
    """Return what was found of an invariant, in a few words."""
    finding = verdict.findings[invariant]
    if finding == "not judged":
        return f"not judged: {NEEDED.get(invariant, 'the run ended too early')}"
    if invariant == "I16" and finding == "violated":
        return "NOT MET: too little to tell"  # no promise was broken
    count = sum(each.invariant == invariant for each in verdict.violations)
    return f"VIOLATED {count:,} times" if count > 1 else finding.replace("violated", "VIOLATED")


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

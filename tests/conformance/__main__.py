"""`make conformance`: runs Autobahn's cases, and shows what came of them."""

import sys
from collections import Counter
from pathlib import Path

from conformance.cases import (
    ALWAYS_NON_STRICT,
    AT_TIMES_NON_STRICT,
    INFORMATIONAL,
    run_all,
    unexpected,
)
from support.temporary import CHECKOUT


def main(reports: Path = CHECKOUT / "conformance") -> int:
    """Return 1 when something is not as the tables say."""
    verdicts = run_all(reports)
    reasons = {**ALWAYS_NON_STRICT, **AT_TIMES_NON_STRICT, **INFORMATIONAL}
    for case, verdict in verdicts.items():
        if verdict.behavior != "OK" or verdict.close != "OK":
            print(f"  {case:8} {verdict.behavior:14} {reasons.get(case, 'NOT EXPECTED')}")
    counts = Counter(verdict.behavior for verdict in verdicts.values())
    print(", ".join(f"{count} {behavior}" for behavior, count in counts.most_common()))
    print(f"Reports: {reports}/usual/index.html, {reports}/large/index.html")
    wrong = unexpected(verdicts)
    for line in wrong:
        print(f"NOT EXPECTED: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Every case of Autobahn's that concerns Landline is passed; what is less than strict is listed."""

from pathlib import Path

from conformance.cases import (
    ALWAYS_NON_STRICT,
    AT_TIMES_NON_STRICT,
    CASES,
    COUNT,
    INFORMATIONAL,
    run_all,
    unexpected,
)


def test_all_cases_are_passed_and_the_lists_of_exceptions_are_right(tmp_path: Path) -> None:
    """A case that is better or worse than listed fails: then the list is wrong."""
    verdicts = run_all(tmp_path)
    assert unexpected(verdicts) == []
    assert {case.partition(".")[0] for case in verdicts} == CASES
    assert len(verdicts) == COUNT
    assert verdicts.keys() >= {*ALWAYS_NON_STRICT, *AT_TIMES_NON_STRICT, *INFORMATIONAL}

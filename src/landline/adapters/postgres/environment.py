"""The variables of PostgreSQL (`PGHOST`, `PGSSLMODE`, ...): which of them count, and what is wrong.

The driver takes from them what the URL does not say. What it cannot use there is no fault of the
URL, and an operator who reads only that looks in the wrong place.
"""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from landline.config.hosts import is_port
from landline.config.postgres_parameters import NEVER_EMPTY, VARIABLES, find_problem
from landline.config.urls import is_postgres_host
from landline.config.values import SecretUrl, UnfitValue, check_characters

_SAME: Final = {"database": "dbname"}


def used_variables(url: SecretUrl) -> Mapping[str, str]:
    """Return the variables that say what the URL does not: of each parameter, the variable."""
    given = _given(url.reveal())
    variables = {name: each for each, name in VARIABLES.items() if name not in given}
    if "service" in given or os.environ.get("PGSERVICE"):
        # Whether they count is written in the file of services.
        variables = {name: each for name, each in variables.items() if name == "service"}
    return {
        name: each
        for name, each in variables.items()
        if os.environ.get(each) or (name in NEVER_EMPTY and each in os.environ)
    }


def find_mistake(url: SecretUrl) -> tuple[str, str] | None:
    """Return what is wrong with a variable that counts, and what to do. No value is told."""
    for name, variable in used_variables(url).items():
        value = os.environ[variable]
        try:
            check_characters(value)
        except UnfitValue as error:
            return f"{variable} in the environment {error.problem}", error.remedy
        what = _problem(url, name, value)
        if what is not None:
            return (
                f"{variable} in the environment cannot be used",
                f"set it to {what}, or unset it",
            )
    return None


def place(url: SecretUrl, *names: str) -> str:
    """Say where these parameters are: in the URL, or in a variable."""
    used = used_variables(url)
    variables = [used[name] for name in names if name in used]
    if len(variables) == len(names):
        return f"{' and '.join(variables)} in the environment"
    return " and ".join(["the URL", *variables])


def _problem(url: SecretUrl, name: str, value: str) -> str | None:
    if name == "host":
        is_fit = all(map(is_postgres_host, value.split(",")))
        return None if is_fit else "a host, or several with commas between"
    if name == "port":
        ports = value.split(",")
        is_fit = all(map(is_port, ports)) and len(ports) in (1, _count_hosts(url))
        return None if is_fit else "a port from 1 to 65535, one for all hosts or one for each"
    return find_problem(name, value)


def _count_hosts(url: SecretUrl) -> int:
    parts = urlsplit(url.reveal())
    listed = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    return len((listed or os.environ.get("PGHOST", "")).split(","))


def _given(url: str) -> frozenset[str]:
    """Return the parameters that a URL has, before its `?` or behind it."""
    parts = urlsplit(url)
    query = {_SAME.get(name, name) for name in parse_qs(parts.query)}
    user, _, hosts = parts.netloc.rpartition("@")
    ports = [each.rpartition("]")[2].partition(":")[2] for each in hosts.split(",")]
    said = {
        "host": bool(hosts),
        # A list in PGPORT has to fit the hosts, even if each of them has its own.
        "port": all(ports) and "," not in os.environ.get("PGPORT", ""),
        "user": bool(user.partition(":")[0]),
        "password": bool(user.partition(":")[2]),
        "dbname": bool(parts.path.strip("/")),
    }
    return frozenset(query | {name for name, is_said in said.items() if is_said})

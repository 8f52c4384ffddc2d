"""A connection for the start of the server: what goes wrong is a sentence for the operator."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from landline.adapters.postgres.environment import find_mistake, place
from landline.adapters.postgres.hosts import Hosts
from landline.adapters.postgres.lane import (
    LANE_CLOSE_SECONDS,
    LANE_CONNECT_SECONDS,
    TROUBLE,
    NoHostUsable,
    PostgresConnection,
    WrongSession,
    check_session,
    reason,
)
from landline.config.values import SecretUrl
from landline.errors import StartupError

# What stands in the way, by SQLSTATE, and what to do about it.
_BY_SQLSTATE: Final = {
    "28P01": ("wrong user name or password", "correct them in {user_and_password}"),
    "28000": ("the server does not let this user in", "see pg_hba.conf, and that the role exists"),
    "3D000": ("there is no such database", "create it (createdb), or correct {dbname}"),
    "42501": (
        "the user may not do that ({})",
        "let it own the database, or GRANT it the schema and its tables",
    ),
    "42704": ("the server does not know what is asked of it ({})", "use PostgreSQL 14 or newer"),
    "42P07": (
        "the schema holds tables of another program ({})",
        "use a database of its own for Landline",
    ),
    "23505": (
        "an index cannot be built, as rows are there twice that it has to keep apart ({})",
        "see 'Rows that are there twice' in docs/runbook.md",
    ),
    "55P03": (
        "a table is in use by others for longer than a migration waits ({})",
        "try again; pg_stat_activity and pg_locks show who holds it",
    ),
    "53300": ("the server has no connection left", "raise its max_connections"),
    "57P03": ("the server is starting up or shutting down", "try again when it is ready"),
}


@asynccontextmanager
async def connected(url: SecretUrl, statement_seconds: float) -> AsyncIterator[PostgresConnection]:
    """Open a connection for the length of a `with` block.

    Raises: StartupError for everything that the connection or its use may run into.
    """
    connection: PostgresConnection | None = None
    mistake = find_mistake(url)
    if mistake is not None:
        raise StartupError(f"--postgres {url}: {'; '.join(mistake)}")
    try:
        connection = await Hosts(url, "landline-start").connect(statement_seconds)
        check_session(connection)
        yield connection
    except TROUBLE as error:
        raise refusal(url, error) from error
    except (ValueError, AttributeError) as error:
        if connection is not None:
            raise
        raise StartupError(
            f"--postgres {url}: is not a URL that can be used; give"
            " postgresql://user:password@host:5432/database"
        ) from error
    finally:
        if connection is not None:
            with suppress(*TROUBLE):
                async with asyncio.timeout(LANE_CLOSE_SECONDS):  # its own does not cover all of it
                    await connection.close(timeout=LANE_CLOSE_SECONDS)
            connection.terminate()


def refusal(url: SecretUrl, error: BaseException) -> StartupError:
    """Return the sentence: what stands in the way, and what to do."""
    problem, remedy = _explain(url, error)
    return StartupError(f"--postgres {url}: {problem}; {remedy}")


def _explain(url: SecretUrl, error: BaseException) -> tuple[str, str]:
    if isinstance(error, NoHostUsable):
        problems = {host: _explain(url, why) for host, why in error.errors.items()}
        remedies = list(dict.fromkeys(remedy for _, remedy in problems.values()))
        shown = ", ".join(f"{host}: {problem}" for host, (problem, _) in problems.items())
        return f"none of its hosts will do ({shown})", " / ".join(remedies)
    return _explain_session(url, error) or _explain_line(url, error)


def _explain_session(url: SecretUrl, error: BaseException) -> tuple[str, str] | None:
    """Explain what a server answered, and what the driver did not like."""
    if isinstance(error, WrongSession):
        return str(error), "connect to PostgreSQL itself, not to a pooler before it"
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _BY_SQLSTATE:
        problem, remedy = _BY_SQLSTATE[error.sqlstate]
        return problem.format(error.args[0]), remedy.format(
            user_and_password=place(url, "user", "password"), dbname=place(url, "dbname")
        )
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"is not a URL that can be used ({error.args[0]})", "correct it"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "the server is a standby or read-only", "give the URL of the primary"
    return None


def _explain_line(url: SecretUrl, error: BaseException) -> tuple[str, str]:
    """Explain why no server was reached."""
    if isinstance(error, socket.gaierror):
        return "the host is unknown", f"correct the host in {place(url, 'host')}"
    if isinstance(error, TimeoutError):
        return (
            f"no answer within {LANE_CONNECT_SECONDS:.0f} s",
            "see that the server runs and is reached",
        )
    if isinstance(error, FileNotFoundError):
        files = ("host", "sslrootcert", "sslcert", "sslkey", "sslcrl")
        says = f"{place(url, *files)} says"
        return f"a socket or a certificate is not where {says}", "see host and sslrootcert"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there", (
            f"start PostgreSQL, or correct host and port in {place(url, 'host', 'port')}"
        )
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return f"no TLS connection ({error})", (
            f"see sslmode and sslrootcert in {place(url, 'sslmode', 'sslrootcert')}"
        )
    return f"cannot be used ({reason(error)})", "see the server's own log"

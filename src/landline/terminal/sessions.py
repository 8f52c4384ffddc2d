"""A user's sessions, as `landline sessions` shows and closes them, over a server's HTTP API."""

import ssl
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment

import httpx

from landline.client.address import read_address
from landline.client.errors import Refused
from landline.client.reasons import is_nobody
from landline.config.loading import printable
from landline.errors import ConfigError, LandlineError
from landline.terminal.screen import harmless
from landline.terminal.token_file import TokenFile

_SECONDS: Final = 10.0
_SENTENCE_CHARACTERS: Final = 300
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_PATHS: Final = ("/ws/chat", "/ws", "/")
_COLUMNS: Final = ("SESSION", "SERVER", "OPENED", "ADDRESS", "ORIGIN")
_FIELDS: Final = ("session", "server", "opened", "address", "origin")


class NotDone(LandlineError):
    """The server could not be asked, or refused; `str(error)` is a sentence for people."""


def base_address(flag: str, url: str) -> str:
    """Return the address of a server's HTTP, from it or from that of its WebSocket.

    Raises: ConfigError.
    """
    shown = f"{flag} {printable(url) or repr('')}"
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ConfigError(f"{shown} is no address of a server: give one like http://127.0.0.1:8081")
    try:
        address = read_address(f"{_SCHEMES[scheme]}://{rest}")
    except Refused as error:
        raise ConfigError(f"{shown}: {error}") from None
    if "?" in url or "@" in urlsplit(address.url).netloc:
        raise ConfigError(f"{shown}: leave out its query, user and password")
    path = urlsplit(address.server).path
    ending = next((each for each in _PATHS if path.endswith(each)), "")
    return "http" + address.server.removeprefix("ws").removesuffix(ending)


class Sessions:
    """Asks the server at `base`."""

    def __init__(self, base: str, token: TokenFile) -> None:
        self._base = base
        self._token = token

    def list(self, user: str) -> int:
        """Show the sessions of a user. Returns the exit code. Raises: LandlineError."""
        listed = self._ask("GET", user).get("sessions")
        if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
            raise self._unreadable()
        table = [[_cell(row.get(name)) for name in _FIELDS] for row in listed]
        if not sys.stdout.isatty():
            for cells in table:
                print("\t".join(cells))
        elif not table:
            print(f"{harmless(user)} has no session")
        else:
            _print_aligned([_COLUMNS, *table])
        return 0

    def close(self, user: str, until: datetime | None) -> int:
        """Close the sessions of a user. Returns the exit code. Raises: LandlineError."""
        query = {} if until is None else {"until": _rfc3339(until)}
        answer = self._ask("DELETE", user, query)
        closed, away_until = answer.get("closed"), answer.get("until")
        if isinstance(closed, int):
            done = f"{closed} session{'s were' if closed != 1 else ' was'} closed"
        else:
            done = "all sessions are being closed"
        away = f"; away until {_cell(away_until)}" if away_until is not None else ""
        print(f"{harmless(user)}: {done}{away}")
        return 0

    def _ask(self, method: str, user: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token()}"}
        url = f"{self._base}/v1/users/{quote(user, safe='')}/sessions"
        is_loopback = read_address(f"ws{self._base.removeprefix('http')}/").is_loopback
        try:
            # For a proxy of the environment 127.0.0.1 is another machine. Redirects are not
            # followed: the token is for this server.
            with httpx.Client(
                timeout=_SECONDS, trust_env=not is_loopback, verify=ssl.create_default_context()
            ) as client:
                response = client.request(method, url, params=query, headers=headers)
        except httpx.TimeoutException:
            raise NotDone(f"{self._base} does not answer within {_SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if is_nobody(error) and (is_loopback or not getproxies_environment()):
                raise NotDone(
                    f"nothing listens at {self._base}: give the server's address with --url"
                ) from None
            why = harmless(str(error)) or type(error).__name__
            raise NotDone(f"{self._base} cannot be asked: {why}") from None
        if response.status_code != HTTPStatus.OK:
            raise NotDone(self._why_not(response))
        try:
            answer = response.json()
        except ValueError:
            raise self._unreadable() from None
        if not isinstance(answer, dict):
            raise self._unreadable()
        return answer

    def _why_not(self, response: httpx.Response) -> str:
        status = response.status_code
        sentence = f": {said}" if (said := _said(response)) else ""
        answer = f"{self._base} answers with HTTP {status}{sentence}"
        match status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return (
                    f"{answer}; this needs a service token: give another with --token-file"
                    " (landline token --service makes one; a server with --auth none takes none)"
                )
            case HTTPStatus.NOT_FOUND:
                return f"{answer}; is this the address of a Landline server?"
        return answer

    def _unreadable(self) -> NotDone:
        return NotDone(f"{self._base} answers with something else: is it a Landline server?")


def _said(response: httpx.Response) -> str:
    """Return the sentence of a server that says why; others may answer with any page."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    if isinstance(body, dict):
        body = body.get("message", "")
    text = str(body).strip()
    is_sentence = "\n" not in text and "<" not in text and len(text) < _SENTENCE_CHARACTERS
    return harmless(text) if is_sentence else ""


def _cell(value: object) -> str:
    return "" if value is None else harmless(str(value)).replace("\t", " ")


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())

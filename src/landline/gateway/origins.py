"""Whose pages may connect: a browser says where the page comes from that asks."""

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from landline.api.http import RequestRefused
from landline.config.hosts import is_loopback

# As browsers send it: lower case (RFC 6454, section 6.2). A host without its port: what is asked.
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_AUTHORITY: Final = re.compile(r"([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?")


class Origins:
    """The origins that are listed; without a list, the server's own."""

    def __init__(self, listed: Collection[str], *, is_local: bool) -> None:
        """`is_local`: the server is for this machine alone, so no name but loopback's can mean
        it.
        """
        self._listed = frozenset(listed)
        self._hosts = {
            match[2].strip("[]") for each in listed if (match := _ORIGIN.fullmatch(each))
        }
        self._is_local = is_local

    def check_host(self, host: str | None) -> None:
        """Refuse, with or without an origin, names that cannot mean a server for this machine:
        a page whose name was pointed here reads what it asks for (DNS rebinding).

        Raises: RequestRefused.
        """
        if not self._is_local or host is None or is_loopback(_host(host)):
            return
        if _host(host) not in self._hosts:
            raise _not_ours()

    def check(self, origin: str | None, host: str, scheme: str | None) -> None:
        """Refuse other sites' pages. `scheme`: how the request came, where that is known for sure.

        Raises: RequestRefused.
        """
        if origin is None or origin in self._listed:
            return
        if self._is_local and not is_loopback(_host(host)):
            # A page whose name was pointed at this machine (DNS rebinding) is of its own origin.
            raise _not_ours()
        if self._listed or not is_same_origin(origin, host, scheme):
            raise RequestRefused(
                HTTPStatus.FORBIDDEN,
                "this origin may not connect; see public-url and allowed-origins",
            )


def check_site(site: str | None) -> None:
    """Refuse what another site's page has sent without an origin. Raises: RequestRefused."""
    if site == "cross-site":
        raise RequestRefused(HTTPStatus.FORBIDDEN, "another site's page may not ask this")


def is_same_origin(origin: str, authority: str, scheme: str | None = None) -> bool:
    """Say whether a page of `origin` came from where the request went.

    A proxy may add the port to `Host` that a browser leaves out, or the other way round.
    """
    page, here = _ORIGIN.fullmatch(origin), _AUTHORITY.fullmatch(authority.lower())
    if page is None or here is None or scheme not in (None, page[1]):
        return False
    own_scheme, host, port = page.groups()
    default = {"http": 80, "https": 443}[own_scheme]
    return (host, int(port or default)) == (here[1], int(here[2] or default))


def _host(authority: str) -> str:
    """Return the host of `host:port`."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return match[1].removeprefix("[").removesuffix("]") if match else ""


def _not_ours() -> RequestRefused:
    return RequestRefused(
        HTTPStatus.FORBIDDEN,
        "open the page as 127.0.0.1 or localhost, or set public-url or allowed-origins",
    )

"""What the server itself asks of other servers over HTTP.

The other side may be slow, large or wrong: every exchange is bounded in time and in bytes, follows
no redirect, keeps no cookie, and takes nothing from the environment but the machine's certificates.
Nothing that is raised shows a part of an address, for that may hold a secret.
"""

import asyncio
import ssl
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import orjson

from landline.config.values import SecretUrl
from landline.errors import BadAnswer, ConfigError, WebUnavailable

_CONNECTIONS: Final = 64
_KEPT_CONNECTIONS: Final = 16
# Less than the usual idle time of servers and proxies (60 s; uvicorn: 5 s), or a request would now
# and then meet a connection that is being closed.
_KEPT_SECONDS: Final = 4.0
# For a single read; the deadline of the whole exchange is shorter.
_LONGEST_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 1.0
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class Page:
    """An address that is asked, and the name and password for it. Its `str` shows neither."""

    __slots__ = ("auth", "url")

    def __init__(self, option: str, url: SecretUrl) -> None:
        """`option` is named where the address cannot be used. Raises: ConfigError."""
        try:
            whole = httpx.URL(url.reveal())
            self.url = whole.copy_with(userinfo=b"")
        except (httpx.InvalidURL, UnicodeError):  # what they say may show a part of it
            raise ConfigError(f"--{option} {url}: this is no address that can be asked") from None
        has_auth = bool(whole.userinfo)
        self.auth = httpx.BasicAuth(whole.username, whole.password) if has_auth else None


class Web:
    """A client over HTTP, with connections that are kept. Close it at the end."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whose certificates count; those that the machine trusts, where it is None."""
        self._client = httpx.AsyncClient(
            # Not httpx's own list: a company's authority is in the machine's, or in SSL_CERT_FILE.
            verify=tls or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            headers=_HEADERS,
            timeout=_LONGEST_SECONDS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(
                max_connections=_CONNECTIONS,
                max_keepalive_connections=_KEPT_CONNECTIONS,
                keepalive_expiry=_KEPT_SECONDS,
            ),
        )

    async def get(self, page: Page, *, most_bytes: int, seconds: float) -> bytes:
        """Return the JSON that is there. Raises: WebUnavailable, BadAnswer."""
        return await self._exchange("GET", page, None, most_bytes, seconds)

    async def post(self, page: Page, body: bytes, *, most_bytes: int, seconds: float) -> bytes:
        """Return the JSON that answers this JSON. Raises: WebUnavailable, BadAnswer."""
        return await self._exchange("POST", page, body, most_bytes, seconds)

    async def close(self) -> None:
        """Let go of every connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()

    async def _exchange(
        self, method: str, page: Page, body: bytes | None, most_bytes: int, seconds: float
    ) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else None
        request = self._client.build_request(method, page.url, content=body, headers=headers)
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.send(request, auth=page.auth, stream=True)
                try:
                    content = await _read(response, most_bytes)
                finally:
                    await response.aclose()
            orjson.loads(content)
        except WebUnavailable:
            raise
        except TimeoutError:
            raise WebUnavailable(f"it did not answer within {seconds:g} s") from None
        except orjson.JSONDecodeError:
            raise BadAnswer("what it answers is not JSON") from None
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, an answer is missing
            raise WebUnavailable(f"it cannot be reached: {_why(error)}") from None
        return content


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise BadAnswer(f"it answers with status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise BadAnswer("it answers compressed, and was not asked to")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > most_bytes:
            raise BadAnswer(f"it answers with more than {most_bytes:,} bytes")
    return bytes(content)


def _why(error: BaseException) -> str:
    """Return what is wrong, in words of the operating system or of OpenSSL where there are any."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__

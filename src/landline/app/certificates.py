"""The certificate of `--tls-cert` and `--tls-key`: read at the start, and again on SIGHUP."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from landline.config import Settings
from landline.errors import StartupError
from landline.observability.logging import get_logger

_PROTOCOLS: Final = ("http/1.1",)
_CERTIFICATE_REMEDY: Final = (
    "give a PEM file with the certificate first, and the rest of its chain behind it"
)
_TOO_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})
_KEY_REMEDY: Final = "give a PEM file with the key of the certificate"

log = get_logger(__name__)


class Certificate:
    """What the server shows to its clients. New connections get what was read last."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises: StartupError, one or two lines."""
        self._certificate = certificate
        self._key = key
        self._context, self._not_after = _load(certificate, key)

    def context(self) -> ssl.SSLContext:
        """Return what a new connection is encrypted with."""
        return self._context

    def warn(self) -> None:
        """Say so when it has expired: clients that check it go away."""
        if self._not_after < datetime.now(UTC):
            log.warning(
                "certificate_expired",
                file=str(self._certificate),
                not_after=_shown(self._not_after),
                advice="get a new one, put it in place of the file, and send SIGHUP",
            )

    def read_again(self) -> None:
        """Read both files again. Where they cannot be used, the certificate stays as it is."""
        try:
            context, not_after = _load(self._certificate, self._key)
            _check_date(self._certificate, not_after)
        except StartupError as error:
            log.error(
                "certificate_not_reloaded",
                reason=str(error),
                not_after=_shown(self._not_after),
                advice="the one from before is still in use; correct the files, send SIGHUP again",
            )
            return
        self._context, self._not_after = context, not_after
        log.info("certificate_reloaded", file=str(self._certificate), not_after=_shown(not_after))


def open_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate of these settings; None where there is to be none.

    Raises: StartupError.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


class _KeyIsEncrypted(Exception):
    """A pass phrase is asked for. OpenSSL would ask at the terminal, and wait."""


def _load(certificate: Path, key: Path) -> tuple[ssl.SSLContext, datetime]:
    """Return what to encrypt with, and until when the certificate is good. Raises: StartupError."""
    first = _read_certificate(certificate)
    _read(key, "tls-key", _KEY_REMEDY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # with Python's choice of ciphers
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could have the server work for nothing (CVE-2011-1473).
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _KeyIsEncrypted:
        raise StartupError(
            f"--tls-key {key}: the key is encrypted, and nobody is there to give its pass phrase;"
            f" write it without one (openssl pkey -in {key} -out FILE), readable by its owner alone"
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise StartupError(
                f"--tls-key {key}: it does not fit --tls-cert {certificate};"
                " give the key that this certificate was made for"
            ) from error
        if getattr(error, "reason", None) in _TOO_WEAK:
            raise StartupError(
                f"--tls-cert {certificate}: it is too weak to be used"
                f" ({_words(error)}); get one with a longer key or a newer signature"
            ) from error
        raise StartupError(
            f"--tls-key {key}: it has no key that can be used ({_words(error)}); {_KEY_REMEDY}"
        ) from error
    return context, first.not_valid_after_utc


def _check_date(path: Path, not_after: datetime) -> None:
    if not_after < datetime.now(UTC):
        raise StartupError(f"--tls-cert {path}: it has expired ({_shown(not_after)})")


def _read_certificate(path: Path) -> x509.Certificate:
    data = _read(path, "tls-cert", _CERTIFICATE_REMEDY)
    try:
        # All of them: the last one of a chain may be cut off.
        return x509.load_pem_x509_certificates(data)[0]
    except ValueError as error:
        raise StartupError(
            f"--tls-cert {path}: it has no certificate that can be read; {_CERTIFICATE_REMEDY}"
        ) from error


def _read(path: Path, option: str, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if isinstance(error, PermissionError):
            remedy = "let the user that the server runs as read it"
        raise StartupError(
            f"--{option} {path}: it cannot be read ({error.strerror}); {remedy}"
        ) from error


def _refuse_password() -> str:
    raise _KeyIsEncrypted


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return reason.lower().replace("_", " ") if reason else "not PEM"


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

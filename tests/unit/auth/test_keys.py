"""Which keys are taken, from a file and from a set that an issuer publishes."""

from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from landline.auth.keys import JWKS_KEYS, BadKey, Key, public_key, published_keys, secret_key
from support.keys import EC, PRIVATE, RSA, jwk, pem, published


def test_a_secret_is_what_stands_in_the_file_without_its_line_end() -> None:
    secret = b" a secret that begins and ends with a blank "
    assert secret_key(secret + b"\r\n") == Key("HS256", secret)


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 31, b"x" * 31 + b"\n\n"])
def test_a_short_secret_is_refused(content: bytes) -> None:
    """Short ones can be guessed from one token."""
    with pytest.raises(BadKey, match="32 or more"):
        secret_key(content)


def test_a_public_key_is_no_secret() -> None:
    with pytest.raises(BadKey, match="not a secret"):
        secret_key(pem(RSA))


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_public_key_is_for_the_algorithm_of_its_kind(algorithm: str) -> None:
    assert public_key(pem(PRIVATE[algorithm])).algorithm == algorithm


def test_a_certificate_has_a_key() -> None:
    certificate = trustme.CA().issue_cert("id.example").cert_chain_pems[0]
    assert public_key(certificate.bytes()).algorithm == "ES256"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no public key"),
        (b"secret", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no public key"),
        (
            EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "a private key, which stays",
        ),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),  # noqa: S505
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither RSA, nor P-256"),
        (pem(ed448.Ed448PrivateKey.generate()), "neither RSA, nor P-256"),
        (pem(dsa.generate_private_key(2048)), "neither RSA, nor P-256"),
    ],
)
def test_what_is_no_public_key_for_tokens_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(BadKey, match=words):
        public_key(content)


def test_the_keys_of_a_set_have_names() -> None:
    keys = published_keys(published(*map(jwk, PRIVATE)))
    assert len(keys) == len(PRIVATE)
    assert [key.kid for key in keys.find("ES256", "ES256")] == ["ES256"]
    assert len(keys.find("ES256", None)) == 1
    assert not keys.find("ES256", "RS256")
    assert not keys.find("HS256", "ES256")


@pytest.mark.parametrize(
    "entry",
    [
        jwk("ES256", alg=None, use=None, kid=None),
        jwk("EdDSA", alg="Ed25519"),
        jwk("RS256", key_ops=["verify"], x5c=["AAAA"], more={"a": 1}),
    ],
)
def test_what_an_entry_may_leave_out_or_add(entry: dict[str, Any]) -> None:
    assert len(published_keys(published(entry))) == 1


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 7, [], "key", {}, {"kty": "RSA"}, {"kty": ["RSA"]}, {"kty": None}),
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a"},
        jwk("RS256", use="enc"),
        jwk("RS256", alg="RS512"),
        jwk("RS256", alg="HS256"),
        jwk("RS256", alg=7),
        jwk("RS256", alg=["RS256"]),
        jwk("RS256", kid=7),
        jwk("RS256", kty="EC"),
        jwk("RS256", n="AQAB"),
        jwk("RS256", n="!"),
        jwk("RS256", n=7),
        jwk("RS256", key_ops=["encrypt"]),
        jwk("RS256", key_ops="verify"),
        jwk("RS256", d="AQAB"),
        jwk("ES256", crv="P-521"),
        jwk("ES256", crv="secp256k1"),
        jwk("ES256", x="AAAA"),
        jwk("ES256", y=None),
        jwk("EdDSA", crv="X25519"),
        jwk("EdDSA", crv=7),
        jwk("EdDSA", x="AAAA"),
    ],
)
def test_an_entry_that_is_not_for_tokens_is_skipped(entry: object) -> None:
    """And the others are there all the same."""
    keys = published_keys(published(entry, jwk("ES256")))
    assert [key.kid for key in keys.find("ES256", None)] == ["ES256"]
    assert len(keys) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"7", b"null", b'{"keys":{}}', b'{"keys":null}', b"\xff", b"{}"),
        b"[" * 5_000,
        published(*[7] * (JWKS_KEYS + 1)),
    ],
)
def test_what_is_no_set_is_refused(content: bytes) -> None:
    with pytest.raises(BadKey, match="no JSON Web Key Set"):
        published_keys(content)


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(secret_key(b"secret" * 8))

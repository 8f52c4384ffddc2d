"""Who shows which token is who: good ones of four algorithms, and many that are not taken."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from landline.auth.keys import KeySet, public_key, secret_key
from landline.auth.principal import LEEWAY_SECONDS, Principal
from landline.auth.tokens import (
    EARLY_SECONDS,
    TOKEN_BYTES,
    BadToken,
    Claims,
    FileKeys,
    Tokens,
    minted,
)
from support.keys import EC, ED, RSA, pem

NOW = 1_800_000_000.0
SECRET = b"a secret of thirty-two bytes, or more"
CLAIMS = Claims(issuer="https://id.example", audience="chat")
GOOD: Mapping[str, Any] = {
    "sub": "alice",
    "exp": int(NOW) + 3600,
    "iss": "https://id.example",
    "aud": "chat",
}


SIGNERS: Mapping[str, tuple[Any, Callable[[], KeySet]]] = {
    "HS256": (SECRET, lambda: KeySet([secret_key(SECRET)])),
    "RS256": (RSA, lambda: KeySet([public_key(pem(RSA))])),
    "ES256": (EC, lambda: KeySet([public_key(pem(EC))])),
    "EdDSA": (ED, lambda: KeySet([public_key(pem(ED))])),
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT asks the system for the time."""

    class Then(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(NOW, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Then)


def tokens(algorithm: str = "HS256", claims: Claims = CLAIMS) -> Tokens:
    return Tokens([FileKeys(SIGNERS[algorithm][1])], claims, lambda: NOW)


def signed(
    said: Mapping[str, Any], algorithm: str = "HS256", headers: dict[str, Any] | None = None
) -> str:
    return jwt.encode(dict(said), SIGNERS[algorithm][0], algorithm, headers)


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: object, said: object, secret: bytes = SECRET) -> str:
    """Sign with HMAC whatever it is."""
    text = f"{encoded(header)}.{encoded(said)}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_a_good_token_says_who_it_is(algorithm: str) -> None:
    principal = await tokens(algorithm).check(signed(GOOD, algorithm))
    assert principal == Principal("alice", False, GOOD["exp"])


@pytest.mark.parametrize(
    "said",
    [
        {**GOOD, "aud": ["other", "chat"]},
        {**GOOD, "nbf": NOW + EARLY_SECONDS - 1},
        {**GOOD, "iat": NOW + 1_000_000},
        {**GOOD, "exp": NOW - LEEWAY_SECONDS + 1},
        {**GOOD, "exp": NOW + 0.5},
        {**GOOD, "jti": 7, "role": "member", "more": [[1]]},
        {**GOOD, "sub": "Zoë"},
    ],
)
async def test_what_is_unusual_and_good_is_taken(said: dict[str, Any]) -> None:
    principal = await tokens().check(signed(said))
    assert (principal.user, principal.is_service) == (said["sub"], False)


@pytest.mark.parametrize(("left", "lasts"), [(9, 9), (1, 1), (0, 4), (-1, 3), (-3, 1)])
async def test_who_is_let_in_late_may_stay_for_the_leeway(left: float, lasts: float) -> None:
    """Otherwise the session would end at once, come back at once, and so on for all of it."""
    principal = await tokens().check(signed({**GOOD, "exp": NOW + left}))
    assert (principal.expires_at, principal.ends_at) == (NOW + left, NOW + lasts)


async def test_the_product_s_backend_is_told_by_its_role() -> None:
    assert (await tokens().check(signed({**GOOD, "role": "service"}))).is_service
    claims = Claims(user="name", role="kind")
    said = {"name": "backend", "kind": "service", "exp": NOW + 9}
    assert (await tokens(claims=claims).check(signed(said))).is_service


async def test_a_token_that_was_made_here_is_taken_here() -> None:
    for is_service in (True, False):
        token = minted(SECRET, "alice", expires_at=NOW + 60, is_service=is_service, claims=CLAIMS)
        assert await tokens().check(token) == Principal("alice", is_service, NOW + 60)


HEADER = {"alg": "HS256", "typ": "JWT"}
NO_TOKEN = [
    "", "x", "a.b", "a.b.c.d", "a.b.c", ".".join("a" * 3), "Bearer a.b.c", " ", "\x00.\x00.\x00",
    "ä.b.c", "..", "a..c", ".b.c",
]  # fmt: skip
BAD: dict[str, str] = {
    "no algorithm": by_hand({"alg": "none"}, GOOD),
    "no algorithm and no signature": f"{encoded({'alg': 'none'})}.{encoded(GOOD)}.",
    "None": by_hand({"alg": "None"}, GOOD),
    "algorithm missing": by_hand({"typ": "JWT"}, GOOD),
    "algorithm a list": by_hand({"alg": ["HS256"]}, GOOD),
    "algorithm null": by_hand({"alg": None}, GOOD),
    "HS384": jwt.encode(dict(GOOD), SECRET * 2, "HS384"),
    "lower case": by_hand({"alg": "hs256"}, GOOD),
    "another secret": by_hand(HEADER, GOOD, b"another secret of thirty-two bytes or so"),
    "signature of another token": signed(GOOD).rpartition(".")[0]
    + "." + signed({**GOOD, "sub": "bob"}).rpartition(".")[2],
    "claims of another token": ".".join(
        [signed(GOOD).split(".")[0], encoded({**GOOD, "sub": "bob"}), signed(GOOD).split(".")[2]]
    ),
    "signature cut": signed(GOOD)[:-2],
    "signature longer": signed(GOOD) + "AA",
    "kid a number": by_hand({**HEADER, "kid": 7}, GOOD),
    "kid too long": by_hand({**HEADER, "kid": "k" * 300}, GOOD),
    "a critical extension": by_hand({**HEADER, "crit": ["exp"]}, GOOD),
    "an unencoded payload": by_hand({**HEADER, "b64": False, "crit": ["b64"]}, GOOD),
    "expired": signed({**GOOD, "exp": NOW - LEEWAY_SECONDS - 1}),
    "expired long ago": signed({**GOOD, "exp": 0}),
    "no exp": signed({key: value for key, value in GOOD.items() if key != "exp"}),
    "exp null": signed({**GOOD, "exp": None}),
    "exp a text": by_hand(HEADER, {**GOOD, "exp": str(int(NOW) + 60)}),
    "exp true": by_hand(HEADER, {**GOOD, "exp": True}),
    "exp a list": by_hand(HEADER, {**GOOD, "exp": [NOW + 60]}),
    "exp not a number": by_hand(HEADER, {**GOOD, "exp": float("nan")}),
    "exp infinite": by_hand(HEADER, {**GOOD, "exp": float("inf")}),
    "exp no time": by_hand(HEADER, {**GOOD, "exp": 1e300}),
    "exp negative": by_hand(HEADER, {**GOOD, "exp": -1}),
    "exp of a thousand digits": by_hand(
        HEADER, json.dumps({**GOOD, "exp": 0}).replace(": 0", ": " + "9" * 1000).encode()
    ),
    "not yet": signed({**GOOD, "nbf": NOW + EARLY_SECONDS + 1}),
    "nbf a text": by_hand(HEADER, {**GOOD, "nbf": "now"}),
    "nbf no time": by_hand(HEADER, {**GOOD, "nbf": float("nan")}),
    "another issuer": signed({**GOOD, "iss": "https://evil.example"}),
    "issuer longer": signed({**GOOD, "iss": "https://id.example.evil"}),
    "issuer a list": by_hand(HEADER, {**GOOD, "iss": ["https://id.example"]}),
    "no issuer": signed({key: value for key, value in GOOD.items() if key != "iss"}),
    "another audience": signed({**GOOD, "aud": "mail"}),
    "audience a part": signed({**GOOD, "aud": "chats"}),
    "audience a list of others": signed({**GOOD, "aud": ["mail", "chats"]}),
    "audience an object": by_hand(HEADER, {**GOOD, "aud": {"chat": 1}}),
    "no audience": signed({key: value for key, value in GOOD.items() if key != "aud"}),
    "nobody": signed({key: value for key, value in GOOD.items() if key != "sub"}),
    "a list of people": by_hand(HEADER, {**GOOD, "sub": ["alice"]}),
    "a number": by_hand(HEADER, {**GOOD, "sub": 7}),
    "an empty name": signed({**GOOD, "sub": ""}),
    "no name": signed({**GOOD, "sub": "dm:alice:bob"}),
    "a name too long": signed({**GOOD, "sub": "x" * 65}),
    "an invisible name": signed({**GOOD, "sub": "ali\u200bce"}),
    "claims a list": by_hand(HEADER, [GOOD]),
    "claims a text": by_hand(HEADER, "alice"),
    "claims no JSON": by_hand(HEADER, b"{"),
    "claims no UTF-8": by_hand(HEADER, b'{"sub":"\xff"}'),
    "claims deep": by_hand(HEADER, b"[" * 5_000),
    "header a list": by_hand([HEADER], GOOD),
    "header no JSON": by_hand(b"{", GOOD),
    "header deep": by_hand(b'{"a":' * 900, GOOD),
    "ten kibibytes": signed({**GOOD, "more": "x" * 10_240}),
    "longer than it may be": "a" * TOKEN_BYTES + ".b.c",
    "a public key": jwt.encode(dict(GOOD), RSA, "RS256"),
    "encrypted": ".".join([encoded({"alg": "dir", "enc": "A128GCM"}), "", "a", "b", "c"]),
    **{f"no token: {text!r}": text for text in NO_TOKEN},
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_refused_in_a_sentence_that_holds_nothing_of_it(kind: str) -> None:
    token = BAD[kind]
    with pytest.raises(BadToken) as refused:
        await tokens().check(token)
    said = str(refused.value)
    assert said.startswith(("the token", "this is not "))
    assert len(said) < 200
    assert not any(part in said for part in token.split(".") if len(part) > 3)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """The oldest trick: the public key, which everybody has, as the secret of an HMAC."""
    public = pem(SIGNERS[algorithm][0])
    for secret in (public, public.strip(), public.rstrip(b"\n")):
        with pytest.raises(BadToken, match="not known here"):
            await tokens(algorithm).check(by_hand(HEADER, GOOD, secret))


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_a_key_is_for_its_own_algorithm(algorithm: str) -> None:
    for other in SIGNERS.keys() - {algorithm}:
        with pytest.raises(BadToken, match="not known here"):
            await tokens(algorithm).check(signed(GOOD, other))


async def test_without_an_audience_of_its_own_a_server_takes_tokens_for_nobody_else() -> None:
    """RFC 7519, section 4.1.3."""
    said = {"sub": "alice", "exp": NOW + 60}
    assert (await tokens(claims=Claims()).check(signed(said))).user == "alice"
    with pytest.raises(BadToken, match="--jwt-audience"):
        await tokens(claims=Claims()).check(signed({**said, "aud": "mail"}))


async def test_keys_that_are_read_again_are_the_ones_that_count() -> None:
    secrets = [SECRET]
    keys = FileKeys(lambda: KeySet(map(secret_key, secrets)))
    checker = Tokens([keys], CLAIMS, lambda: NOW)
    new = b"the next secret of thirty-two bytes, or more"
    token = by_hand(HEADER, GOOD, new)
    with pytest.raises(BadToken, match="signature"):
        await checker.check(token)
    secrets.append(new)
    keys.read_again()
    assert (await checker.check(token)).user == "alice"
    assert (await checker.check(signed(GOOD))).user == "alice"
    secrets.remove(SECRET)
    keys.read_again()
    with pytest.raises(BadToken, match="signature"):
        await checker.check(signed(GOOD))


async def test_keys_of_several_places_are_all_tried() -> None:
    """The backend's own key in a file, and an issuer's: each signs with an algorithm of its own, or
    both with the same one.
    """
    other = ec.generate_private_key(ec.SECP256R1())
    places = [
        FileKeys(lambda: KeySet([secret_key(SECRET), public_key(pem(other))])),
        FileKeys(SIGNERS["ES256"][1]),
    ]
    checker = Tokens(places, CLAIMS, lambda: NOW)
    for token in (
        signed(GOOD),
        signed(GOOD, "ES256"),
        jwt.encode(dict(GOOD), other, "ES256"),
    ):
        assert (await checker.check(token)).user == "alice"
    with pytest.raises(BadToken, match="signature"):
        await checker.check(
            jwt.encode(dict(GOOD), ec.generate_private_key(ec.SECP256R1()), "ES256")
        )


def test_the_clock_of_the_tests_is_not_the_one_on_the_wall() -> None:
    assert abs(time.time() - NOW) > 1_000

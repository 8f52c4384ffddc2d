"""Values in sentences: secrets stay hidden, and nothing garbles the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.config import SecretUrl, Settings
from landline.config.values import mask
from support.configuration import refusal

URLS = st.builds(
    "{}://{}:{}@{}/db".format,
    st.sampled_from(["postgresql", "postgres", "redis", "http"]),
    st.text("abcdef", max_size=6),
    st.just("hunter2").flatmap(
        lambda word: st.text("/@:?#%[] \n", max_size=4).map(lambda odd: odd + word + odd)
    ),
    st.text("xyz.", min_size=1, max_size=6),
)


@given(URLS)
def test_a_password_in_a_url_is_never_shown(url: str) -> None:
    secret = SecretUrl(url)
    assert secret.reveal() == url
    for shown in (
        mask(url),
        str(secret),
        repr(secret),
        f"{secret}",
        str(Settings(postgres=secret)),
    ):
        assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "host=h password=hunter2 user=u",
        "host=h PASSWORD = 'hunter2 hunter2'",
        "postgresql://h/db?password=hunter2",
        "user:hunter2@h",
        "postgresql:/u:hunter2@h",
    ],
)
def test_a_password_in_a_malformed_url_is_not_shown_either(text: str) -> None:
    assert "hunter2" not in refusal({"postgres": text})
    assert "hunter2" not in refusal({}, {"LANDLINE_REDIS": text})


def test_a_value_cannot_garble_the_terminal_or_fill_it() -> None:
    sentence = refusal({"server-id": "\x1b[2J\n" + "x" * 10_000})
    assert sentence.isprintable()
    assert len(sentence) < 400


def test_secrets_of_equal_urls_are_equal() -> None:
    assert SecretUrl("redis://h") == SecretUrl("redis://h")
    assert len({SecretUrl("redis://h"), SecretUrl("redis://h"), SecretUrl("redis://i")}) == 2

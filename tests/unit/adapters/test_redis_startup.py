"""Redis URLs with a mistake in them, while there is no Redis to ask."""

import pytest

from landline.adapters.redis import check
from landline.errors import StartupError

SECRET = "hunter2"
NOBODY = f"u:{SECRET}@127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        (f"redis://{NOBODY}?protocol=9", "protocol"),
        (f"redis://{NOBODY}?socket_timeout=soon", "socket_timeout"),
        (f"redis://{NOBODY}?no_such_option=1", "no_such_option"),
        (f"redis://{NOBODY}?ssl_ca_certs=/etc/hosts", "ssl_ca_certs"),
        (f"redis://{NOBODY}?max_connections=-1", "max_connections"),
        (f"rediss://{NOBODY}?ssl_cert_reqs=zzz", "zzz"),
        (f"rediss://{NOBODY}?ssl_ca_certs=/no/such/file", "No such file"),
        (f"rediss://{NOBODY}?ssl_ca_certs=/etc/hosts", "CERTIFICATE"),
        (f"rediss://{NOBODY}?ssl_certfile=/no/such/file", "No such file"),
        (f"rediss://{NOBODY}?ssl_ciphers=zzz", "cipher"),
        ("unix:///no/such/socket?protocol=9", "protocol"),
        ("unix:///no/such/socket?ssl_cert_reqs=none", "ssl_cert_reqs"),
    ],
)
async def test_a_mistake_in_the_url_is_no_outage(url: str, word: str) -> None:
    with pytest.raises(StartupError) as caught:
        await check(url)
    sentence = str(caught.value)
    assert sentence.startswith("--redis ")
    assert word in sentence.partition("cannot be used")[2]
    assert SECRET not in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"redis://{NOBODY}",
        f"redis://{NOBODY}?health_check_interval=5",
        f"rediss://{NOBODY}?ssl_cert_reqs=none",
        "unix:///no/such/socket?db=1",
    ],
)
async def test_an_outage_is_no_mistake(url: str) -> None:
    await check(url)

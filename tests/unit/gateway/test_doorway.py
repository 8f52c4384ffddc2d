"""What a line in the log says of a request that was refused."""

import pytest

from landline.gateway.doorway import _facts

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET http://user:hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hun?hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2?a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2#a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2 a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2@b@h/x?y HTTP/1.1", "http://***@h/x"),
        ("GET http:/user:hunter2@h/x HTTP/1.1", "http:/***@h/x"),
        ("GET //user:hunter2@h/x HTTP/1.1", "//***@h/x"),
        ("GET HTTPS://user:hunter2@[::1]:8443/x HTTP/1.1", "HTTPS://***@[::1]:8443/x"),
        ("CONNECT user:hunter2@h:443 HTTP/1.1", "***@h:443"),
        ("GET\thttp://user:hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://h/x?token=hunter2 HTTP/1.1", "http://h/x"),
        ("GET /x#token=hunter2 HTTP/1.1", "/x"),
        ("GET /x?token=hunter2 HTTP/1.1", "/x"),
        ("GET /a@b/x HTTP/1.1", "/a@b/x"),
        ("GET http://h/x HTTP/1.1", "http://h/x"),
        ("OPTIONS * HTTP/1.1", "*"),
        ("http://user:hunter2@h/x", None),
        ("user:hunter2@h", None),
        ("GET", None),
        ("", None),
    ],
)
def test_a_target_is_told_without_what_may_be_secret(line: str, path: str | None) -> None:
    facts = _facts(f"{line}\r\nOrigin: https://user:hunter2@page.example\r\n\r\n".encode())
    assert facts.get("path") == path
    assert facts["origin"] == "https://***@page.example"
    assert SECRET not in str(facts)


def test_a_user_is_told_from_the_header_or_the_query() -> None:
    facts = _facts(b"GET http://h/ws?username=a%40b&x=1 HTTP/1.1\r\n\r\n")
    assert (facts["method"], facts["user"]) == ("GET", "a@b")
    assert _facts(b"GET / HTTP/1.1\r\nusername: eve\r\n\r\n")["user"] == "eve"

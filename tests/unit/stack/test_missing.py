"""What a stack needs and a machine has not: the sentence says how to get it, and from whom."""

from collections.abc import Callable
from pathlib import Path

import pytest

from landline_stack import java, postgres, redis
from landline_stack.errors import Missing


@pytest.mark.parametrize(
    "find",
    [java.find_java, postgres.find_postgres, redis.find_redis],
    ids=lambda find: find.__name__,
)
def test_nobody_is_sent_to_a_strangers_package(
    find: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (java, postgres, redis):
        monkeypatch.setattr(module, "find_in_wheel", lambda *_: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Missing) as caught:
        find()
    assert "its extra `stack`" in str(caught.value)
    assert "install landline" not in str(caught.value)
    assert "install 'landline" not in str(caught.value)

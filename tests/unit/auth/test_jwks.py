"""The issuer is asked seldom, may be away, and takes keys back."""

import asyncio

import pytest

from landline.auth.jwks import AGAIN_SECONDS, FRESH_SECONDS, CannotFetch, PublishedKeys
from landline.auth.tokens import KeysUnavailable
from support.clock import Clock
from support.keys import jwk, published
from support.replays import in_virtual_time
from support.waiting import go_round, running


class Issuer:
    """Publishes keys by their names; may be away."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0
        self.is_away = False
        self.is_slow: asyncio.Event | None = None

    async def fetch(self) -> bytes:
        self.asked += 1
        if self.is_slow is not None:
            await self.is_slow.wait()
        if self.is_away:
            raise CannotFetch("nobody answers at https://id.example/keys")
        return published(*(jwk("ES256", kid=name) for name in self.names))


def names(keys: PublishedKeys) -> list[str | None]:
    assert keys.keys is not None
    return [key.kid for key in keys.keys.find("ES256", None)]


async def test_a_new_key_is_found_by_the_first_token_that_it_has_signed() -> None:
    """And a name that somebody made up has the issuer asked once in half a minute."""
    clock, issuer = Clock(), Issuer("old")
    keys = PublishedKeys(issuer.fetch, clock)
    assert len(await keys.keys_for("ES256", "old")) == issuer.asked == 1
    issuer.names.append("new")
    for _ in range(10):
        await keys.keys_for("ES256", "old")
    assert issuer.asked == 1
    clock.now += AGAIN_SECONDS
    assert (await keys.keys_for("ES256", "new")).find("ES256", "new")
    for number in range(100):
        await keys.keys_for("ES256", f"made up {number}")
    assert issuer.asked == 2
    clock.now += AGAIN_SECONDS
    await keys.keys_for("ES256", "made up")
    assert issuer.asked == 3


async def test_many_who_wait_are_one_question() -> None:
    issuer = Issuer("one")
    issuer.is_slow = asyncio.Event()
    keys = PublishedKeys(issuer.fetch, Clock())
    asking = [asyncio.create_task(keys.keys_for("ES256", f"{number}")) for number in range(50)]
    await go_round(5)
    issuer.is_slow.set()
    assert {len(each) for each in await asyncio.gather(*asking)} == {1}
    assert issuer.asked == 1


async def test_one_who_loses_patience_takes_the_question_with_them_and_no_more() -> None:
    issuer = Issuer("one")
    issuer.is_slow = asyncio.Event()
    keys = PublishedKeys(issuer.fetch, Clock())
    first, second = (asyncio.create_task(keys.keys_for("ES256", "one")) for _ in range(2))
    await go_round(5)
    first.cancel()
    issuer.is_slow.set()
    assert len(await second) == 1


async def test_while_the_issuer_is_away_the_last_keys_stay() -> None:
    clock, issuer = Clock(), Issuer("one")
    keys = PublishedKeys(issuer.fetch, clock)
    await keys.keys_for("ES256", "one")
    issuer.is_away = True
    clock.now += AGAIN_SECONDS
    with pytest.raises(KeysUnavailable):  # it may have been published meanwhile: nobody can say
        await keys.keys_for("ES256", "two")
    assert keys.trouble == "nobody answers at https://id.example/keys"
    assert (await keys.keys_for("ES256", "one")).find("ES256", "one")


async def test_without_any_keys_nobody_can_say() -> None:
    clock, issuer = Clock(), Issuer("one")
    issuer.is_away = True
    keys = PublishedKeys(issuer.fetch, clock)
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match="nobody answers"):
            await keys.keys_for("ES256", "one")
    assert issuer.asked == 1
    issuer.is_away = False
    clock.now += AGAIN_SECONDS
    assert len(await keys.keys_for("ES256", "one")) == 1
    assert keys.trouble is None


async def test_a_set_without_a_usable_key_does_not_take_the_place_of_a_good_one() -> None:
    clock, issuer = Clock(), Issuer("one")
    keys = PublishedKeys(issuer.fetch, clock)
    await keys.keys_for("ES256", "one")
    issuer.names.clear()
    clock.now += AGAIN_SECONDS
    with pytest.raises(KeysUnavailable):
        await keys.keys_for("ES256", "two")
    assert len(await keys.keys_for("ES256", "one")) == 1
    assert keys.trouble == "what was fetched has no key that could be used here"


async def test_a_secret_is_never_looked_for_among_published_keys() -> None:
    issuer = Issuer("one")
    keys = PublishedKeys(issuer.fetch, Clock())
    assert len(await keys.keys_for("HS256", None)) == issuer.asked == 0


@pytest.mark.parametrize("has_names", [True, False], ids=["names", "no names"])
async def test_a_key_that_has_changed_without_a_name_is_noticed_by_the_wrong_signature(
    has_names: bool,
) -> None:
    """Where keys have names, a bad signature is no reason to ask."""
    entries = [jwk("ES256", kid="one" if has_names else None)]
    asked = 0

    async def fetch() -> bytes:
        nonlocal asked
        asked += 1
        return published(*entries)

    clock = Clock()
    keys = PublishedKeys(fetch, clock)
    before = await keys.keys_for("ES256", "one")
    clock.now += AGAIN_SECONDS
    again = await keys.look_again(before, "one")
    assert (again is None) == has_names
    assert asked == (1 if has_names else 2)
    if not has_names:
        assert await keys.look_again(before, "one") is again, "another one waited for it"
        assert await keys.look_again(again, "one") is None, "and it was just asked"  # type: ignore[arg-type]
        assert asked == 2


@in_virtual_time
async def test_a_key_that_the_issuer_takes_back_is_gone_soon_and_nobody_has_to_ask() -> None:
    issuer = Issuer("one", "stolen")
    keys = PublishedKeys(issuer.fetch, Clock())
    async with running(keys.run()):
        await asyncio.sleep(1)
        assert names(keys) == ["one", "stolen"]
        issuer.names.remove("stolen")
        await asyncio.sleep(FRESH_SECONDS)
        assert names(keys) == ["one"]
        issuer.is_away = True
        await asyncio.sleep(FRESH_SECONDS + 1)
        assert keys.trouble is not None
        assert names(keys) == ["one"]
        issuer.is_away = False
        await asyncio.sleep(60)  # sooner than if all had been well
        assert keys.trouble is None


async def test_whoever_hangs_up_does_not_have_the_issuer_asked_again() -> None:
    """A flood of made-up keys by clients that leave at once is one question in half a minute."""
    issuer = Issuer("one")
    issuer.is_slow = asyncio.Event()
    clock = Clock()
    keys = PublishedKeys(issuer.fetch, clock)
    for number in range(20):
        asking = asyncio.create_task(keys.keys_for("ES256", f"made up {number}"))
        await go_round(3)
        asking.cancel()
        await go_round(3)
    assert issuer.asked == 1
    issuer.is_slow.set()
    assert len(await keys.keys_for("ES256", "one")) == 1
    assert issuer.asked == 1

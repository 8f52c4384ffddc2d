"""What people write: addresses become links if they are safe, and no character is cut in two."""

import pytest
from playwright.sync_api import expect

from browser.conftest import OpenWindow
from browser.scripted import ScriptedServer, message, talking
from browser.window import Window
from browser.work import StepCounter

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("files")]

# text -> the links in it: what is shown, where it leads (the same if None)
LINKS: dict[str, list[tuple[str, str | None]]] = {
    "https://example.org/a?b=c&d=%20#e": [("https://example.org/a?b=c&d=%20#e", None)],
    "see https://example.org/x. Or http://example.net/y, both!": [
        ("https://example.org/x", None),
        ("http://example.net/y", None),
    ],
    "(https://en.example.org/wiki/Line_(phone))": [
        ("https://en.example.org/wiki/Line_(phone)", None)
    ],
    "[https://example.org/]": [("https://example.org/", None)],
    "Really https://example.org/?!": [("https://example.org/", None)],
    "“https://example.org/quoted”": [("https://example.org/quoted", None)],
    "看https://example.org/路。然后": [("https://example.org/路", "https://example.org/%E8%B7%AF")],
    "HTTPS://EXAMPLE.ORG/A": [("HTTPS://EXAMPLE.ORG/A", "https://example.org/A")],
    "https://bücher.example/": [("https://bücher.example/", "https://xn--bcher-kva.example/")],
    "https://日本語ラーメン.jp": [
        ("https://日本語ラーメン.jp", "https://xn--4dkp5a8a5557ccvb2w6i.jp/")
    ],
    "https://пример.рф/": [("https://пример.рф/", "https://xn--e1afmkfd.xn--p1ai/")],
    "http://127.0.0.1:8081/x": [("http://127.0.0.1:8081/x", None)],
    "http://[::1]:8081/x": [("http://[::1]:8081/x", None)],
    "https://example.org:443/": [("https://example.org:443/", "https://example.org/")],
    "write to mailto:bob@example.org.": [("mailto:bob@example.org", None)],
    # The address ends where it can no longer be seen what it is.
    "see https://example.org\u200b next": [("https://example.org", "https://example.org/")],
    "(\u2067https://example.org\u2069).": [("https://example.org", "https://example.org/")],
    "\u2067https://example.org/\u2069": [("https://example.org/", None)],
    "https://example.org/\u202egpj.exe": [("https://example.org/", None)],
    "https://example.org/a\u200bb": [("https://example.org/a", None)],
    '<a href="https://example.org/">x</a>': [("https://example.org/", None)],
    "https://example.org/<b>x": [("https://example.org/", None)],
    "https://example.org/\\@evil.example": [("https://example.org/", None)],
}
# What cannot be seen, and would cut a host short: controls, formats, unassigned, ignorable.
UNSEEN = ["\u200b", "\u2060", "\ufeff", "\u0080", "\u2065", "\U000e0080", "\u200b" * 40]
# Letters and marks that look like a dot or a slash.
LOOKALIKES = ["\u30ce", "\u4e3f", "\u01c0", "\ua4f8", "\u1427", "\u0338"]
NO_LINKS = [
    *(f"https://evil.example{unseen}.bank.example/" for unseen in UNSEEN),
    *(f"https://evil.example{unseen}-x.bank.example" for unseen in UNSEEN),
    *(f"https://ba{unseen}nk.example" for unseen in UNSEEN),
    *(f"mailto:bob@evil.example{unseen}.bank.example" for unseen in UNSEEN),
    *(f"https://bank.example{sign}login.evil.example/" for sign in LOOKALIKES),
    "https://\u0430\u0440\u0440\u04cf\u0435.com/",  # "apple" in Cyrillic letters
    "https://b\u0430nk.example/",  # one of them
    "javascript:alert(1)",
    "JavaScript://%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://example.org/",
    "intent://example.org/#Intent;end",
    "blob:null/0",
    "java\nscript:alert(1)",
    "https://",
    "https:///example.org",
    "https:example.org",
    "https://?",
    "http://.",
    "https://bank.example@evil.example/",
    "https://bank.example:pass@evil.example/",
    "https://bank.example%2f@evil.example/",
    "http://0x7f.1/",
    "http://2130706433/",
    "https://exa%6dple.org/",
    "https://bank.example\u2215login.evil.example/",
    "https://bank.example\uff0fx.evil.example/",
    "https://\uff42\uff41\uff4e\uff4b.example/",
    "https://bank\uff0eexample/",
    "https://example.org:99999/",
    "https://[::1/",
    "https://exa\u00admple.org",
    "https://exa\u200b\u202emple.org/x",
    "xhttps://example.org/",
    "mailto:",
    "mailto:bob@example.org?attach=/etc/passwd",
    "mailto:a@b,c@d",
    "https://example.org/" + "x" * 2_100,
]


def test_safe_addresses_are_links_and_lead_where_they_say(open_window: OpenWindow) -> None:
    texts = list(LINKS)
    alice = _reading(open_window, texts)
    found = alice.page.get_by_test_id("content").evaluate_all(
        """(all) => all.map((node) => [...node.querySelectorAll("*")].map((link) => [
            link.localName, link.textContent, link.getAttribute("href"), link.title, link.target,
            link.rel, getComputedStyle(link).unicodeBidi, getComputedStyle(link).direction,
        ]))"""
    )
    expected = []
    for links in LINKS.values():
        of_text = []
        for shown, address in links:
            href = address or shown
            rel = "noopener noreferrer"
            of_text.append(["a", shown, href, href, "_blank", rel, "isolate", "ltr"])
        expected.append(of_text)
    assert dict(zip(texts, found, strict=True)) == dict(zip(texts, expected, strict=True))
    # And the text is what was written, to the letter.
    shown = alice.page.get_by_test_id("content").evaluate_all(
        "(all) => all.map(n => n.textContent)"
    )
    assert shown == texts


def test_what_is_not_safe_is_text(open_window: OpenWindow) -> None:
    alice = _reading(open_window, NO_LINKS)
    elements = alice.page.get_by_test_id("content").evaluate_all(
        "(all) => all.map((node) => [node.textContent, node.childElementCount])"
    )
    assert elements == [[text, 0] for text in NO_LINKS]


def test_a_link_opens_a_window_that_knows_nothing_of_this_one(open_window: OpenWindow) -> None:
    address = "https://elsewhere.example/x"
    alice = _reading(open_window, [f"look: {address}"])
    alice.context.route(
        address, lambda route: route.fulfill(body="there", content_type="text/html")
    )
    with alice.page.expect_popup() as opening:
        alice.page.get_by_role("link", name=address).click()
    assert opening.value.evaluate("[window.opener, document.referrer]") == [None, ""]


# Each is one character to a person, and several code units to a computer.
CHARACTERS = {
    "a pair": "\N{GRINNING FACE}",
    "a skin colour": "\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}",
    "a family": "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}",
    "a flag": "\U0001f1e9\U0001f1ea",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "two marks": "q\N{COMBINING DOT BELOW}\N{COMBINING TILDE}",
    "a heart": "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}",
    "a syllable of letters": "\u1112\u1161\u11ab",
    "a line end": "\r\n",
}


@pytest.mark.parametrize("has_segmenter", [True, False])
def test_a_preview_ends_between_characters(open_window: OpenWindow, has_segmenter: bool) -> None:
    texts = [f"{'x' * at}{one * 40}" for one in CHARACTERS.values() for at in range(96, 104)]
    script = "" if has_segmenter else "delete Intl.Segmenter"
    window = open_window(None)
    window.page.add_init_script(script)
    window.visit()
    previews = window.page.evaluate(
        """async (texts) => {
            const app = document.querySelector("script[src]").src;
            const { beginning } = await import(new URL("text.js", app));
            return texts.map((text) => beginning(text, 100));
        }""",
        texts,
    )
    for text, preview in zip(texts, previews, strict=True):
        [one] = [one for one in CHARACTERS.values() if text.endswith(one)]
        plain = len(text) - len(one) * 40
        characters = min(100, plain) * ["x"] + max(0, 100 - plain) * [one]
        assert preview == "".join(characters), (text, preview)


@pytest.mark.parametrize("has_segmenter", [True, False])
def test_the_list_shows_whole_characters(open_window: OpenWindow, has_segmenter: bool) -> None:
    family = CHARACTERS["a family"]
    monster = "z" + "\N{COMBINING TILDE}" * 5_000  # one character, if one believes Unicode
    flag = f"{CHARACTERS['a flag']}flag"
    window = open_window(None)
    if not has_segmenter:
        window.page.add_init_script("delete Intl.Segmenter")
    server = ScriptedServer(window.page)
    window.visit("?as=alice&to=bob")
    window.expect_connection("Connected")
    server.push(
        message("x" * 99 + family * 3, 1, "bob"),
        message(monster, 2, "carol"),
        message("hello", 3, flag),
    )
    preview = window.conversation("bob").locator(".preview")
    expect(preview).to_have_text("x" * 99 + family)
    expect(window.conversation("carol").locator(".preview")).to_have_text("z")
    expect(window.conversation(flag).locator(".avatar")).to_have_text(CHARACTERS["a flag"])


# What may be there so often that nobody can look at the whole text again for each of them.
TAILS = [
    ")", "]", ")]", "()", "(", "].", ")'", ".", "!?", "/", "a/../", "@", ":", "-", "%20", "&a=",
    "\u00fc.", "\u0301\u0323", "\u4e00", "\u200b", "\U0001f1e9", "\U0001f468\u200d", "\u1112\u1161",
    " ", "http://", "mailto:a@",
]  # fmt: skip
HEADS = ["", "http://a.b/", "http://"]

# A short text, an address as long as one may be, and a message as long as one may be.
SIZES = [256, 2_040, 16 * 1_024]


@pytest.mark.parametrize(
    ("module", "name", "rest"),
    [
        ("links.js", "findLinks", []),
        ("text.js", "beginning", [100]),
        ("names.js", "tidyName", []),
        ("names.js", "nameProblem", []),
    ],
)
def test_the_work_for_a_text_grows_as_the_text_does(
    open_window: OpenWindow, module: str, name: str, rest: list[int]
) -> None:
    counter = StepCounter(open_window())
    for head in HEADS:
        for tail in TAILS:
            steps = [counter.steps(module, name, _filled(head, tail, size), rest) for size in SIZES]
            each = [taken / size for taken, size in zip(steps, SIZES, strict=True)]
            assert max(each) <= 2 * each[0] + 2, (head, tail, steps)


def _filled(head: str, tail: str, size: int) -> str:
    """Return a text of about `size`, of addresses as long as one may be."""
    one = head + tail * ((min(size, SIZES[1]) - len(head)) // len(tail))
    return f"{one} " * (size // len(one))


def _reading(open_window: OpenWindow, texts: list[str]) -> Window:
    window, server = talking(open_window)
    server.push(*(message(text, offset) for offset, text in enumerate(texts, 1)))
    expect(window.page.get_by_test_id("content")).to_have_count(len(texts))
    return window

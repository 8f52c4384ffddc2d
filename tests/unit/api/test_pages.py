"""The web client's files: which address each has, and who may keep it."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest

from landline.api import pages as pages_module
from landline.api.http import Http, Readiness, RequestRefused
from landline.api.pages import load_pages

IMPORT = re.compile(rb'(?:from|import) "([^"]+)"')
WEB = Path(pages_module.__file__).parents[1] / "web"
UNVERSIONED = {"/", "/embed.js"}


def _named_by_the_page() -> list[str]:
    html = load_pages()["/"].body.decode()
    return re.findall(r'(?:src|href)="([^"?#]+\.[a-z]+)"', html)


def _versions(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(pages_module, "files", lambda _package: root)
    return {path.split("/")[2] for path in load_pages() if path not in UNVERSIONED}


def test_the_page_and_its_modules_name_only_files_of_their_own_version() -> None:
    pages = load_pages()
    named = _named_by_the_page()
    assert named, "a page without files?"
    todo = [f"/{address}" for address in named]  # relative ones: below a prefix they work too
    seen = set()
    while todo:
        path = todo.pop()
        assert re.fullmatch(r"/web/[0-9a-f]{16}/[\w.-]+", path)
        assert path in pages
        if path not in seen and path.endswith(".js"):
            imports = IMPORT.findall(pages[path].body)
            todo += [normpath(join(dirname(path), found.decode())) for found in imports]
        seen.add(path)
    assert seen == set(pages) - UNVERSIONED, (
        "every file is used, and none has an address without version"
    )


@pytest.mark.parametrize("name", ["index.html", "chat.js", "style.css", "favicon.svg"])
def test_one_changed_file_gives_every_file_another_address(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").mkdir()
    for file in WEB.iterdir():
        (tmp_path / "web" / file.name).write_bytes(file.read_bytes())
    [before] = _versions(tmp_path, monkeypatch)
    assert {before} == _versions(WEB.parent, monkeypatch)
    changed = tmp_path / "web" / name
    changed.write_bytes(changed.read_bytes() + b"\n")
    [after] = _versions(tmp_path, monkeypatch)
    assert before != after


def test_only_what_never_changes_is_kept() -> None:
    others = {"/": "no-store", "/embed.js": "public, max-age=3600"}
    for path, page in load_pages().items():
        kept = page.headers["Cache-Control"]
        assert kept == others.get(path, "public, max-age=31536000, immutable")


def test_no_script_but_ours_runs_within_the_page() -> None:
    page = load_pages()["/"]
    scripts = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    hashes = [f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts]
    policy = page.headers["Content-Security-Policy"]
    assert len(hashes) == 1
    assert f"script-src 'self' {hashes[0]};" in policy
    assert "unsafe" not in policy


def test_the_page_knows_how_its_server_learns_who_somebody_is() -> None:
    for auth in ("none", "jwt", "proxy"):
        body = load_pages(auth)["/"].body
        assert re.findall(rb'<meta name="landline-auth" content="(.*?)">', body) == [auth.encode()]


def test_only_pages_of_origins_that_may_connect_can_show_the_page_within_them() -> None:
    def ancestors(*origins: str) -> str:
        policy = load_pages("jwt", origins)["/"].headers["Content-Security-Policy"]
        return policy.partition("frame-ancestors ")[2]

    assert ancestors() == "'none'"
    assert ancestors("https://b.example", "https://a.example:8443", "tauri://localhost") == (
        "https://a.example:8443 https://b.example tauri://localhost"
    )
    # Browsers know no such source, and say so in the console.
    assert ancestors("http://[::1]:8000") == "'none'"
    assert ancestors("http://[::1]:8000", "https://a.example") == "https://a.example"


def test_of_all_files_other_sites_may_import_one() -> None:
    pages = load_pages()
    shared = {path for path, page in pages.items() if "Access-Control-Allow-Origin" in page.headers}
    assert shared == {"/embed.js"}
    assert not re.search(rb"^import ", pages["/embed.js"].body, re.MULTILINE), (
        "it stands alone, in every release"
    )


@pytest.mark.parametrize(
    ("path", "is_explained"),
    [
        ("/web/0123456789abcdef/app.js", True),
        ("/web/0123456789abcdef/no-longer-there.js", True),
        ("/web/app.js", False),
        ("/web/0123456789abcdef/", False),
        ("/web/0123456789ABCDEF/app.js", False),
        ("/web/0123456789abcdef/web/app.js", False),
        ("/web/0123456789abcde/app.js", False),
    ],
)
def test_a_file_of_another_release_is_not_found_and_the_answer_says_why(
    path: str, is_explained: bool
) -> None:
    with pytest.raises(RequestRefused) as error:
        Http(Readiness, bytes).answer("GET", path)
    assert error.value.status == 404
    assert ("another release" in error.value.reason) is is_explained
    assert error.value.answer().headers["Cache-Control"] == "no-store"

"""The site: built strictly, every page in it, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.documented import TOP, documents

FETCHING = {
    "script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src", "audio": "src",
    "object": "data", "embed": "src", "form": "action", "base": "href",
}  # fmt: skip
"""What a browser asks for, or sends to, by itself or at a press of a button that is not a link."""


def build(folder: Path, config: Path = TOP / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=TOP)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in [*documents(), TOP / "CHANGELOG.md"]:
        path = page.relative_to(TOP).with_suffix(".html")
        assert (site / (path.with_name("index.html") if path.stem == "README" else path)).is_file(), page


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            values = dict(attributes)
            address = values.get(FETCHING.get(tag, ""), "") or ""
            if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
                return
            if re.match(r"(?:[a-z]+:)?//", address):
                fetched.append(f"{page.relative_to(site)}: <{tag}> {address}")

    for page in site.rglob("*.html"):
        Reader().feed(page.read_text(encoding="utf-8"))
    for sheet in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.S)
        fetched += [
            f"{sheet.relative_to(site)}: {url}" for url in re.findall(r"url\([\"']?((?:https?:)?//[^)]+)", text)
        ]
        fetched += [f"{sheet.relative_to(site)}: {url}" for url in re.findall(r"@import\s+[^;]*//[^;]+", text)]
    for script in site.rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        called = (
            r"(?:fetch|importScripts|Worker|import|open)\(\s*[\"'`](?:[\"'`]\s*,\s*[\"'`])?((?:https?:)?//[^\"'`]+)"
        )
        fetched += [f"{script.relative_to(site)}: {url}" for url in re.findall(called, text)]
    assert fetched == []


def test_a_broken_link_or_anchor_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    page = tmp_path / "pages/index.md"
    rules = (TOP / "mkdocs.yml").read_text().split("validation:", 1)[1].split("nav:\n  - Start", 1)[0]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\ndocs_dir: pages\ntheme: mkdocs\nvalidation:{rules}")
    for text, fails in (("# A\n\n[a](#a)\n", False), ("# A\n\n[b](#b)\n", True), ("# A\n\n[c](c.md)\n", True)):
        page.write_text(text)
        assert (build(tmp_path / "site", tmp_path / "mkdocs.yml").returncode != 0) == fails, text

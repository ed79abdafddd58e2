"""Pictures of every page for the documentation: light, dark and 390 px, from a real app with a real project.

    python -m scripts.screenshots [FOLDER ...]     (make screenshots)

The folders (default: this repository) become projects of a throw-away home; docs/screenshots is replaced.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from gardener.app import Gardener
from gardener.paths import Paths
from gardener.server.client import AppClient, find_app
from gardener.server.runfile import RunningApp

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "screenshots"
PAGES = {
    "ask": "",
    "search": "search?q=how is a file split into chunks",
    "projects": "projects",
    "models": "models",
    "health": "health",
    "backups": "backups",
    "activity": "activity",
    "settings": "settings",
}
VARIANTS = (("light", 1280, 800), ("dark", 1280, 800), ("light", 390, 844))
QUESTION = "How is a file split into chunks?"
START_SECONDS = 60.0


def main(folders: Sequence[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed: scripts/test_tools.sh")
    making = TARGET.with_name("screenshots.new")  # takes the place of the old ones only when all are there
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as base, _app(Path(base), folders or [str(ROOT)]) as app:
        client = AppClient(app, timeout_s=60.0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            _ask(browser, client)
            for scheme, width, height in VARIANTS:
                for name, address in PAGES.items():
                    shot = making / f"{name}-{scheme if width > 900 else 'phone'}.png"
                    _shoot(browser, client, f"{app.url}/{address}", scheme, (width, height), shot)
            browser.close()
    shutil.rmtree(TARGET, ignore_errors=True)
    making.rename(TARGET)
    total = sum(path.stat().st_size for path in TARGET.iterdir())
    print(f"{len(list(TARGET.iterdir()))} pictures, {total / 1e6:.2f} MB in {TARGET.relative_to(ROOT)}")


@contextmanager
def _app(base: Path, folders: Sequence[str]) -> Iterator[RunningApp]:
    """Clones of the folders' last commits become the projects: their paths, and the home's, are in the pictures."""
    home = base / "gardener-home"
    home.mkdir(mode=0o700)
    with Gardener(str(home)) as gardener:
        for folder in folders:
            clone = base / "code" / ("gardener" if Path(folder) == ROOT else Path(folder).name)
            subprocess.run(["git", "clone", "-q", folder, str(clone)], check=True)
            context = gardener.registry.add(str(clone))
            gardener.update_index(context)
            left = gardener.embed(context).remaining  # else the pages show an index that is still being made
            if left:
                sys.exit(f"{left} vectors of {context.name} are missing.")
    command = [sys.executable, "-m", "gardener.cli.main", "--home", str(home), "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + START_SECONDS
        while (app := find_app(Paths(str(home)))) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("The app did not start.")
            time.sleep(0.1)
        yield app
    finally:
        process.terminate()
        process.wait(30)


def _opened(browser: Browser, client: AppClient, scheme: str, size: tuple[int, int]) -> Page:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(str(client.request("POST", "/api/link")["url"]))
    return page


def _ask(browser: Browser, client: AppClient) -> None:
    """One answer, so that Ask and Activity have something to show."""
    page = _opened(browser, client, "light", (1280, 800))
    page.wait_for_selector("#page-key[data-key*='indexed']", state="attached")
    page.fill("#question textarea", QUESTION)
    page.press("#question textarea", "Enter")
    page.wait_for_selector("#chat .facts", timeout=120_000)
    page.context.close()


def _shoot(browser: Browser, client: AppClient, address: str, scheme: str, size: tuple[int, int], target: Path) -> None:
    page = _opened(browser, client, scheme, size)
    page.goto(address)
    page.wait_for_selector("#page-main .html-container :is(section, ul, ol, .empty), #chat .facts", timeout=60_000)
    if page.locator("#chat").count() and size[0] > 900:
        page.click("#sources [data-cite]")
        page.wait_for_selector("#source tr.cited")
    page.wait_for_timeout(1_000)  # the heartbeat never lets the network be idle
    page.evaluate("document.activeElement && document.activeElement.blur()")
    page.screenshot(path=target)
    page.context.close()


if __name__ == "__main__":
    main(sys.argv[1:])

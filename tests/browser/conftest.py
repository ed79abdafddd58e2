"""A real Chromium on a real app in its own process. Everything off this machine is blocked and recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)

from gardener.app import Gardener
from gardener.server.client import AppClient, find_app
from gardener.server.runfile import RunningApp
from tests.ports import free_port
from tests.serving import write_project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{constructor.constructor('alert(3)')()}}<script>alert(4)</script>"
"""Repository text that would run if any step took it for HTML, a template or a script."""
START_SECONDS = 240.0
expect.set_options(timeout=60_000)  # as the pages' own; the default of 5 s is short where many share two cores
ROOT = Path(__file__).parents[2]


@dataclass
class Seen:
    """What happened in the browser that a test may want to know."""

    foreign: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class Steered:
    """A running app, a second Gardener on the same home (as a terminal has), and the model's reins."""

    home: str
    control: Path
    process: subprocess.Popen[bytes]
    app: RunningApp

    @property
    def client(self) -> AppClient:
        return AppClient(self.app, timeout_s=120.0)

    def link(self) -> str:
        return str(self.client.request("POST", "/api/link")["url"])

    def hold(self, before: int = 0) -> None:
        """Makes the model wait before that event until `release`."""
        (self.control / "hold").write_text(str(before))

    def release(self) -> None:
        (self.control / "hold").unlink(missing_ok=True)

    def answer_job(self) -> dict[str, Any]:
        """The newest answer."""
        return next(job for job in self.client.request("GET", "/api/jobs")["jobs"] if job["kind"] == "answer")


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def app_process(home: str, control: Path, port: int = 0) -> Iterator[Steered]:
    control.mkdir(exist_ok=True)
    paths = Gardener(home).paths
    log = (control / "log").open("ab")
    command = [sys.executable, "-m", "tests.browser.app_process", home, str(port or free_port()), str(control)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while (app := find_app(paths)) is None:
            assert process.poll() is None, (control / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Steered(home, control, process, app)
    finally:
        (control / "hold").unlink(missing_ok=True)
        process.terminate()
        assert process.wait(120) == 0 or process.returncode == -9
        log.close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Ends with the module: while it lives, asyncio.run works in no other test of this process."""
    if CHROMIUM is None:
        if os.environ.get("GARDENER_REQUIRE_ALL"):
            pytest.fail("Chromium is not installed.")
        pytest.skip("Chromium is not installed.")
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
    yield started
    started.close()


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Iterator[Gardener]:
    """The home of two projects, as the command line sees it, with the embedder prepared."""
    base = tmp_path_factory.mktemp("garden")
    shutil.copytree(exported_models, base / "home" / "models")
    for folder in (base / "home", base / "home" / "models"):
        folder.chmod(0o700)
    made = Gardener(str(base / "home"))
    for marker in ("lantern", "compass"):
        root = write_project(base / marker, marker)
        (root / "src" / "hostile.py").write_text(f'"""Hostile {marker} text: {HOSTILE}"""\n\nHOSTILE = 1\n')
        made.update_index(made.registry.add(str(root)))
    made.switch("lantern")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(garden: Gardener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with app_process(garden.paths.home, tmp_path_factory.mktemp("control")) as app:
        yield app


@pytest.fixture
def steered(shared: Steered, garden: Gardener) -> Iterator[Steered]:
    """The module's app as if nobody had asked anything yet."""
    garden.switch("lantern")
    for context in garden.registry.list():
        for conversation in garden.history.list(context.id):
            garden.history.delete(context.id, conversation.id)
    yield shared
    shared.release()
    for name in ("script.json", "down"):
        (shared.control / name).unlink(missing_ok=True)
    for job in shared.client.request("GET", "/api/jobs")["jobs"]:
        if job["state"] in ("running", "queued"):
            shared.client.request("POST", f"/api/jobs/{job['job']}/cancel")
            list(shared.client.stream("GET", f"/api/jobs/{job['job']}/events"))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(params=["light"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def browser(chromium: Browser, scheme: str, seen: Seen) -> Iterator[BrowserContext]:
    """A profile that has never been here: nothing stored, no cookies; and an empty page."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(60_000)

    def local_only(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            seen.foreign.append(route.request.url)
            route.abort()

    context.route("**/*", local_only)
    context.new_page()
    yield context
    context.close()


@pytest.fixture
def page(browser: BrowserContext, steered: Steered, seen: Seen) -> Page:
    """The page "Ask", entered by a one-time link."""
    page = browser.pages[0]

    def on_dialog(dialog: Dialog) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.errors.append(message.text)

    page.on("dialog", on_dialog)
    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    enter(page, steered)
    return page


def enter(page: Page, steered: Steered) -> None:
    page.goto(steered.link())
    page.wait_for_selector("#page-key:not([data-key=''])", state="attached")


def ask(page: Page, question: str = "How is the lantern lit?") -> None:
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")


def shows(page: Page, text: str) -> None:
    """Waits until the conversation shows `text`."""
    found = "text => document.querySelector('#chat')?.innerText.includes(text)"
    page.wait_for_function(found, arg=text)


def answered(page: Page, count: int = 1) -> None:
    """Waits until so many answers are complete, with what they stand on."""
    page.wait_for_function("count => document.querySelectorAll('#chat .facts').length >= count", arg=count)

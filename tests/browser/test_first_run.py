"""An empty home, a folder, a keyboard: from nothing to a cited answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from gardener.app import Gardener
from tests.browser.conftest import Steered, answered, app_process
from tests.serving import write_project

pytestmark = pytest.mark.browser

FUNCTIONS = 1_500
"""Enough that making their vectors takes long enough to be looked at."""

REMEMBER_PROGRESS = """() => {
    window.progress = [];
    const live = document.querySelector("#page-live");
    const main = document.querySelector("#page-main");
    const note = () => {
        window.progress.push(live.innerText);
        window.early ||= live.querySelector("[data-job=embed]") && main.innerText.includes("searchable");
    };
    for (const part of [live, main])
        new MutationObserver(note).observe(part, { childList: true, subtree: true, characterData: true });
}"""
"""Whatever the line of running work ever says: it may be gone before a test looks."""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Iterator[Steered]:
    """An app on a home without projects, for a user whose home folder holds code/orchard."""
    base = tmp_path_factory.mktemp("newcomer")
    shutil.copytree(exported_models, base / "data" / "models")
    for folder in (base / "data", base / "data" / "models"):
        folder.chmod(0o700)
    root = write_project(base / "code" / "orchard", "orchard")
    for number in range(FUNCTIONS):
        tree = root / "src" / f"tree_{number}.py"
        tree.write_text(
            f'def prune_{number}(branch):\n    """Cuts branch {number} of the tree."""\n    return branch\n'
        )
    (root / "archive").mkdir()
    (root / "archive" / "old.py").write_text("OLD = 1\n")
    (root / "keys.py").write_text('TOKEN = "ghp_' + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"[:36] + '"\n')
    (root / "picture.png").write_bytes(b"\x89PNG\r\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(base))
        patch.setenv("GARDENER_OLLAMA_URL", "http://127.0.0.1:9")
        with app_process(str(base / "data"), tmp_path_factory.mktemp("control")) as app:
            yield app


@pytest.fixture
def keyboard_page(chromium: Browser, newcomer: Steered) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(newcomer.link())
    yield page
    context.close()


def tab_to(page: Page, selector: str, most: int = 40) -> None:
    """Presses Tab until the element has the focus."""
    for _ in range(most):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with {most} tabs")


def test_the_first_run_needs_no_mouse(keyboard_page: Page, newcomer: Steered) -> None:
    page, keyboard = keyboard_page, keyboard_page.keyboard
    page.wait_for_selector("#rail a[href='/projects']")
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "#rail a[href='/projects']")
    keyboard.press("Enter")

    expect(page.locator("#folder")).to_be_focused()
    expect(page.locator("#page-main")).to_contain_text("No project yet")
    keyboard.type("~/co")
    expect(page.get_by_role("option", name="code")).to_be_visible()
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    expect(page.get_by_role("option", name="orchard")).to_be_visible()
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    assert page.input_value("#folder").endswith("/code/orchard/")
    keyboard.press("Enter")

    expect(page.locator("#add h2")).to_be_focused()
    preview = page.locator("#add")
    found = int(page.locator("#add .sum strong").first.inner_text().replace(",", ""))
    assert found > FUNCTIONS
    expect(preview).to_contain_text("python")
    expect(preview).to_contain_text("binary extension")
    expect(preview).to_contain_text("picture.png")
    expect(preview).to_contain_text("1 secret recognised; kept out of the index")
    assert Gardener(newcomer.home).registry.list() == []  # looking registers nothing

    tab_to(page, "#patterns")
    keyboard.type("archive/")
    tab_to(page, "button[data-do='preview']")
    keyboard.press("Enter")
    expect(preview).to_contain_text("1 of your patterns are applied")
    expect(page.locator("#add .sum strong").first).to_have_text(f"{found - 1:,}")
    tab_to(page, "#add button[type=submit].primary")
    page.evaluate(REMEMBER_PROGRESS)
    keyboard.press("Enter")

    expect(page.locator("#page-notice")).to_contain_text("orchard is being indexed")
    page.wait_for_function(
        "() => window.progress.some((text) => /of [\\d,]+ · [\\d.,]+ (files|chunks)\\/s · .* left/.test(text))"
    )
    page.wait_for_function("() => window.early")  # the card knows while vectors are still being made
    expect(page.locator("#page-notice a").first).to_be_focused()
    gardener = Gardener(newcomer.home)
    context = gardener.context("orchard")
    assert (Path(context.root) / ".gardenerignore").read_text() == "archive/\n"
    keyboard.press("Enter")

    page.wait_for_selector("#page-key[data-key*='indexed']", state="attached")
    expect(page.locator("#question textarea")).to_be_focused()
    keyboard.type("How is the orchard lit?")
    keyboard.press("Enter")
    answered(page)
    tab_to(page, "#sources [data-cite='1']", 80)
    keyboard.press("Enter")
    page.wait_for_selector("#source tr.cited")
    gardener.close()


def test_a_folder_that_is_none_is_said_with_what_to_type(keyboard_page: Page, newcomer: Steered) -> None:
    page = keyboard_page
    page.goto(f"{newcomer.app.url}/projects")
    page.fill("#folder", "~/nowhere")
    page.press("#folder", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("nowhere is not a folder")


def test_completion_stays_below_the_home_folder(newcomer: Steered) -> None:
    def folders(typed: str) -> list[str]:
        found: list[str] = newcomer.client.request("GET", f"/pages/folders?typed={typed}")["options"]
        return found

    assert [Path(path).name for path in folders("~/code/")] == ["orchard"]
    assert folders("/etc/") == [] and folders("~/../") == [] and folders("~/.s") == []


def test_the_page_of_models_says_that_no_ollama_runs(keyboard_page: Page, newcomer: Steered) -> None:
    page = keyboard_page
    page.goto(f"{newcomer.app.url}/models")
    expect(page.locator("#page-main")).to_contain_text("Ollama: Nothing answers at http://127.0.0.1:9")
    page.fill("#model", "mine:latest")
    page.press("#model", "Enter")
    expect(page.locator("#page-notice .bad")).to_contain_text("No Ollama answers at http://127.0.0.1:9")


def test_what_comes_of_a_download_is_not_covered_by_its_beginning(newcomer: Steered) -> None:
    """It can fail before the page is made anew: the page once ended with "Ollama is asked for mine:latest"."""
    headers = {"Authorization": f"Bearer {newcomer.app.token}"}
    with httpx.Client(base_url=newcomer.app.url, headers=headers, timeout=120.0, trust_env=False) as client:
        config = json.loads(client.get("/models").text.split("window.gradio_config = ")[1].split(";</script>")[0])
        targets = {target[1]: event["id"] for event in config["dependencies"] for target in event["targets"]}
        event = {"fn_index": targets["act"], "data": [], "session_hash": "asked"}
        event_data = {"what": "pull", "fields": [["model", "mine:latest"]]}
        assert client.post("/gradio_api/queue/join", json=event | {"event_data": event_data}).status_code == 200
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "asked"}) as stream:
            said = [line for line in stream.iter_lines() if "process_generating" in line]
    beginning = next(number for number, line in enumerate(said) if "Ollama is asked for mine:latest" in line)
    page = next(number for number, line in enumerate(said) if "Fits this machine" in line)
    assert beginning < page

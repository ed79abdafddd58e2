"""The pages besides Ask as a person uses them: searched, switched, changed, refused, and read by axe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Route, expect

from gardener.app import Gardener
from tests.browser.conftest import Seen, Steered, until
from tests.ollama_server import Fault, OllamaServer, ollama_server

pytestmark = pytest.mark.browser

AXE_OPTIONS = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PAGES = ("search?q=lantern", "projects", "models", "health", "backups", "activity", "settings")
MODEL_MEMORY_MB = "1500"
"""So that the largest models of the catalogue fit no machine that runs these tests."""


@pytest.fixture(scope="module", autouse=True)
def ollama() -> Iterator[OllamaServer]:
    """The stand-in server that the app is told of, on a machine with little memory."""
    with ollama_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GARDENER_MODELS_MEMORY_MB", MODEL_MEMORY_MB)
        patch.setenv("GARDENER_OLLAMA_URL", server.url)
        yield server


@pytest.fixture(scope="module")
def steered(shared: Steered) -> Steered:
    return shared


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def page(chromium: Browser, steered: Steered, seen: Seen) -> Iterator[Page]:
    """One tab for all of these tests: nothing of a page is kept in it, which they prove by the way."""
    # Without motion: colours that are on their way from light to dark are neither.
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)

    def local_only(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            seen.foreign.append(route.request.url)
            route.abort()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.errors.append(message.text)

    def on_dialog(dialog: Dialog) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    context.route("**/*", local_only)
    page = context.new_page()
    page.on("dialog", on_dialog)
    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.goto(steered.link())
    yield page
    context.close()


def go(page: Page, steered: Steered, path: str) -> None:
    page.goto(f"{steered.app.url}/{path}")
    page.wait_for_selector("#page-main .html-container :is(section, ul, ol, .empty)")


def said(page: Page, text: str) -> None:
    expect(page.locator("#page-notice")).to_contain_text(text)


def serious(page: Page) -> list[str]:
    violations = Axe().run(page, options=AXE_OPTIONS).response["violations"]
    return [
        f"{page.url} {violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def test_every_page_can_be_read_by_everybody(page: Page, steered: Steered, seen: Seen) -> None:
    """Light and dark in one visit: the theme is chosen as its control does it."""
    problems = []
    for path in PAGES:
        page.evaluate("window.gardener.theme.choose('light')")
        go(page, steered, path)
        name = path.partition("?")[0].capitalize()
        assert page.title() == f"{name} — Gardener"
        assert page.inner_text("h1") == name
        assert page.get_attribute("#rail [aria-current]", "href") == f"/{name.lower()}"
        page.evaluate("document.querySelectorAll('#page-main details').forEach((one) => { one.open = true; })")
        problems += serious(page)
        page.evaluate("window.gardener.theme.choose('dark')")
        problems += serious(page)
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.set_viewport_size({"width": 1280, "height": 800})
    assert problems == []
    assert seen.errors == [] and seen.foreign == [] and seen.dialogs == []


def test_the_theme_is_chosen_remembered_and_never_shown_wrong(page: Page, steered: Steered) -> None:
    go(page, steered, "settings")
    page.focus("#theme-choice")
    page.keyboard.press("End")
    expect(page.locator("body.dark")).to_have_count(1)
    other = page.context.new_page()
    other.add_init_script(
        "window.frames_seen = []; (function look() { if (document.body) window.frames_seen.push("
        "document.body.classList.contains('dark') + ' ' + getComputedStyle(document.body).backgroundColor);"
        " requestAnimationFrame(look); })()"
    )
    go(other, steered, "settings")
    expect(other.locator("#theme-choice")).to_have_value("dark")
    shown = other.evaluate("[...new Set(window.frames_seen)]")
    assert shown == ["true " + page.evaluate("getComputedStyle(document.body).backgroundColor")]  # not even for a frame
    other.close()
    page.emulate_media(color_scheme="light")
    page.focus("#theme")
    page.keyboard.press("Enter")
    expect(page.locator("#theme")).to_have_text("Theme: system")
    expect(page.locator("#theme-choice")).to_have_value("system")
    expect(page.locator("body.dark")).to_have_count(0)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body.dark")).to_have_count(1)
    page.emulate_media(color_scheme="light")


def test_the_navigation_leads_everywhere_from_ask(page: Page) -> None:
    names = page.locator("#rail li a").all_inner_texts()
    assert names == ["Ask", "Search", "Projects", "Models", "Health", "Backups", "Activity", "Settings"]
    page.click("#rail a[href='/projects']")
    page.wait_for_selector("#page-main .card")
    page.click("#rail a[href='/']")
    page.wait_for_selector("#question textarea")


def test_search_finds_filters_opens_lines_and_can_be_linked_to(page: Page, steered: Steered, seen: Seen) -> None:
    go(page, steered, "search")
    page.fill("#q", "how is the lantern lit")
    page.press("#q", "Enter")
    page.wait_for_selector(".hit")
    expect(page.locator(".found")).to_contain_text("up to date with the disk")
    assert "q=how" in page.url
    page.reload()
    page.wait_for_selector(".hit")
    assert page.input_value("#q") == "how is the lantern lit"
    page.fill("#path", "src/engine.py")
    page.press("#path", "Enter")
    page.wait_for_selector("#page-form button[type=submit]:not([aria-busy])")
    page.wait_for_function("[...document.querySelectorAll('.hit h2')].every(h => h.innerText.includes('engine.py'))")
    first = page.locator(".hit").first
    number = first.locator("tr th").first.inner_text()
    editor = first.locator("a.editor").get_attribute("href") or ""
    assert editor.startswith("vscode://file/") and editor.endswith(f"/src/engine.py:{number}")
    first.get_by_role("button", name="Open src/engine.py").click()
    page.wait_for_selector(".opened tr.cited")
    expect(page.locator(".opened h2")).to_be_focused()
    assert page.locator(".opened tr.cited th").first.inner_text() == number
    page.get_by_role("button", name="Back to the results").click()
    page.wait_for_selector(".hit")
    page.fill("#q", "hostile lantern text")
    page.fill("#path", "")
    page.press("#q", "Enter")
    expect(page.locator(".hits")).to_contain_text("onerror=alert(1)")
    assert seen.dialogs == [] and seen.errors == []


def test_an_empty_search_says_what_is_missing(page: Page, steered: Steered) -> None:
    go(page, steered, "search")
    page.press("#q", "Enter")
    said(page, "The query is empty.")


def test_projects_are_switched_renamed_removed_and_brought_back(page: Page, steered: Steered, garden: Gardener) -> None:
    go(page, steered, "projects")
    page.get_by_role("button", name="Switch to compass").click()
    said(page, "compass is the active project now.")
    active = garden.registry.active()
    assert active is not None and active.name == "compass"
    card = page.locator("li.card", has_text="lantern")
    card.locator("summary").click()
    card.get_by_label("New name").fill("lamp")
    card.get_by_role("button", name="Rename").click()
    said(page, "lantern is called lamp now.")
    expect(page.locator("#page-notice .notice")).to_be_focused()  # what was pressed is folded away
    card = page.locator("li.card", has=page.get_by_role("heading", name="lamp"))
    card.locator("summary").click()
    card.get_by_role("button", name="Remove lamp").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert [context.name for context in garden.registry.list()] == ["compass", "lamp"]
    card.get_by_role("button", name="Remove lamp").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    said(page, "lamp is in the trash")
    assert [context.name for context in garden.registry.list()] == ["compass"]
    page.get_by_role("button", name="Undo").click()
    said(page, "lamp is back.")
    garden.registry.rename("lamp", "lantern")


def test_a_hidden_page_gives_its_stream_up_and_comes_back(page: Page, steered: Steered, garden: Gardener) -> None:
    """A browser has six connections for all tabs of one server; five idle ones would lock out the next."""
    garden.switch("lantern")
    go(page, steered, "projects")
    hide = "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden }); "
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    with page.expect_event("requestfailed", lambda request: "/queue/data" in request.url):
        page.evaluate(hide, True)
    garden.registry.rename("compass", "needle")
    page.evaluate(hide, False)
    expect(page.get_by_role("heading", name="needle")).to_be_visible()
    page.get_by_role("button", name="Switch to needle").click()
    said(page, "needle is the active project now.")
    garden.registry.rename("needle", "compass")
    garden.switch("compass")


def test_a_rebuild_goes_on_when_the_page_is_left(page: Page, steered: Steered) -> None:
    go(page, steered, "projects")
    card = page.locator("li.card.active")
    card.locator("summary").click()
    card.get_by_role("button", name="Rebuild the index").click()
    page.get_by_role("dialog").get_by_role("button", name="Rebuild index").click()
    page.wait_for_function(
        "() => fetch('/api/jobs').then(r => r.json()).then(r => r.jobs.some(j => j.kind === 'index'))"
    )
    page.goto(f"{steered.app.url}/backups")
    jobs = steered.client.request("GET", "/api/jobs")["jobs"]
    newest = next(job for job in jobs if job["kind"] == "index")
    until(lambda: steered.client.request("GET", f"/api/jobs/{newest['job']}")["state"] == "done")
    report = steered.client.request("GET", f"/api/jobs/{newest['job']}")["said"][-1]
    assert report["rebuilt"] and report["files"] > 0


def test_settings_are_changed_refused_and_reset(page: Page, steered: Steered, garden: Gardener) -> None:
    go(page, steered, "settings")
    page.fill("#filter", "search results")
    row = page.locator(".setting", has=page.locator("[id='set-search.limit']"))
    expect(page.locator(".setting:visible")).not_to_have_count(0)
    row.get_by_role("spinbutton").fill("7")
    row.get_by_role("button", name="Save search.limit").click()
    said(page, "search.limit is 7")
    with open(garden.paths.config, encoding="utf-8") as file:
        assert "limit = 7" in file.read()
    assert os.stat(garden.paths.config).st_mode & 0o777 == 0o600
    expect(row).to_contain_text("user file")
    row.get_by_role("spinbutton").fill("-3")
    row.get_by_role("button", name="Save search.limit").click()
    said(page, "Nothing was changed.")
    row.get_by_role("button", name="Reset search.limit").click()
    said(page, "is removed from")
    expect(row).to_contain_text("default")
    memory = page.locator(".setting", has=page.locator("[id='set-models.memory_mb']"))
    expect(page.locator("[id='set-search.limit']")).to_be_focused()
    page.fill("#filter", "no such words")
    expect(page.locator("#filter-none")).to_have_text("Nothing here has these words.")
    page.fill("#filter", "")
    expect(page.locator("#filter-none")).to_be_empty()
    expect(memory).to_contain_text("environment variable GARDENER_MODELS_MEMORY_MB")


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(page: Page, steered: Steered) -> None:
    steered.client.request("POST", "/api/switch", {"project": "lantern"})
    go(page, steered, "models")
    row = page.locator("#catalogue tr", has_text="too large").first
    needs, has, leaves = (row.locator("td").nth(column).inner_text() for column in (1, 2, 3))
    assert has == "1.5 GB" and leaves.startswith("−")
    expect(row.get_by_role("button")).to_be_disabled()
    expect(row).to_contain_text("more than there is")
    name = row.locator("strong").inner_text()
    page.fill("#model", name)
    page.press("#model", "Enter")
    said(page, f"it needs {needs.removeprefix('~')} and there are {has}. It was not downloaded.")
    assert not any(job["kind"] == "pull" for job in steered.client.request("GET", "/api/jobs")["jobs"])


def test_a_model_is_pulled_with_progress_stopped_and_used(
    page: Page, steered: Steered, ollama: OllamaServer, garden: Gardener
) -> None:
    ollama.layers["mine:latest"] = [("sha256:" + "a" * 64, 5_000_000)]
    ollama.pull_fault = Fault("silent", after=2)
    steered.client.request("POST", "/api/switch", {"project": "lantern"})
    go(page, steered, "models")
    page.fill("#model", "mine")
    page.press("#model", "Enter")
    said(page, "Ollama is asked for mine.")
    expect(page.locator("#page-live .job")).to_contain_text("of 5 MB")
    page.get_by_role("button", name="Cancel: Downloading mine").click()
    said(page, "The download of mine was stopped.")
    assert ollama.disconnected.wait(20)

    ollama.pull_fault = None
    page.fill("#model", "mine")
    page.press("#model", "Enter")
    said(page, "mine is here.")
    lantern = garden.context("lantern")
    page.get_by_role("button", name="Use mine:latest for lantern").click()
    said(page, "mine:latest (ollama) answers for lantern from now on.")
    assert garden.context("lantern").model == "mine:latest"
    page.get_by_role("button", name="Choose automatically").click()
    said(page, "lantern takes whatever answers first again.")
    assert garden.context("lantern").model == lantern.model == ""


def test_health_checks_again_and_deeply(page: Page, steered: Steered) -> None:
    go(page, steered, "health")
    expect(page.locator(".findings").last).to_contain_text("state.db")
    page.get_by_role("button", name="Check deeply").click()
    page.wait_for_selector("#page-form button:not([aria-busy])")
    expect(page.locator("#page-main .sum")).to_contain_text("checks")
    expect(page.locator("#page-form")).to_contain_text("Checked just now")


def test_an_issue_is_counted_on_every_page_and_acknowledged(page: Page, steered: Steered, garden: Gardener) -> None:
    from gardener.health.check import Asked, Finding
    from gardener.health.database import HealthDatabase
    from gardener.health.issues import Rule
    from gardener.health.ledger import record
    from gardener.health.rounds import Round

    def round_of(*findings: Finding) -> None:
        """As the monitor, which is another process, makes one."""
        key = ("project", "")
        made = {key: Asked(findings, True)}
        database = HealthDatabase(garden.paths.health_db)
        record(database, Round(time.time(), 0.1, findings, made, frozenset({key})), Rule(1, 1), pid=1)

    fix = "gardener move lamp NEW_PATH"
    round_of(Finding("project-folder-gone", "error", "gone", fix, '<b onclick="x()">lamp</b>'))
    go(page, steered, "search")
    badge = page.locator("#rail a[href='/health'] .issues")
    expect(badge).to_have_text("1")
    expect(badge).to_have_attribute("aria-label", "1 open issue")
    go(page, steered, "health")
    issue = page.locator("#issues li")
    expect(issue).to_contain_text("A project's folder is gone: <b onclick")
    expect(issue).to_contain_text(fix)
    expect(page.locator("#issues")).to_contain_text("No monitor runs")
    assert serious(page) == []
    issue.get_by_role("button", name="I know of issue").click()
    said(page, "acknowledged.")
    expect(issue).to_contain_text("Acknowledged")
    expect(badge).to_have_count(0)
    round_of()
    page.reload()
    expect(page.locator("#issues")).to_contain_text("Nothing is open.")


def test_a_backup_is_made_and_proved(page: Page, steered: Steered) -> None:
    """The schedule may have made one before; the newest stands first."""
    go(page, steered, "backups")
    page.get_by_role("button", name="Back up now").click()
    said(page, "was made.")
    row = page.locator("table.data tbody tr").first
    expect(row).to_contain_text("not proved yet")
    row.get_by_role("button").click()
    said(page, "can be restored from.")
    expect(row).to_contain_text("proved restore")
    known = steered.client.request("GET", "/api/backups")["backups"][0]
    assert known["proof"]["ok"] and known["kind"] == "home"
    assert serious(page) == []

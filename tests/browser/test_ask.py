"""The page "Ask" as a person uses it: asking, reading, stopping, leaving, coming back, switching."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from gardener.app import Gardener
from gardener.server.runfile import upgrading_file
from tests.browser.app_process import EVENTS_AT_ONCE, requests
from tests.browser.conftest import Seen, Steered, answered, app_process, ask, enter, shows, until
from ui.mount import scrub_environment

pytestmark = pytest.mark.browser

AXE_OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
UNUSED = (
    "/gradio_api/upload_progress",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/proxy=http://x/",
    "/gradio_api/openapi.json",
    "/gradio_api/runs",
    "/monitoring",
    "/svelte/x.js",
    "/login",
)
TENTH_WORD = 16
"""The model says six other things first."""


def text_of(page: Page) -> str:
    return page.inner_text("#chat")


def test_an_answer_streams_and_stands_on_cited_lines(
    page: Page, steered: Steered, garden: Gardener, seen: Seen
) -> None:
    steered.hold()
    ask(page)
    shows(page, "Read ")
    steered.release()
    answered(page)
    assert "word199" in text_of(page)
    facts = page.inner_text("#chat .facts")
    assert "full" in facts and "scripted" in facts and "Receipt:" in facts
    assert "Index is up to date with the disk" in facts
    page.click("#chat .facts summary")
    expect(page.locator("#chat .facts table")).to_contain_text("src/engine.py")
    assert page.title() == "Ask — Gardener"
    conversation = garden.history.list(garden.context().id)[0].id
    assert page.url == f"{steered.app.url}/?project=lantern&conversation={conversation}"
    assert seen.errors == [] and seen.foreign == []


def test_text_appears_while_the_model_is_still_writing(page: Page, steered: Steered) -> None:
    steered.hold(TENTH_WORD)
    ask(page)
    shows(page, "word3")
    assert "word10" not in text_of(page)
    assert page.query_selector("#chat .facts") is None
    steered.release()
    answered(page)


def test_a_citation_opens_its_lines_by_mouse(page: Page, garden: Gardener) -> None:
    ask(page)
    answered(page)
    page.click("#sources [data-cite='1']")
    page.wait_for_selector("#source tr.cited")
    shown = page.locator("#source tr.cited td").all_inner_texts()
    first = int(page.locator("#source tr.cited th").first.inner_text())
    path = page.locator("#source h3").inner_text().rsplit(":", 1)[0]
    on_disk = Path(garden.context().root, path).read_text().split("\n")
    assert [line.rstrip() for line in shown] == on_disk[first - 1 : first - 1 + len(shown)]
    expect(page.locator("#source")).to_contain_text("as they were cited")
    page.focus("#source h3")
    page.keyboard.press("Control+.")
    expect(page.locator("#sources-toggle")).to_be_focused()  # where the focus was is gone
    expect(page.locator("#reading")).to_be_hidden()
    page.reload()
    answered(page)
    expect(page.locator("#sources-toggle")).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#reading")).to_be_hidden()
    page.click("#chat a[href*='#cite-']")
    expect(page.locator("#source tr.cited").first).to_be_visible()


def test_a_citation_opens_by_keyboard_from_the_panel_and_from_the_text(page: Page) -> None:
    ask(page)
    answered(page)
    page.focus("#sources [data-cite='1']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#source tr.cited")
    expect(page.locator("#source h3")).to_be_focused()
    page.goto(page.url.split("&path=")[0])
    page.wait_for_selector("#chat a[href*='#cite-']")
    assert page.query_selector("#source tr.cited") is None
    page.focus("#chat a[href*='#cite-']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#source tr.cited")
    assert len(page.context.pages) == 1
    page.get_by_role("button", name="Close the file").press("Enter")
    expect(page.locator("#source section")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("path="))


def test_a_file_that_has_changed_since_is_marked(page: Page, garden: Gardener) -> None:
    ask(page)
    answered(page)
    engine = Path(garden.context().root, "src", "engine.py")
    engine.write_text(engine.read_text().replace("fuel * 3", "fuel * 4"))
    page.click("#sources [data-cite='1']")
    expect(page.locator("#source")).to_contain_text("changed since")
    engine.unlink()
    page.click("#sources [data-cite='1']")
    expect(page.locator("#source")).to_contain_text("Cannot be shown")


def test_stop_and_escape_end_the_work(page: Page, steered: Steered) -> None:
    for press in (lambda: page.click("#stop"), lambda: page.keyboard.press("Escape")):
        steered.hold(TENTH_WORD)
        before = len(page.query_selector_all("#chat .facts"))
        ask(page)
        expect(page.locator("#stop")).to_be_visible()
        expect(page.locator("#chat .bot").last).to_contain_text("word3")
        press()
        until(lambda: steered.answer_job()["stopping"])
        steered.release()
        answered(page, before + 1)
        assert "This answer is incomplete." in text_of(page)
        assert "word20" not in text_of(page)
        assert steered.answer_job()["state"] == "cancelled"
        expect(page.locator("#send")).to_be_visible()


def test_reloading_in_the_middle_of_an_answer_loses_nothing(page: Page, steered: Steered) -> None:
    steered.hold(TENTH_WORD)
    ask(page)
    shows(page, "word3")
    page.reload()
    shows(page, "word3")
    assert text_of(page).count("How is the lantern lit?") == 1
    expect(page.locator("#stop")).to_be_visible()
    steered.release()
    answered(page)
    assert text_of(page).count("word3 ") == 1 and "word199" in text_of(page)
    page.goto("about:blank")
    page.go_back()
    shows(page, "word199")


def test_follow_up_questions_stay_in_the_conversation_and_a_new_one_is_empty(
    page: Page, steered: Steered, garden: Gardener
) -> None:
    ask(page)
    answered(page)
    ask(page, "And how long does it burn?")
    answered(page, 2)
    assert any("How is the lantern lit?" in message for message in list(requests(steered.control))[-1])
    page.click("#anew")
    page.wait_for_function("!document.querySelector('#chat').innerText.includes('word3')")
    ask(page, "Something else about the lantern?")
    answered(page)
    assert not any("How is the lantern lit?" in message for message in list(requests(steered.control))[-1])
    assert len(garden.history.list(garden.context().id)) == 2


def test_a_switch_made_elsewhere_shows_and_hides_the_other_projects_messages(page: Page, garden: Gardener) -> None:
    ask(page)
    answered(page)
    garden.switch("compass")
    page.wait_for_function("document.querySelector('#page-key').dataset.key.includes(':compass:')")
    assert "word3" not in text_of(page) and "lantern" not in text_of(page)
    assert page.query_selector("#sources [data-cite]") is None
    expect(page.locator("#project input")).to_have_value("compass")
    garden.switch("lantern")
    shows(page, "word199")


def test_an_answer_under_way_does_not_follow_into_the_other_project(
    page: Page, garden: Gardener, steered: Steered
) -> None:
    steered.hold(TENTH_WORD)
    ask(page)
    shows(page, "word3")
    garden.switch("compass")
    page.wait_for_function("document.querySelector('#page-key').dataset.key.includes(':compass:')")
    steered.hold(10 * TENTH_WORD)  # it writes on, and is not over
    until(lambda: steered.answer_job()["events"] > 5 * TENTH_WORD)
    page.wait_for_timeout(500)
    assert "word" not in text_of(page)
    steered.release()
    garden.switch("lantern")
    shows(page, "word199")


def test_the_picker_switches_for_everyone(page: Page, garden: Gardener) -> None:
    page.keyboard.press("Control+p")
    expect(page.locator("#project input")).to_be_focused()
    page.get_by_role("option", name="compass").click()
    page.wait_for_function("document.querySelector('#page-key').dataset.key.includes(':compass:')")
    assert garden.context().name == "compass"


def test_the_keyboard_reaches_the_question(page: Page) -> None:
    question = page.locator("#question textarea")
    for keys in ("/", "Control+k", "Meta+k"):
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(keys)
        expect(question).to_be_focused()
    expect(question).to_have_value("")
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(question).to_have_value("one\ntwo")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("stop the answer")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    question.fill("Where is the lantern?")
    page.keyboard.press("Enter")
    answered(page)
    question.focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#typed-field")).to_have_value("Where is the lantern?")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+o")
    expect(page.locator("#chat .message.user")).to_have_count(0)
    expect(question).to_be_focused()


def test_what_answers_is_chosen_beside_the_question(page: Page, garden: Gardener) -> None:
    expect(page.locator("#model-choice")).to_contain_text("scripted")
    page.focus("#model-choice")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="What answers lantern")
    expect(dialog.get_by_role("radio", name="as every project: scripted")).to_be_focused()
    problems = serious(page)
    dialog.get_by_role("radio", name="no model").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    try:
        expect(page.locator("#model-choice")).to_contain_text("no model")
        expect(page.locator("#model-choice")).to_be_focused()
        assert garden.context("lantern").backend == "extractive"
        ask(page)  # on a page that was open before
        answered(page)
        expect(page.locator("#chat .facts")).to_contain_text("extractive")
    finally:
        garden.registry.configure("lantern", backend="auto", model="")
    assert problems == []


def test_repository_and_model_text_is_inert(page: Page, seen: Seen) -> None:
    ask(page, "Where is the hostile lantern text?")
    answered(page)
    assert "<img src=x onerror=alert(5)>" in text_of(page)
    assert page.query_selector("#chat .md img") is None
    for number in range(page.locator("#sources [data-cite]").count()):
        page.locator("#sources [data-cite]").nth(number).click()
        page.wait_for_selector("#source tr.cited")
    page.wait_for_timeout(300)
    assert seen.dialogs == [] and seen.foreign == []
    assert page.query_selector("#source img, #source script, #sources img") is None


def test_hostile_lines_are_shown_as_they_are(page: Page, steered: Steered, seen: Seen) -> None:
    (steered.control / "script.json").write_text(json.dumps(["See [1] [2] [3] [4] [5] [6]."]))
    ask(page, "Where is LANTERN defined with hostile text?")
    answered(page)
    page.locator("#sources [data-cite]", has_text="hostile.py").first.click()
    expect(page.locator("#source tr.cited").first).to_contain_text("<img src=x onerror=alert(1)>${alert(2)}{{")
    assert seen.dialogs == [] and seen.foreign == []


def test_a_link_in_an_answer_asks_before_it_leaves(page: Page, seen: Seen) -> None:
    ask(page)
    answered(page)
    page.click("#chat a[href*='elsewhere']")
    page.wait_for_timeout(200)
    assert len(seen.dialogs) == 1 and "http://elsewhere.example/" in seen.dialogs[0]
    assert seen.foreign == [] and len(page.context.pages) == 1


def test_a_link_in_an_answer_does_nothing_in_the_app_by_itself(page: Page, steered: Steered, seen: Seen) -> None:
    ask(page)
    answered(page)
    jobs = len(steered.client.request("GET", "/api/jobs")["jobs"])
    links = [
        "[fresh](#do-new-0)", "[typed](#ask)", "[switch](/?project=compass)", "[query](?project=compass)",
        f"[whole]({steered.app.url}/?project=compass)", "[by reference][there]", f"{steered.app.url}/?project=compass",
    ]  # fmt: skip
    (steered.control / "script.json").write_text(json.dumps(["\n\n".join([*links, "[there]: /?project=compass"])]))
    ask(page, "What next?")
    answered(page, 2)
    before, address = page.inner_html("#key-holder"), page.url
    page.click("#chat .bot a:text-is('fresh')")
    page.click("#chat .bot a:text-is('typed')")
    outward = page.locator("#chat .bot a[href*='project=compass']")
    assert outward.count() == 4 and seen.dialogs == []  # a definition of a link stays text
    for number in range(outward.count()):
        outward.nth(number).click()
        assert len(seen.dialogs) == number + 1 and "project=compass" in seen.dialogs[-1]
    assert page.url == address and page.inner_html("#key-holder") == before
    assert page.input_value("#question textarea") == "" and len(page.context.pages) == 1
    assert len(steered.client.request("GET", "/api/jobs")["jobs"]) == jobs + 1


def test_a_lost_app_shows_a_banner_that_clears(browser: BrowserContext, garden: Gardener, tmp_path: Path) -> None:
    home = tmp_path / "home"
    own = Gardener(str(home))
    own.update_index(own.registry.add(garden.context("lantern").root))
    own.switch("lantern")
    page = browser.pages[0]
    with app_process(str(home), tmp_path / "control") as first:
        enter(page, first)
        ask(page)
        answered(page)
        page.evaluate("window.before = true")
        upgrading = Path(upgrading_file(own.paths))
        upgrading.touch()  # as an upgrade does before it ends the app
        with page.expect_event(
            "response", lambda answer: "/api/pulse" in answer.url and answer.json().get("upgrading") is True
        ):
            pass
        first.process.kill()
        expect(page.locator("#lost")).to_contain_text("being upgraded", timeout=5_000)
    with app_process(str(home), tmp_path / "control", first.app.port) as second:
        assert second.app.port == first.app.port and not upgrading.exists()
        page.wait_for_function("window.before === undefined")
        page.wait_for_selector("#page-key:not([data-key=''])", state="attached")
        assert page.query_selector("#lost") is None
        shows(page, "word199")
        ask(page, "Still there?")
        answered(page, 2)
    own.close()


def test_an_empty_home_says_what_to_do_first(browser: BrowserContext, tmp_path: Path) -> None:
    own = Gardener(str(tmp_path / "home"))
    with app_process(own.paths.home, tmp_path / "control") as app:
        page = browser.pages[0]
        enter(page, app)
        expect(page.locator("#chat")).to_contain_text("gardener add PATH")
        expect(page.locator("#send")).to_be_disabled()
        root = tmp_path / "late"
        root.mkdir()
        (root / "a.py").write_text("def a():\n    return 1\n")
        own.update_index(own.registry.add(str(root)))
        own.switch("late")
        expect(page.locator("#chat")).to_contain_text("Ask about late")
        expect(page.locator("#send")).to_be_enabled()
        page.get_by_text("What does this project do?").click()
        expect(page.locator("#question textarea")).to_have_value("What does this project do?")
    own.close()


@pytest.mark.parametrize("scheme", ["light", "dark"], indirect=True)
def test_axe_finds_nothing_serious(page: Page, scheme: str, steered: Steered) -> None:
    assert (page.evaluate("document.body.classList.contains('dark')")) == (scheme == "dark")
    problems = serious(page)
    ask(page)
    answered(page)
    page.click("#sources [data-cite='1']")
    page.wait_for_selector("#source tr.cited")
    page.click("#chat .facts summary")
    problems += serious(page)
    page.click("#chat a[href*='#do-again']")
    shows(page, "2 of 2")
    answered(page)
    page.click("#head [data-act='delete']")
    page.click("#head [data-act='undelete']")
    answered(page)
    page.click("#chat a[href*='#do-bad']")
    problems += serious(page)
    page.keyboard.press("Escape")
    (steered.control / "down").write_text("It is asleep.")
    expect(page.locator("#model-line")).to_contain_text("asleep")
    page.set_viewport_size({"width": 390, "height": 844})
    problems += serious(page)
    page.click("#list-toggle")
    problems += serious(page)
    assert problems == []


def serious(page: Page) -> list[str]:
    violations = Axe().run(page, options=AXE_OPTIONS).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def test_a_phone_shows_the_question_box_and_does_not_scroll_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    ask(page)
    answered(page)
    page.click("#sources [data-cite='1']")
    page.wait_for_selector("#source tr.cited")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("window.scrollTo(0, 0)")
    box = page.locator("#question textarea").bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    assert 0 <= box["y"] <= box["y"] + box["height"] <= 844


def http(steered: Steered, *, token: bool = True) -> httpx.Client:
    headers = {"Authorization": f"Bearer {steered.app.token}"} if token else {}
    return httpx.Client(base_url=steered.app.url, headers=headers, timeout=20.0, trust_env=False)


def test_only_what_the_pages_use_of_the_library_can_be_reached(steered: Steered) -> None:
    with http(steered) as client:
        for path in UNUSED:
            assert client.get(path).status_code == 404, path
        upload = client.post("/gradio_api/upload", files={"files": ("a.txt", b"x")})
        assert upload.status_code == 404
        assert client.get("/").status_code == 200


def test_an_event_cannot_name_a_file_and_wrong_ones_are_the_clients_error(steered: Steered, tmp_path: Path) -> None:
    outside = tmp_path / "outside-every-project.txt"
    outside.write_text("private")
    file = {"path": str(outside), "meta": {"_type": "gradio.FileData"}}
    good = {"fn_index": 0, "data": [None], "session_hash": "abc"}
    with http(steered) as client:
        events = [{"data": [file]}, {"event_data": {"fields": [file]}}, {"data": [[file]]}, {"data": {"path": "x"}}]
        events += [{"fn_index": wrong} for wrong in (-1, 10**6, None, "0", {}, 1.5, True)] + [{"session_hash": 5}]
        for event in events:
            assert client.post("/gradio_api/queue/join", json=good | event).status_code == 400, event
        assert client.post("/gradio_api/queue/join", content=b"[" * 50_000).status_code == 400
        assert client.post("/gradio_api/queue/join", json=good).status_code == 200
    assert not list(Path(steered.home, "run").rglob(outside.name))


def test_pages_that_were_left_keep_no_place(steered: Steered) -> None:
    """Gradio works on so many events at once and every page but Ask keeps one open: without an end the app is full."""
    over = ("done", "failed", "cancelled")
    until(lambda: all(job["state"] in over for job in steered.client.request("GET", "/api/jobs")["jobs"]))
    with http(steered) as client:
        config = json.loads(client.get("/projects").text.split("window.gradio_config = ")[1].split(";</script>")[0])
        assert config["connect_heartbeat"] is False  # one of the six connections that a browser has for all tabs
        targets = {target[1]: event["id"] for event in config["dependencies"] for target in event["targets"]}
        for number in range(EVENTS_AT_ONCE + 2):
            event = {"fn_index": targets["follow"], "data": [], "session_hash": f"left{number}"}
            joined = client.post("/gradio_api/queue/join", json=event | {"event_data": {"again": True}})
            assert joined.status_code == 200
            with client.stream("GET", "/gradio_api/queue/data", params=event) as stream:
                begun = next(line for line in stream.iter_lines() if "generating" in line or "heartbeat" in line)
            assert "generating" in begun, f"page {number} waits for a place"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/config"),
        ("GET", "/gradio_api/info"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/queue/data?session_hash=x"),
        ("GET", "/theme.css"),
    ],
)
def test_strangers_reach_nothing_of_the_page(steered: Steered, method: str, path: str) -> None:
    with http(steered, token=False) as stranger, http(steered) as client:
        assert stranger.request(method, path, json={}).status_code in (401, 429)
        foreign = {"Origin": "https://evil.example"}
        assert client.request(method, path, json={}, headers=foreign).status_code == 403
        assert client.request(method, path, json={}, headers={"Host": "evil.example"}).status_code == 421
        assert client.request(method, path, json={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_nothing_of_the_users_environment_opens_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.delitem(sys.modules, "gradio", raising=False)  # another test of this process may have imported it
    for name in ("GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_MCP_SERVER", "GRADIO_SERVER_NAME"):
        os.environ[name] = "True"
    scrub_environment(str(tmp_path / "run"))
    left = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    assert not set(left) & {"GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_MCP_SERVER", "GRADIO_SERVER_NAME"}
    assert left["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.stat(left["GRADIO_TEMP_DIR"]).st_mode & 0o777 == 0o700

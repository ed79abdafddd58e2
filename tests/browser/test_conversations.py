"""Conversations on the page "Ask": listed, linked, branched, rated, shared by pages and terminals, and never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from gardener.app import Gardener
from tests.browser.app_process import requests
from tests.browser.conftest import Seen, Steered, answered, app_process, ask, enter, shows
from tests.browser.test_ask import TENTH_WORD, text_of

pytestmark = pytest.mark.browser
DIALOG = "dialog[open]"


def listed(page: Page) -> list[str]:
    return page.locator("#listing .title").all_inner_texts()


def conversation(page: Page) -> str:
    return str(page.get_attribute("#page-key", "data-conversation"))


def begin_anew(page: Page) -> None:
    page.click("#anew")
    expect(page.locator("#chat")).to_contain_text("Ask about")


def type_into_dialog(page: Page, text: str) -> None:
    page.fill(f"{DIALOG} #typed-field", text)
    page.click(f"{DIALOG} .chosen")
    expect(page.locator(DIALOG)).to_have_count(0)


def chat_lines(garden: Gardener, project: str, count: int, text: str = "") -> str:
    """A conversation of `count` messages, stored as a terminal would."""
    context = garden.context(project)
    made = garden.history.start(context.id, "Long").id
    with garden.state.write() as connection:
        connection.executemany(
            "INSERT INTO messages (conversation_id, project_id, role, content, created_at) VALUES (?, ?, ?, ?, 0)",
            [
                (made, context.id, "assistant" if number % 2 else "user", text or f"message number {number}.")
                for number in range(count)
            ],
        )
    return made


def test_the_list_shows_finds_renames_deletes_and_brings_back(page: Page, garden: Gardener) -> None:
    ask(page, "How is the lantern lit?")
    answered(page)
    begin_anew(page)
    ask(page, "Where is fuel burnt?")
    answered(page)
    assert page.is_hidden("#past")  # at this width; kept is what the reader chose
    page.click("#list-toggle")
    expect(page.locator("#find :is(input, textarea)")).to_be_focused()
    expect(page.locator("#listing .title")).to_have_text(["Where is fuel burnt?", "How is the lantern lit?"])
    expect(page.locator("#listing [aria-current] .title")).to_have_text("Where is fuel burnt?")
    page.fill("#find :is(input, textarea)", "burnt fuel")
    expect(page.locator("#listing .title")).to_have_text(["Where is fuel burnt?"])
    page.fill("#find :is(input, textarea)", "")
    expect(page.locator("#listing .title")).to_have_count(2)

    page.click("#head [data-act='rename']")
    type_into_dialog(page, "Fuel <b>and</b> fire")
    expect(page.locator("#head h2")).to_have_text("Fuel <b>and</b> fire")
    assert listed(page)[0] == "Fuel <b>and</b> fire"

    page.click("#head [data-act='delete']")
    expect(page.locator("#listing .title")).to_have_text(["How is the lantern lit?"])
    expect(page.locator("#chat")).to_contain_text("Ask about")
    expect(page.locator("#head [data-act='undelete']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#head h2")).to_have_text("Fuel <b>and</b> fire")
    answered(page)
    assert len(garden.history.list(garden.context().id)) == 2


def test_a_question_asked_in_other_words_is_a_branch(page: Page, steered: Steered, garden: Gardener) -> None:
    ask(page, "How is the lantern lit?")
    answered(page)
    ask(page, "And who lights it?")
    answered(page, 2)
    first = conversation(page)
    page.locator("#chat a[href*='#do-edit']").last.click()
    expect(page.locator(f"{DIALOG} #typed-field")).to_have_value("And who lights it?")
    type_into_dialog(page, "And who puts it out?")
    shows(page, "2 of 2")
    answered(page, 2)
    assert conversation(page) != first
    assert "And who lights it?" not in text_of(page) and "How is the lantern lit?" in text_of(page)
    sent = list(requests(steered.control))[-1]
    assert any("How is the lantern lit?" in message for message in sent)
    assert not any("And who lights it?" in message for message in sent)
    page.get_by_title("Previous branch").click()
    shows(page, "And who lights it?")
    assert conversation(page) == first and "1 of 2" in text_of(page)
    expect(page.locator("#listing .title")).to_have_count(1)
    assert "2 branches" in page.inner_text("#listing")
    assert len(garden.history.list(garden.context().id)) == 2


def test_regenerating_keeps_both_answers(page: Page, steered: Steered) -> None:
    (steered.control / "script.json").write_text(json.dumps(["the first answer"]))
    ask(page)
    shows(page, "the first answer")
    answered(page)
    (steered.control / "script.json").write_text(json.dumps(["another answer"]))
    page.click("#chat a[href*='#do-again']")
    shows(page, "another answer")
    answered(page)
    assert "the first answer" not in text_of(page)
    page.get_by_title("Next branch").click()
    shows(page, "the first answer")
    expect(page.locator("#listing [aria-current]")).to_have_count(1)
    page.click("#head [data-act='rename']")
    type_into_dialog(page, "Both of them")
    expect(page.locator("#head h2")).to_have_text("Both of them")
    assert listed(page) == ["Both of them"]


def test_a_thumb_with_its_reason_is_kept_listed_and_can_be_taken_back(
    page: Page, steered: Steered, garden: Gardener
) -> None:
    ask(page)
    answered(page)
    page.click("#chat a[href*='#do-bad']")
    page.get_by_role("button", name="Wrong place cited").click()
    page.click(f"{DIALOG} .chosen")
    shows(page, "✓ Not helpful")
    project = garden.context().id
    (answer,) = [m for m in garden.history.show(project, conversation(page)) if m.role == "assistant"]
    assert (answer.feedback, answer.feedback_reason) == (-1, "Wrong place cited")
    page.goto(f"{steered.app.url}/activity")
    rated = page.locator("#page-main tr", has_text="Wrong place cited")
    expect(rated).to_contain_text("not helpful")
    rated.get_by_role("link").click()
    shows(page, "✓ Not helpful")
    page.click("#chat a[href*='#do-unrate']")
    page.wait_for_function("!document.querySelector('#chat').innerText.includes('✓')")
    assert garden.history.message(project, answer.id).feedback == 0


def test_an_answer_and_a_code_block_are_copied_and_a_conversation_exported(
    page: Page, browser: BrowserContext, steered: Steered
) -> None:
    browser.grant_permissions(["clipboard-read", "clipboard-write"])
    (steered.control / "script.json").write_text(json.dumps(["See [1].\n\n```python\nprint('<a>')\n```\n"]))
    ask(page)
    answered(page)
    page.locator("#chat .bot a[href*='#do-copy']").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "See [1].\n\n```python\nprint('<a>')\n```\n"
    page.locator("#chat .code_wrap button").first.click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.trim() === \"print('<a>')\")")
    with page.expect_download() as saved:
        page.click("#head [data-act='markdown']")
    text = Path(saved.value.path()).read_text()
    assert saved.value.suggested_filename.endswith(".md") and "## Question" in text and "print('<a>')" in text
    with page.expect_download() as saved:
        page.click("#head [data-act='json']")
    assert json.loads(Path(saved.value.path()).read_text())["schema"] == "gardener.conversation/1"


def test_links_open_project_conversation_and_lines_and_carry_no_credential(
    page: Page, garden: Gardener, steered: Steered
) -> None:
    ask(page)
    answered(page)
    page.click("#sources [data-cite='1']")
    page.wait_for_selector("#source tr.cited")
    page.wait_for_function("location.search.includes('path=')")
    link = page.url
    assert steered.app.token not in link and "enter" not in link
    garden.switch("compass")
    page.wait_for_function("document.querySelector('#page-key').dataset.key.includes(':compass:')")
    page.wait_for_function("new URLSearchParams(location.search).get('project') === 'compass'")
    page.goto(link)
    shows(page, "word199")
    expect(page.locator("#source")).to_contain_text("as they were cited")
    assert garden.context().name == "lantern"
    page.goto(f"{steered.app.url}/?project=lantern&path=src/hostile.py&lines=1-1")
    expect(page.locator("#source tr.cited")).to_contain_text("Hostile lantern text")
    assert page.get_attribute("#source a.editor", "href") == (f"vscode://file{garden.context().root}/src/hostile.py:1")
    unknown = ("project=nowhere", "project=lantern&conversation=ffffffff", "project=lantern&path=../../etc/passwd")
    for wrong in unknown:
        page.goto(f"{steered.app.url}/?{wrong}")
        expect(page.locator("#notice [role=alert], #source [role=alert]").first).to_be_visible()


def test_a_reload_does_not_undo_a_switch_made_meanwhile(page: Page, garden: Gardener) -> None:
    ask(page)
    answered(page)
    page.route("**/api/pulse*", lambda route: route.abort())  # the page has not noticed yet
    garden.switch("compass")
    assert "project=lantern" in page.url
    page.reload()
    page.wait_for_selector("#page-key[data-project='compass']", state="attached")
    assert garden.context().name == "compass" and "word3" not in text_of(page)


def test_drafts_stay_with_their_project_until_they_are_asked(page: Page, garden: Gardener) -> None:
    question = page.locator("#question textarea")
    question.fill("half a question about")
    page.reload()
    expect(question).to_have_value("half a question about")
    garden.switch("compass")
    expect(question).to_have_value("")
    question.fill("and one for the compass")
    garden.switch("lantern")
    expect(question).to_have_value("half a question about")
    question.press("Enter")
    answered(page)
    page.reload()
    answered(page)
    expect(question).to_have_value("")
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert "and one for the compass" in stored and "word3" not in stored and "half a question" not in stored


def test_two_pages_and_a_terminal_share_a_conversation(page: Page, browser: BrowserContext, steered: Steered) -> None:
    other = browser.new_page()
    enter(other, steered)
    steered.hold(TENTH_WORD)
    ask(page)
    shows(page, "word3")
    other.click("#list-toggle")
    other.click("#listing [data-act='open']")
    shows(other, "word3")
    steered.release()
    for one in (page, other):
        answered(one)
    made = conversation(page)
    body = {"question": "From a terminal?", "conversation": made, "project": "lantern"}
    steered.client.request("POST", "/api/ask", body)
    for one in (page, other):
        answered(one, 2)
        assert text_of(one).count("From a terminal?") == 1 and conversation(one) == made
    begin_anew(other)  # the pages can lie open side by side
    ask(other, "Something else?")
    answered(other)
    assert "Something else?" not in text_of(page) and conversation(page) == made


def test_a_deleted_conversation_leaves_the_page(page: Page, garden: Gardener) -> None:
    ask(page)
    answered(page)
    garden.history.delete(garden.context().id, conversation(page))
    expect(page.locator("#chat")).to_contain_text("Ask about")
    assert "word3" not in text_of(page)


def test_two_pages_switching_at_once_agree(
    page: Page, browser: BrowserContext, steered: Steered, garden: Gardener
) -> None:
    other = browser.new_page()
    enter(other, steered)
    ask(page)
    answered(page)
    for one, name in ((page, "compass"), (other, "lantern"), (page, "compass")):
        one.focus("#project input")
        one.get_by_role("option", name=name).click(no_wait_after=True)
    wanted = garden.context().name
    until_shown = """name => document.querySelector('#page-key').dataset.project === name
        && !document.body.classList.contains('moving')"""
    for one in (page, other):
        one.wait_for_function(until_shown, arg=wanted)
    assert ("word3" in text_of(page)) == (wanted == "lantern")


def test_a_long_conversation_opens_at_its_end(page: Page, garden: Gardener, steered: Steered) -> None:
    made = chat_lines(garden, "lantern", 5_000)
    page.goto(f"{steered.app.url}/?project=lantern&conversation={made}")
    shows(page, "message number 4999.")
    assert "message number 4969." not in text_of(page)
    expect(page.locator("#earlier")).to_contain_text("4,970")
    page.click("#earlier button")
    shows(page, "message number 4940.")
    expect(page.locator("#earlier")).to_contain_text("4,940")
    ask(page, "And now?")
    shows(page, "word199")


def test_an_answer_of_megabytes_is_laid_out_in_part(
    page: Page, garden: Gardener, steered: Steered, browser: BrowserContext
) -> None:
    browser.grant_permissions(["clipboard-read", "clipboard-write"])
    long = "A line of an answer that goes on and on.\n" * 125_000
    made = chat_lines(garden, "lantern", 2, long)
    page.goto(f"{steered.app.url}/?project=lantern&conversation={made}")
    shows(page, "of 5,125,000 characters are shown")
    assert len(text_of(page)) < 200_000
    page.locator("#chat .bot a[href*='#do-copy']").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText().then((text) => text.length)") == len(long)


def test_without_a_model_the_page_says_so_answers_from_the_index_and_recovers(page: Page, steered: Steered) -> None:
    down = steered.control / "down"
    down.write_text("The scripted model is <b>asleep</b>.")
    line = page.locator("#model-line")
    expect(line).to_contain_text("The scripted model is <b>asleep</b>.")
    expect(line).to_contain_text("scripted start")
    ask(page)
    answered(page)
    assert "search only" in page.inner_text("#chat .facts")
    assert page.locator("#sources [data-cite]").count() > 0
    down.unlink()
    expect(line).to_be_empty()
    ask(page, "And now, how is the lantern lit?")
    shows(page, "word199")


@pytest.fixture
def own(garden: Gardener, tmp_path: Path) -> Iterator[Gardener]:
    """A home for a test that removes projects or kills the app."""
    made = Gardener(str(tmp_path / "home"))
    for name in ("lantern", "compass"):
        made.update_index(made.registry.add(garden.context(name).root))
    made.switch("lantern")
    yield made
    made.close()


def test_a_killed_app_leaves_an_incomplete_answer_that_goes_on(
    browser: BrowserContext, own: Gardener, tmp_path: Path, seen: Seen
) -> None:
    page = browser.pages[0]
    with app_process(own.paths.home, tmp_path / "control") as first:
        enter(page, first)
        first.hold(TENTH_WORD)
        ask(page)
        shows(page, "word3")
        page.locator("#question textarea").fill("a draft")
        made = conversation(page)
        first.process.kill()
        expect(page.locator("#lost")).to_contain_text("not running", timeout=5_000)
    with app_process(own.paths.home, tmp_path / "control", first.app.port) as second:
        shows(page, "This answer is incomplete.")
        assert conversation(page) == made and page.query_selector("#lost") is None
        expect(page.locator("#question textarea")).to_have_value("a draft")
        page.click("#chat a[href*='#do-continue']")
        shows(page, "word199")
        answered(page)
        assert text_of(page).count("How is the lantern lit?") == 1
        assert "This answer is incomplete." not in text_of(page)
        own.registry.remove("lantern")  # while its page is open
        expect(page.locator("#chat")).to_contain_text("No project yet")
        assert "word3" not in text_of(page) and listed(page) == []
        second.client.request("POST", "/api/switch", {"project": "compass"})
        expect(page.locator("#chat")).to_contain_text("Ask about compass")


def test_the_page_obeys_while_an_answer_is_being_followed(page: Page, steered: Steered) -> None:
    ask(page, "How is the lantern lit?")
    answered(page)
    first = conversation(page)
    steered.hold(TENTH_WORD)
    page.click("#chat a[href*='#do-again']")
    expect(page.locator("#stop")).to_be_visible()
    shows(page, "word3")
    begin_anew(page)
    assert "word3" not in text_of(page)
    page.click("#list-toggle")
    page.get_by_role("button", name="How is the lantern lit?").click()
    expect(page.locator("#stop")).to_be_visible()
    shows(page, "2 of 2")
    page.get_by_title("Previous branch").click()
    answered(page)
    assert conversation(page) == first
    steered.release()


def test_two_presses_of_enter_ask_once(page: Page, steered: Steered, garden: Gardener) -> None:
    steered.hold()  # the answer is still being written when the second arrives, however late that is
    joined = "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/queue/join')).length"
    before = page.evaluate(joined)
    page.fill("#question textarea", "How is the lantern lit?")
    page.evaluate("""() => {
        for (const kind of ['keydown', 'keypress']) for (let i = 0; i < 2; i++)
            document.querySelector('#question textarea').dispatchEvent(
                new KeyboardEvent(kind, { key: 'Enter', bubbles: true, cancelable: true }));
    }""")
    page.wait_for_function(f"before => {joined} >= before + 2", arg=before)
    shows(page, "Read ")
    steered.release()
    answered(page)
    page.wait_for_selector("#stop", state="hidden")
    (made,) = garden.history.list(garden.context().id)
    assert made.messages == 2

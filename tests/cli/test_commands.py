"""The command line as a user has it: real index, real state, real exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gardener.cli.commands import COMMANDS
from gardener.cli.console import json_text
from gardener.errors import EXIT_CODES

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_background_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARDENER_INDEX_BACKGROUND_EMBEDDING", "false")


@pytest.fixture
def added(gardener: Run, json_project: Path, embedder: None) -> Path:
    assert gardener("add", str(json_project), "--name", "json").code == 0
    return json_project


@pytest.fixture
def second(gardener: Run, tmp_path: Path) -> Path:
    root = tmp_path / "second place"
    root.mkdir()
    (root / "billing.py").write_text("def price_of_an_order(order):\n    return sum(order.lines)\n")
    assert gardener("add", str(root)).code == 0
    return root


# ---- help and usage ----------------------------------------------------------------------------------


def test_help_starts_with_examples_and_names_every_command(gardener: Run) -> None:
    said = gardener("--help")
    assert said.code == 0
    assert said.out.index("examples:") < said.out.index("projects:")
    assert all(name in said.out for name in COMMANDS)
    assert gardener().out == said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(gardener: Run, name: str) -> None:
    said = gardener(name, "--help")
    assert said.code == 0
    assert f"gardener {name}" in said.out
    assert gardener("help", name).out.strip() == said.out.strip()


def test_a_typo_gets_the_nearest_command(gardener: Run) -> None:
    said = gardener("serch", "x")
    assert said.code == 2
    assert "Did you mean 'search'?" in said.err
    assert said.out == ""


WRONG = [
    ("search",),
    ("search", "x", "--limit", "many"),
    ("add",),
    ("switch", "a", "b"),
    ("ask", "   "),
    ("list", "--nonsense"),
    ("--quiet",),
    ("help", "nothing"),
]


@pytest.mark.parametrize("words", WRONG)
def test_usage_errors_are_two_and_name_a_command(gardener: Run, words: tuple[str, ...]) -> None:
    said = gardener(*words)
    assert said.code == 2
    assert "try: gardener" in said.err


def test_the_command_to_try_is_about_the_project_that_was_named(gardener: Run, added: Path, second: Path) -> None:
    gardener("switch", "second")
    said = gardener("train", "--project", "json")
    assert "try: gardener train --model FOLDER --project json, or" in said.err
    assert "--project" not in gardener("train").err


def test_no_help_has_pythons_none(gardener: Run) -> None:
    assert "None" not in gardener("config", "--help").out


def test_exit_codes_are_documented(gardener: Run) -> None:
    said = gardener("help", "exit-codes")
    assert all(f"{code}  {text}" in said.out for code, text in EXIT_CODES.items())


def test_help_on_environment_and_files(gardener: Run, home: Path) -> None:
    assert "GARDENER_SEARCH_LIMIT" in gardener("help", "environment").out
    assert str(home / "state.db") in gardener("help", "files").out


def test_json_cannot_drive_the_terminal() -> None:
    value = {"text": "é \x1b[31m \x9b31m \u202e \u2066 \x7f \ud800 日本"}
    text = json_text(value)
    assert all(character.isprintable() for character in text)
    assert "é" in text and "日本" in text
    assert json.loads(text) == {"text": value["text"].replace("\ud800", "?")}


def test_errors_as_json_go_to_stderr(gardener: Run) -> None:
    said = gardener("switch", "nowhere", "--json")
    assert said.out == ""
    error = json.loads(said.err)["error"]
    assert error["code"] == "project-not-found"
    assert error["exit_code"] == said.code == 4


# ---- projects ----------------------------------------------------------------------------------------


def test_add_says_what_it_did(gardener: Run, json_project: Path) -> None:
    said = gardener("add", str(json_project))
    assert "chunks; searchable after" in said.out
    assert said.code == 0
    again = gardener("add", str(json_project))
    assert again.code == 1
    assert "registered already" in again.err


def test_add_as_json(gardener: Run, json_project: Path) -> None:
    report = gardener("add", str(json_project), "--json").json
    assert report["project"]["name"] == "json-project"
    assert report["active"] is True
    assert report["index"]["chunks"] > 20


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: folder / "missing", 4),
        (lambda folder: folder / "file.py", 2),
        (lambda folder: folder / "inside" / ".." / "missing", 4),
    ],
)
def test_bad_paths(gardener: Run, tmp_path: Path, make: Callable[[Path], Path], code: int) -> None:
    (tmp_path / "file.py").write_text("x = 1\n")
    (tmp_path / "inside").mkdir()
    said = gardener("add", str(make(tmp_path)))
    assert said.code == code
    assert "try: " in said.err


def test_the_same_folder_under_other_names(gardener: Run, added: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(added)
    for spelling in (tmp_path / "link", added / ".." / added.name, added / "json"):
        said = gardener("add", str(spelling))
        assert said.code == 1
        assert "json" in said.err


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "émoji 🌱", "ünïcode"])
def test_names_that_people_choose(gardener: Run, json_project: Path, name: str) -> None:
    assert gardener("add", str(json_project), "--name", name).code == 0
    assert gardener("list", "--json").json["projects"][0]["name"] == name
    assert gardener("search", "decode", "--project", name, "--json").json["project"] == name


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-rf", "tab\there", "\u202ebidi"])
def test_names_that_are_refused(gardener: Run, json_project: Path, name: str) -> None:
    said = gardener("add", str(json_project), f"--name={name}")
    assert said.code == 2
    assert gardener("list", "--json").json["projects"] == []


def test_switching(gardener: Run, added: Path, second: Path) -> None:
    assert gardener("status", "--json").json["project"] == "second place"
    assert gardener("switch", "json").out.startswith("json ")
    assert gardener("status", "--json").json["project"] == "json"
    assert gardener("switch", "-", "--json").json["project"] == "second place"
    said = gardener("switch", "jsno")
    assert said.code == 4
    assert "'json'" in said.err
    assert gardener("status", "--json").json["project"] == "second place"


def test_a_switch_to_a_vanished_folder_changes_nothing(gardener: Run, added: Path, second: Path) -> None:
    added.rename(added.with_name("moved"))
    said = gardener("switch", "json")
    assert said.code == 4
    assert gardener("status", "--json").json["project"] == "second place"
    assert "missing" in gardener("list").out
    assert gardener("move", "json", str(added.with_name("moved"))).code == 0
    assert gardener("switch", "json").code == 0
    assert gardener("search", "raw_decode", "--json").json["hits"]


def test_add_can_leave_the_active_project(gardener: Run, added: Path, tmp_path: Path) -> None:
    (tmp_path / "third").mkdir()
    gardener("add", str(tmp_path / "third"), "--no-switch")
    assert gardener("status", "--json").json["project"] == "json"


def test_rename_remove_restore_purge(gardener: Run, added: Path, home: Path) -> None:
    gardener("ask", "what is raw_decode and platypus4711?")
    assert gardener("rename", "json", "codec").code == 0
    assert gardener("remove", "codec").code == 0
    assert gardener("list", "--json").json["projects"] == []
    assert gardener("search", "x").code == 4
    assert gardener("restore", "codec").code == 0
    assert gardener("switch", "codec").code == 0
    assert gardener("search", "raw_decode", "--json").json["hits"]
    refused = gardener("remove", "codec", "--purge")
    assert refused.code == 2
    assert gardener("list", "--json").json["projects"]
    purged = gardener("remove", "codec", "--purge", "--yes")
    assert purged.code == 0 and "backups from before still hold it" in purged.err and "may still name it" in purged.err
    left = [path for path in home.rglob("*") if path.is_file() and b"platypus4711" in path.read_bytes()]
    assert left == []
    assert list((home / "projects").iterdir()) == []


def test_show_and_what_was_left_out(gardener: Run, added: Path) -> None:
    (added / "photo.png").write_bytes(b"\x89PNG\0")
    (added / "settings.py").write_text("AWS = 'AKIA" + "QYLPMN5HHHFPZAM2'\n")
    gardener("index")
    said = gardener("show")
    assert "python" in said.out
    skipped = gardener("show", "--skipped", "--json").json["skipped"]
    assert {"path": "photo.png", "reason": "binary-extension"}.items() <= skipped[0].items() or skipped
    secrets = gardener("show", "--secrets", "--json").json["secrets"]
    assert [(entry["path"], entry["line"]) for entry in secrets] == [("settings.py", "1")]


def added_file(folder: Path) -> Path:
    (folder / "a-file").touch()
    return folder / "a-file"


def test_empty_states_say_what_to_do(gardener: Run, tmp_path: Path) -> None:
    assert "gardener add" in gardener("list").err
    assert "gardener add" in gardener("status").err
    said = gardener("ask", "anything")
    assert said.code == 4
    assert "gardener add" in said.err
    (tmp_path / "hollow").mkdir()
    assert "gardener index --project hollow" in gardener("add", str(tmp_path / "hollow")).err
    said = gardener("status")
    assert "0 files" in said.out and "try: gardener index" in said.err and "gardener show --skipped" in said.err
    (tmp_path / "hollow").rmdir()
    assert f"folder {tmp_path}/hollow was gone before" in gardener("remove", "hollow").out
    assert 'gardener move "hollow" NEW_PATH' in gardener("restore", "hollow").err
    assert f"try: gardener move hollow {tmp_path}" in gardener("move", "hollow", str(added_file(tmp_path))).err
    said = gardener("list", "--home", str(added_file(tmp_path)))
    assert said.code == 1 and "is a file, and Gardener needs a folder there" in said.err


# ---- search ------------------------------------------------------------------------------------------


def test_search_json_keeps_its_contract(gardener: Run, added: Path) -> None:
    found = gardener("search", "decode a document", "--json", "--limit", "3").json
    assert set(found) >= {"project", "query", "index", "hits"}
    assert set(found["index"]) >= {"head", "fresh", "embedded_fraction"}
    assert len(found["hits"]) == 3
    for hit in found["hits"]:
        assert set(hit) >= {"path", "start_line", "end_line", "symbol", "kind", "language", "score", "text", "sources"}
        lines = (added / hit["path"]).read_text().split("\n")
        assert "\n".join(lines[hit["start_line"] - 1 : hit["end_line"]]) == hit["text"]


def test_search_for_people(gardener: Run, added: Path) -> None:
    said = gardener("search", "raw_decode")
    assert said.out.startswith("json/decoder.py:")
    assert "\033" not in said.out


def test_batch(gardener: Run, added: Path, tmp_path: Path) -> None:
    batch = tmp_path / "questions.jsonl"
    batch.write_text('{"id": 1, "query": "raw_decode"}\nnot json\n\n{"id": "b", "query": "scanner"}\n{"id": 3}\n')
    said = gardener("search", "--batch", str(batch), "--json")
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["id"] for answer in answers] == [1, None, "b", None]
    assert answers[0]["hits"][0]["symbol"] == "JSONDecoder.raw_decode"
    assert "error" in answers[1]
    assert answers[2]["hits"]
    assert said.code == 2
    assert "line 2" in said.err
    assert "line 5" in said.err
    assert gardener("search", "--batch", str(tmp_path / "none.jsonl")).code == 4


def test_all_projects_are_labelled(gardener: Run, added: Path, second: Path) -> None:
    found = gardener("search", "price of an order decode", "--all-projects", "--json").json
    assert {hit["project"] for hit in found["hits"]} == {"json", "second place"}
    assert "[second place]" in gardener("search", "price_of_an_order", "--all-projects").out


# ---- ask, chat, history ------------------------------------------------------------------------------


def test_ask_json_keeps_its_contract(gardener: Run, added: Path) -> None:
    answer = gardener("ask", "how does raw_decode work?", "--json").json
    assert set(answer) >= {"answer", "citations", "backend", "model", "degradation", "usage", "timings_ms", "project"}
    assert answer["backend"] == "extractive"
    assert answer["degradation"] == "search only"
    assert answer["citations"]
    for citation in answer["citations"]:
        assert set(citation) >= {"n", "path", "start_line", "end_line", "sha256", "state"}
        assert citation["state"] == "current"
        assert f"[{citation['n']}]" in answer["answer"]
        assert (added / citation["path"]).is_file()


def test_ask_says_when_there_is_nothing(gardener: Run, added: Path) -> None:
    answer = gardener("ask", "which spices go into a lasagna?", "--json").json
    assert "nothing relevant" in answer["answer"].lower()
    assert answer["citations"] == []


def test_ask_for_people(gardener: Run, added: Path) -> None:
    said = gardener("ask", "where is raw_decode?", "--receipt")
    assert "json/decoder.py:" in said.out
    assert "level: search only" in said.err
    assert "Context:" in said.out


def test_a_conversation_goes_on(gardener: Run, added: Path) -> None:
    first = gardener("ask", "what does raw_decode do?", "--json").json
    second_answer = gardener("ask", "who calls it?", "--continue", "--json").json
    assert second_answer["conversation"] == first["conversation"]
    assert "decode" in second_answer["answer"]
    listed = gardener("history", "--json").json["conversations"]
    assert [entry["id"] for entry in listed] == [first["conversation"]]
    shown = gardener("history", "show").out
    assert "what does raw_decode do?" in shown
    assert "who calls it?" in shown


def test_what_cannot_be_finished_is_said(gardener: Run, added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    assert gardener("ask").code == 2
    assert gardener("ask", "--continue").code == 2
    gardener("ask", "what does raw_decode do?")
    refused = gardener("ask", "--continue")
    assert refused.code == 2 and "is complete" in refused.err and refused.out == ""
    monkeypatch.setattr("sys.stdin", io.StringIO("/continue\n"))
    assert "is complete" in gardener("chat").err


def test_usage_for_people_and_programs(gardener: Run, added: Path) -> None:
    assert "No answers yet" in gardener("usage").err
    gardener("ask", "what does raw_decode do?")
    said = gardener("usage")
    assert said.code == 0 and said.out.startswith("PROJECT") and "levels search only 1" in said.out
    found = gardener("usage", "--by", "day", "--days", "2", "--json").json
    assert [line["answers"] for line in found["lines"]] == [1] and found["today"]["tokens"] == 0
    assert gardener("usage", "--project", "nobody").code == 4
    assert gardener("usage", "--days", "0").code == 2
    gardener("config", "set", "usage.daily_tokens", "100")
    assert "Today: 0 of 100 tokens, 0 % of the daily budget." in gardener("usage").out


def test_chat_reads_questions_from_a_pipe(gardener: Run, added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("what does raw_decode do?\n\nwho calls it?\n/quit\n"))
    said = gardener("chat")
    assert said.code == 0
    assert said.out.count("json/decoder.py") >= 2
    assert len(gardener("history", "list", "--json").json["conversations"]) == 1


def test_history_search_export_delete_undo(gardener: Run, added: Path, second: Path) -> None:
    gardener("ask", "what does raw_decode do?", "--project", "json")
    identifier = gardener("history", "list", "--project", "json", "--json").json["conversations"][0]["id"]
    assert gardener("history", "list", "--json").json["conversations"] == []  # the active project is the other one
    assert gardener("history", "show", identifier).code == 4
    on = ("--project", "json")
    assert gardener("history", "search", "raw_decode", *on, "--json").json["hits"]
    assert "# " in gardener("history", "export", identifier, *on).out
    assert gardener("history", "export", identifier, "--format", "json", *on).json["messages"]
    assert gardener("history", "delete", identifier, *on).code == 0
    assert gardener("history", "list", *on, "--json").json["conversations"] == []
    assert gardener("history", "restore", identifier, *on).code == 0
    assert len(gardener("history", "list", *on, "--json").json["conversations"]) == 1


def test_no_history_keeps_nothing(gardener: Run, added: Path) -> None:
    gardener("ask", "what does raw_decode do?", "--no-history")
    assert gardener("history", "--json").json["conversations"] == []


# ---- care --------------------------------------------------------------------------------------------


def test_doctor_names_each_check(gardener: Run, added: Path) -> None:
    said = gardener("doctor", "--json")
    found = {finding["check"]: finding["severity"] for finding in said.json["findings"]}
    assert {"versions", "home", "config", "disk", "state", "sqlite", "git", "embedder", "project", "app"} <= set(found)
    assert found["project"] == "ok"


def test_doctor_finds_what_is_wrong(gardener: Run, added: Path, home: Path) -> None:
    (home / "config.toml").write_text("config_version = 1\n")  # what a program writes itself it also closes itself
    os.chmod(home / "config.toml", 0o644)
    added.rename(added.with_name("gone"))
    said = gardener("doctor")
    assert said.code == 1
    assert "XX  home" in said.out and "modes-open" in said.out
    assert "XX  project json" in said.out and "project-folder-gone" in said.out
    assert "gardener move" in said.out


def test_doctor_says_a_wrong_setting_once_and_blames_no_index(gardener: Run, added: Path, home: Path) -> None:
    (home / "config.toml").write_text("[serch]\nlimit = 3\n")
    os.chmod(home / "config.toml", 0o600)
    said = gardener("doctor")
    assert said.code == 1 and said.out.count("no section [serch]") == said.out.count("runbook config-invalid") == 1
    assert "XX  index json: not checked, for what is said at config" in said.out
    assert "index-damaged" not in said.out + str(gardener("doctor", "--json").json)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_valid_where_the_shell_is(gardener: Run, shell: str, tmp_path: Path) -> None:
    import shutil

    said = gardener("completion", shell)
    assert "switch" in said.out
    script = tmp_path / "completion"
    script.write_text(said.out)
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes_commands_and_projects(gardener: Run, added: Path, tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(gardener("completion", "bash").out)
    ask = """source "$1"; gardener() { echo json; }
      COMP_WORDS=(gardener sw); COMP_CWORD=1; _gardener; echo "${COMPREPLY[@]}"
      COMP_WORDS=(gardener switch j); COMP_CWORD=2; _gardener; echo "${COMPREPLY[@]}"
      COMP_WORDS=(gardener search --no-t); COMP_CWORD=2; _gardener; echo "${COMPREPLY[@]}" """
    done = subprocess.run(
        ["bash", "-c", ask, "bash", str(tmp_path / "completion")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["switch", "json", "--no-tests"]


# ---- whole processes ---------------------------------------------------------------------------------


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gardener.cli.main", *words], capture_output=True, text=True, check=False, **options
    )


def test_a_closed_pipe_is_no_error(added: Path) -> None:
    command = f"{sys.executable} -m gardener.cli.main search decode --limit 50 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_light_command_imports_nothing_heavy(added: Path) -> None:
    script = (
        "import sys; sys.argv = ['gardener', *sys.argv[1:]]; before = set(sys.modules)\n"
        "from gardener.cli import main\n"
        "try: main.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numpy', 'lancedb', 'gradio', 'pyarrow', 'onnxruntime', 'httpx', 'fastapi', 'dataclasses'}\n"
        "found = heavy & set(sys.modules) - before\n"  # coverage has imports of its own
        "assert not found, found\n"
    )
    for words in (("switch", "json"), ("--help",)):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_vectors_are_made_by_a_process_that_ends(added: Path, monkeypatch: pytest.MonkeyPatch, gardener: Run) -> None:
    monkeypatch.delenv("GARDENER_INDEX_BACKGROUND_EMBEDDING")
    said = process("index", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["vectors"]["made_by"] == "background process"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = gardener("status", "--json").json
        if status["vectors"] and status["vectors"] == status["contents"] and not status["vectors_by"]:
            break
        time.sleep(0.2)
    assert status["vectors"] == status["contents"] > 0


def test_a_damaged_state_is_named(added: Path, home: Path, gardener: Run) -> None:
    (home / "state.db").write_bytes(b"this is not a database" * 1000)
    for suffix in ("-wal", "-shm"):
        (home / f"state.db{suffix}").unlink(missing_ok=True)
    said = gardener("list")
    assert said.code == 8
    assert str(home / "state.db") in said.err


def test_a_damaged_index_is_named_and_rebuilt(added: Path, home: Path, gardener: Run) -> None:
    for manifest in home.glob("projects/*/index/manifest.db*"):
        manifest.unlink() if manifest.suffix != ".db" else manifest.write_bytes(b"garbage" * 2000)
    said = gardener("search", "raw_decode")
    assert said.code == 8
    assert "gardener index --rebuild" in said.err
    assert gardener("index", "--rebuild").code == 0
    assert gardener("search", "raw_decode", "--json").json["hits"]


def test_a_wrong_setting_stops_commands_but_not_config(added: Path, home: Path, gardener: Run) -> None:
    (home / "config.toml").write_text("[search]\nlimit = 'many'\n")
    said = gardener("search", "x")
    assert said.code == 3
    assert "search.limit" in said.err
    assert gardener("config", "validate").code == 3
    assert gardener("switch", "json").code == 0  # nothing of it is needed
    assert gardener("help").code == 0


def test_one_broken_project_does_not_end_a_search_over_all(gardener: Run, added: Path, second: Path) -> None:
    second.rename(second.with_name("moved away"))
    said = gardener("search", "raw_decode", "--all-projects", "--json")
    assert said.code == 0
    assert {hit["project"] for hit in said.json["hits"]} == {"json"}
    assert "second place" in said.err


def test_every_setting_is_read_somewhere() -> None:
    from gardener.settings_schema import SETTINGS

    top = Path(__file__).resolve().parent.parent.parent
    files = [path for room in ("gardener", "ui") for path in (top / room).rglob("*.py")]
    source = "".join(path.read_text() for path in files if path.name != "settings_schema.py")
    assert [setting.key for setting in SETTINGS if f'"{setting.key}"' not in source] == []


def test_commands_named_in_messages_exist() -> None:
    import re

    top = Path(__file__).resolve().parent.parent.parent
    source = "".join(path.read_text() for path in (top / "gardener").rglob("*.py"))
    named = set(re.findall(r"""["'(]gardener ([a-z]+)\b(?! \()""", source)) - {"serve"}
    assert named - set(COMMANDS) == set()


# ---- disk and damage ---------------------------------------------------------------------------------


def test_disk_says_what_takes_room_and_cleans(gardener: Run, added: Path) -> None:
    said = gardener("disk", "--json")
    assert said.code == 0
    assert said.json["projects"][0]["name"] == "json"
    assert said.json["total_bytes"] > said.json["projects"][0]["bytes"] > 0
    assert "largest:" in gardener("disk").out
    assert gardener("disk", "--clean", "--dry-run", "--json").json == {"would_free": []}
    assert "nothing to remove" in gardener("disk", "--clean").out
    assert gardener("disk", "--clean", "--json").json["freed_bytes"] >= 0
    assert gardener("disk", "--dry-run").code == 2


def test_doctor_names_the_damaged_file_and_repair_mends_it(gardener: Run, added: Path, home: Path) -> None:
    assert gardener("doctor", "--deep").code in (0, 1)
    data = next(home.glob("projects/*/index/chunks.lance/data/*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    data.write_bytes(content)
    said = gardener("doctor", "--deep", "--json")
    assert said.code == 1
    (finding,) = [
        finding for finding in said.json["findings"] if (finding["check"], finding["subject"]) == ("index", "json")
    ]
    assert finding["severity"] == "error" and str(data) in finding["detail"]
    assert finding["fix"] == "gardener index --repair --project json"
    said = gardener("index", "--repair", "--project", "json")
    assert said.code == 0 and str(data) in said.err and "built anew" in said.err
    findings = gardener("doctor", "--deep", "--json").json["findings"]
    assert [f["severity"] for f in findings if (f["check"], f["subject"]) == ("index", "json")] == ["ok"]
    assert "Nothing is damaged" in gardener("index", "--repair").err


def test_a_restore_says_which_index_was_not_in_the_backup(gardener: Run, added: Path, home: Path) -> None:
    data = next(home.glob("projects/*/index/chunks.lance/data/*"))
    data.write_bytes(data.read_bytes()[::-1])
    assert "Left out: index of json" in gardener("backup", "create").err
    said = gardener("backup", "restore", "--yes")
    assert said.code == 0 and "no index of json; it is made again by: gardener index --project json" in said.err
    assert "Deleted: 1 kept state." in gardener("backup", "restore", "--confirm").out


def test_a_backup_says_whether_it_is_at_the_second_place(gardener: Run, added: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    gardener("config", "set", "backup.second_folder", str(disk))
    said = gardener("backup", "create")
    assert said.code == 0 and f"{disk} is not there" in said.err and not disk.exists()
    disk.mkdir()
    made = gardener("backup", "create", "--json").json
    assert made["copied_to"] == str(disk) and (disk / made["id"] / "manifest.json").is_file()


def test_the_app_that_did_not_start_says_why_once(gardener: Run, added: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        gardener("config", "set", "server.port", str(port))
        said = gardener("ui", "--no-browser")
    assert said.code and said.err.endswith(
        f"error: The app did not start: 127.0.0.1:{port} is used by another program.\n"
        "  try: gardener runbook port-taken\n"
    )


def test_an_error_that_has_a_runbook_names_it(gardener: Run, added: Path, home: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(home / "state.db")) as database:
        database.execute("PRAGMA user_version = 99")
    said = gardener("list")
    assert said.code == 8 and said.err.endswith("  more: gardener runbook state-newer\n")


def test_doctor_counts_the_rows(gardener: Run, added: Path, home: Path) -> None:
    import sqlite3

    (manifest,) = home.glob("projects/*/index/manifest.db")
    with sqlite3.connect(manifest) as database:
        database.execute("UPDATE files SET chunks = chunks + 1 WHERE path = 'README.md'")
    database.close()
    findings = gardener("doctor", "--json").json["findings"]
    (finding,) = [finding for finding in findings if (finding["check"], finding["subject"]) == ("index", "json")]
    assert finding["severity"] == "error" and "the manifest" in finding["detail"]
    assert finding["fix"] == "gardener index --rebuild --project json"

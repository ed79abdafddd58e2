"""Tries a version on a copy of the data before anything live is touched.

The copy is a backup, restored into a scratch home. What the version in force says of it is what the new one is measured
by: whatever the doctor found well must be well, the app must become ready, every question that was answered must be
answered, with the best place that was found still among the first ten. A new version may rank otherwise; it may not
find nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

from gardener.backup.store import Entry
from gardener.backup.verify import ask_index, stage
from gardener.errors import GardenerError, UpgradeFailed
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory, index_directory, open_private
from gardener.upgrade.commands import Commands, clean_environment, gardener, kill_group
from gardener.upgrade.prepare import link

MOST_PROJECTS = 3
MOST_QUESTIONS = 3
"""For each project."""
_MOST_MODEL_BYTES = 300_000_000
"""Larger models are not lent to the scratch home; the packaged embedder has 90 MB."""

QUIET = {
    "GARDENER_INDEX_STORAGE": "",  # a copy must never write to the tables of the original
    "GARDENER_INDEX_WATCH": "off",
    "GARDENER_INDEX_BACKGROUND_EMBEDDING": "false",
    "GARDENER_MODELS_BACKEND": "extractive",
    "GARDENER_MODELS_FALLBACK": "",
    "GARDENER_MODELS_STRONGER": "",
    "GARDENER_MODELS_PRELOAD": "false",
    "GARDENER_BACKUP_FOLDER": "",
    "GARDENER_BACKUP_SECOND_FOLDER": "",
    "GARDENER_BACKUP_EVERY_HOURS": "0",
    "GARDENER_BACKUP_DRILL_DAYS": "0",
    "GARDENER_HEALTH_ALERTS": "none",
}
"""Settings of a trial: it asks no model, writes nowhere else, and does nothing by itself."""


class Patience(NamedTuple):
    """How long each step may take, in seconds."""

    command: float = 180.0
    ready: float = 120.0
    end: float = 30.0


class Question(NamedTuple):
    """Words that stand in a project for certain, and the paths that the version in force found, best first."""

    project: str
    words: str
    paths: tuple[str, ...]


class Reference(NamedTuple):
    """What the version in force said of the copy: its questions with their answers, and what the doctor found wrong."""

    questions: tuple[Question, ...]
    known: frozenset[str]
    wrong: frozenset[str]


def copy_home(paths: Paths, entry: Entry | None, scratch: str) -> None:
    """Fills the folder `scratch` with what a backup has; without one with nothing. Raises BackupDamaged, OSError."""
    ensure_directory(scratch)
    if entry is None or entry.manifest is None:
        return
    stage(entry.path, entry.manifest, scratch)
    with closing(sqlite3.connect(os.path.join(scratch, "state.db"))) as database, database:
        # A project's own model is not what is tried, and may be a server that costs money.
        database.execute("UPDATE projects SET backend = 'extractive', model = '', adapter = ''")
    for name in os.listdir(paths.models) if os.path.isdir(paths.models) else ():
        model = os.path.join(paths.models, name)
        if os.path.isdir(model) and _size(model) <= _MOST_MODEL_BYTES:
            shutil.copytree(model, os.path.join(scratch, "models", name), copy_function=link)


def _size(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


def reference(python: str, scratch: str, entry: Entry | None, commands: Commands, patience: Patience) -> Reference:
    """What the version of `python` says of the copy, which it may bring up to date meanwhile."""
    known, wrong = _doctor(python, scratch, commands, patience)
    questions: list[Question] = []
    for project in entry.manifest.projects if entry and entry.manifest else ():
        if project.removed or project.index_problem or len({one.project for one in questions}) == MOST_PROJECTS:
            continue
        _, probes = ask_index(index_directory(Paths(scratch).project_home(project.id)), project.name)
        questions += [Question(project.id, " ".join(probe.words), ()) for probe in probes[:MOST_QUESTIONS]]
    answered: list[Question] = []
    for project_id in dict.fromkeys(one.project for one in questions):
        of_one = [one for one in questions if one.project == project_id]
        try:
            answered += ask(python, scratch, of_one, commands, patience)
        except UpgradeFailed as error:  # its folder is gone, say: nothing that a new version could get wrong
            commands.note(f"not compared: {error.message}")
    return Reference(tuple(one for one in answered if one.paths), known, wrong)


def try_version(
    python: str, scratch: str, expected: Reference, commands: Commands, patience: Patience
) -> tuple[list[str], int]:
    """What the version of `python` gets wrong on the copy, and how many questions it was asked. Migrates the copy."""
    try:
        _, wrong = _doctor(python, scratch, commands, patience)
        problems = [f"gardener doctor now finds: {name}" for name in sorted((wrong - expected.wrong) & expected.known)]
        with _app(python, scratch, commands, patience) as url:
            if not ready(url):
                problems.append("the app does not say that it is ready")
            problems += compare(expected.questions, ask(python, scratch, expected.questions, commands, patience))
            if expected.questions and not problems:
                problems += _answer(python, scratch, expected.questions[0], commands, patience)
    except UpgradeFailed as error:
        problems = [error.message]
    return problems, len(expected.questions)


def compare(expected: tuple[Question, ...], found: list[Question]) -> list[str]:
    """What is missing in answers, in sentences."""
    problems = []
    for before, now in zip(expected, found, strict=True):
        if before.paths and not now.paths:
            problems.append(f"a search for {before.words!r} finds nothing any more")
        elif before.paths and before.paths[0] not in now.paths:
            problems.append(f"a search for {before.words!r} does not find {before.paths[0]} any more")
    return problems


def ask(
    python: str,
    home: str,
    questions: list[Question] | tuple[Question, ...],
    commands: Commands,
    patience: Patience,
    *,
    live: bool = False,
) -> list[Question]:
    """Puts the questions to a home by the command line of a version, through its app if one runs there."""
    found: dict[int, Question] = {}
    for project in dict.fromkeys(question.project for question in questions):
        numbered = [(number, one) for number, one in enumerate(questions) if one.project == project]
        lines = "".join(json.dumps({"id": number, "query": one.words}) + "\n" for number, one in numbered)
        said = commands.run(
            gardener(python, "search", "--home", home, "--project", project, "--json", "--limit", "10", "--batch", "-"),
            seconds=patience.command, folder=home, environment={} if live else _environment(home), text=lines,
            write_down=False,
        )  # fmt: skip
        if said.code:
            raise UpgradeFailed(f"A search in project {project} failed: {_error(said.err)}")
        try:
            answers = [json.loads(line) for line in said.out.splitlines()]
            for answer in answers:
                paths = tuple(dict.fromkeys(str(hit["path"]) for hit in answer["hits"]))
                found[answer["id"]] = questions[answer["id"]]._replace(paths=paths)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UpgradeFailed(f"A search in project {project} gave no answer that can be read ({error}).") from error
    if len(found) != len(questions):
        raise UpgradeFailed(f"{len(found)} of {len(questions)} searches were answered.")
    return [found[number] for number in range(len(questions))]


def ready(url: str) -> bool:
    """Whether the app at `url` answers /readyz with yes, within five seconds."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200 and json.loads(answer.read(100_000)).get("ready") is True
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _doctor(python: str, home: str, commands: Commands, patience: Patience) -> tuple[frozenset[str], frozenset[str]]:
    """The names of its checks, and of those that found an error."""
    said = commands.run(
        gardener(python, "doctor", "--home", home, "--json"),
        seconds=patience.command, folder=home, environment=_environment(home),
    )  # fmt: skip
    try:
        findings: list[dict[str, Any]] = json.loads(said.out)["findings"]
        names = [(f"{one['check']} {one.get('subject') or ''}".strip(), one["severity"]) for one in findings]
    except (ValueError, KeyError, TypeError) as error:
        raise UpgradeFailed(f"gardener doctor failed: {_error(said.err)}") from error
    return frozenset(name for name, _ in names), frozenset(name for name, severity in names if severity == "error")


def _answer(python: str, home: str, question: Question, commands: Commands, patience: Patience) -> list[str]:
    """A whole answer by search alone, through the app."""
    said = commands.run(
        gardener(
            python, "ask", "--home", home, "--project", question.project, "--json", "--no-history",
            f"Where is {question.words}?",
        ),
        seconds=patience.command, folder=home, environment=_environment(home), write_down=False,
    )  # fmt: skip
    try:
        answer = json.loads(said.out)
        whole = bool(answer["complete"]) and bool(str(answer["answer"]).strip())
    except (ValueError, KeyError, TypeError):
        whole = False
    return [] if said.code == 0 and whole else [f"a question is not answered: {_error(said.err) or said.out[:200]}"]


@contextmanager
def _app(python: str, home: str, commands: Commands, patience: Patience) -> Iterator[str]:
    """A version's app on a free port; its address once it says that it listens. Raises UpgradeFailed."""
    commands.note(f"start: the app on a copy ({python})")
    with open(commands.log, "ab", opener=open_private) as log:
        process = subprocess.Popen(
            gardener(python, "serve", "--home", home, "--host", "127.0.0.1", "--port", "0", "--quiet"),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=clean_environment(_environment(home)),
            start_new_session=True,
        )  # fmt: skip
    try:
        yield _listening(process, home, patience)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(patience.end)
        except subprocess.TimeoutExpired as error:
            raise UpgradeFailed(f"The app does not end within {patience.end:.0f} s when it is asked to.") from error
        if code:
            raise UpgradeFailed(f"The app ended with exit code {code} when it was asked to end.")
    finally:
        kill_group(process)
        process.wait()


def end_left_over(home: str) -> None:
    """Ends the app that a killed trial has left running on its copy."""
    holder = ProcessLock(os.path.join(Paths(home).run, "app.lock"), "gardener upgrade").holder()
    if holder and holder["pid"]:
        with suppress(ProcessLookupError):
            os.kill(int(str(holder["pid"])), signal.SIGKILL)


def _listening(process: subprocess.Popen[bytes], home: str, patience: Patience) -> str:
    until = time.monotonic() + patience.ready
    path = os.path.join(Paths(home).run, "app.json")
    url = ""
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UpgradeFailed(f"The app did not start: it ended with exit code {process.returncode}.")
        try:
            with open(path, encoding="utf-8") as handle:
                found = json.load(handle)
            url = f"http://{found['host']}:{found['port']}"
        except (OSError, ValueError, KeyError):
            url = ""  # not there yet
        if url and ready(url):
            return url
        time.sleep(0.1)
    raise UpgradeFailed(
        f"The app did not say that it is ready within {patience.ready:.0f} s" + ("." if url else ", nor listen.")
    )


def _environment(home: str) -> dict[str, str]:
    return {**QUIET, "GARDENER_HOME": home}


def _error(text: str) -> str:
    """The message of an error that a command printed with --json, or the last of what it printed."""
    try:
        return str(json.loads(text.splitlines()[-1])["error"]["message"])
    except (ValueError, KeyError, TypeError, IndexError, GardenerError):
        return " ".join(text.split())[-400:]

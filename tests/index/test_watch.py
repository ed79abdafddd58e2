"""Watching a real folder: real inotify (or FSEvents), a real index, real git."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.index import watch as watch_module
from gardener.index.search import SearchRequest
from gardener.index.watch import FolderWatcher, WatchState, file_system
from gardener.projects import checkout
from gardener.types import ProjectContext
from tests.conftest import git

PATIENCE_S = 120.0


class Watched:
    """A watcher of one project whose updates can be waited for."""

    def __init__(self, gardener: Gardener, context: ProjectContext, **options: object) -> None:
        self.gardener, self.context = gardener, context
        self.updates = 0
        self.comparisons = 0
        self._changed = threading.Condition()
        self.watcher = FolderWatcher(
            context.root,
            compare=self._compare,
            update=self._update,
            head=lambda: checkout.head_commit(context.root),
            git_directory=checkout.git_directory(context.root),
            **options,  # type: ignore[arg-type]
        )

    def _compare(self) -> object:
        found = self.gardener.index(self.context).compare()
        with self._changed:
            self.comparisons += 1
            self._changed.notify_all()
        return found

    def _update(self) -> bool:
        self.gardener.update_index(self.context)
        with self._changed:
            self.updates += 1
            self._changed.notify_all()
        return True

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it is so; looked at again whenever the watcher has done something, and now and then."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not what():
                assert time.monotonic() < deadline, (self.watcher.state, self.updates, self.comparisons)
                self._changed.wait(0.05)

    def wait_until(self, mode: str, detail: str = "") -> None:
        self.wait(lambda: self.watcher.state.mode == mode and detail in self.watcher.state.detail)

    def indexed(self) -> set[str]:
        return set(self.gardener.index(self.context).indexer.manifest.files())

    def hits(self, query: str) -> set[str]:
        """What is in the index, without the look at the disk that a search takes first."""
        index = self.gardener.index(self.context)
        request = SearchRequest(query, 50, words_only=True)
        return {hit.path for hit in index.searcher.search(request, index.state()).hits if "lexical" in hit.sources}


@pytest.fixture
def watching(gardener: Gardener, git_project: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []
    (git_project / ".gitignore").write_text("ignored/\n*.log\n")
    context = gardener.registry.add(str(git_project), "json")
    gardener.update_index(context)

    def start(**options: object) -> Watched:
        watched = Watched(gardener, context, **options)
        made.append(watched)
        watched.watcher.start()
        return watched

    yield start
    for watched in made:
        watched.watcher.ask_to_stop()
    assert all(watched.watcher.join() for watched in made)


def test_an_edit_a_new_folder_and_a_deletion_reach_the_index(
    watching: Callable[..., Watched], git_project: Path
) -> None:
    watched = watching()
    watched.wait_until("watching", "2 folders")
    (git_project / "json" / "scanner.py").write_text("def zebrawatch():\n    return 1\n")
    watched.wait(lambda: watched.hits("zebrawatch") == {"json/scanner.py"})

    (git_project / "json" / "deep" / "er").mkdir(parents=True)
    (git_project / "json" / "deep" / "er" / "new.py").write_text("def okapiwatch():\n    return 1\n")
    watched.wait(lambda: watched.hits("okapiwatch") == {"json/deep/er/new.py"})
    watched.wait_until("watching", "4 folders")
    (git_project / "json" / "deep" / "er" / "more.py").write_text("def tapirwatch():\n    return 1\n")
    watched.wait(lambda: watched.hits("tapirwatch") == {"json/deep/er/more.py"})

    (git_project / "json" / "decoder.py").unlink()
    watched.wait(lambda: "json/decoder.py" not in watched.indexed())


def test_what_git_ignores_is_not_watched_and_wakes_nobody_for_long(
    watching: Callable[..., Watched], git_project: Path
) -> None:
    (git_project / "ignored").mkdir()
    watched = watching()
    watched.wait_until("watching", "2 folders")
    for number in range(50):
        (git_project / "ignored" / f"{number}.py").write_text("x = 1\n")
    (git_project / "noise.log").write_text("1\n")
    watched.wait(lambda: "noise.log" in watched.watcher._unimportant)  # it was looked at once, and learned
    known = watched.comparisons
    (git_project / "noise.log").write_text("2\n")
    (git_project / "json" / "marker.py").write_text("def lemurwatch(): ...\n")
    watched.wait(lambda: watched.hits("lemurwatch") == {"json/marker.py"})
    assert watched.comparisons == known + 1
    assert not [path for path in watched.indexed() if path.startswith("ignored/")]


def test_a_branch_switch_is_one_update(watching: Callable[..., Watched], git_project: Path) -> None:
    git(git_project, "checkout", "-q", "-b", "many")
    for number in range(300):
        (git_project / "json" / f"part{number}.py").write_text(f"def part_{number}():\n    return {number}\n")
    git(git_project, "add", "-A")
    git(git_project, "commit", "-q", "-m", "many")
    git(git_project, "checkout", "-q", "main")
    watched = watching()
    watched.wait_until("watching")
    watched.wait(lambda: watched.comparisons >= 2)  # before the first watch, and after it
    before = watched.updates
    git(git_project, "checkout", "-q", "many")
    watched.wait(lambda: len(watched.indexed()) > 300 and watched.updates > before)
    assert watched.updates == before + 1
    git(git_project, "commit", "-q", "--allow-empty", "-m", "nothing in it")
    head = checkout.head_commit(str(git_project))
    facts = watched.gardener.index(watched.context).indexer.manifest.facts
    watched.wait(lambda: facts().get("head") == head)


def test_a_folder_that_goes_and_comes_back(watching: Callable[..., Watched], git_project: Path) -> None:
    watched = watching()
    watched.wait_until("watching")
    git_project.rename(git_project.with_name("elsewhere"))
    watched.wait_until("polling", "missing")
    moved = git_project.with_name("elsewhere")
    (moved / "json" / "back.py").write_text("def ibiswatch(): ...\n")
    moved.rename(git_project)
    watched.wait_until("watching")
    watched.wait(lambda: watched.hits("ibiswatch") == {"json/back.py"})


def test_too_many_folders_are_polled_and_it_says_why(
    watching: Callable[..., Watched], git_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "GLANCE_S", 0.05)
    monkeypatch.setattr(watch_module, "POLL_S", 0.2)
    watched = watching(folder_limit=1)
    watched.wait_until("polling", "2 folders, and at most 1 may be watched")
    (git_project / "json" / "polled.py").write_text("def gnuwatch(): ...\n")
    watched.wait(lambda: watched.hits("gnuwatch") == {"json/polled.py"})


@pytest.mark.parametrize("error", [OSError(28, "OS file watch limit reached"), FileNotFoundError(2, "gone")])
def test_a_system_without_watches_is_polled(
    watching: Callable[..., Watched], error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles._rust_notify as rust

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(rust, "RustNotify", refuse)
    watched = watching()
    watched.wait_until("polling", "every 10 s")


def test_a_commit_is_noticed_at_once_while_polling(
    watching: Callable[..., Watched], git_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "GLANCE_S", 0.05)
    monkeypatch.setattr(watch_module, "POLL_S", 3600.0)
    watched = watching(poll_only="because")
    watched.wait_until("polling", "because")
    watched.wait(lambda: watched.comparisons == 1)
    (git_project / "json" / "commit.py").write_text("def yakwatch(): ...\n")
    git(git_project, "add", "-A")
    git(git_project, "commit", "-q", "-m", "yak")
    watched.wait(lambda: watched.hits("yakwatch") == {"json/commit.py"})


def test_a_link_out_is_neither_watched_nor_followed(
    watching: Callable[..., Watched], git_project: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (git_project / "out").symlink_to(outside)
    watched = watching()
    watched.wait_until("watching", "2 folders")
    before = watched.comparisons
    (outside / "secret.py").write_text("def secretwatch(): ...\n")
    (git_project / "json" / "marker.py").write_text("def lemurwatch(): ...\n")
    watched.wait(lambda: watched.hits("lemurwatch") == {"json/marker.py"})
    assert watched.comparisons == before + 1
    assert not watched.hits("secretwatch")


def test_states_say_what_they_are() -> None:
    assert str(WatchState("polling", "every 10 s: nfs")) == "polling every 10 s: nfs"
    assert str(WatchState("off", "")) == "off"
    if os.path.exists("/proc/self"):
        assert file_system("/proc/self") == "proc"


def test_a_search_result_says_how_the_index_is_kept(gardener: Gardener, indexed: ProjectContext) -> None:
    gardener.watch_state = lambda context: f"watching {context.name}"
    found = gardener.search(indexed, SearchRequest("decode"))
    assert found.index.watching == "watching json"
    assert gardener.index_state(indexed).as_json()["watching"] == "watching json"

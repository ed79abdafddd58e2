"""What git does to a folder, and what search then says: real git, a real index, embedding calls counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gardener.app import Gardener
from gardener.index.search import SearchRequest
from gardener.types import ProjectContext
from tests.conftest import git


class Counter:
    """The packaged embedder, and how many texts it was given."""

    def __init__(self, gardener: Gardener, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts = 0
        service = gardener.embedding
        real = service.embedder()

        class Counting:
            fingerprint = real.fingerprint

            def embed(_, texts: Sequence[str]) -> Any:  # noqa: N805 - `self` is the counter
                self.texts += len(texts)
                return real.embed(texts)

            def embed_queries(_, texts: Sequence[str]) -> Any:  # noqa: N805
                self.texts += len(texts)
                return real.embed_queries(texts)

        monkeypatch.setattr(service, "embedder", lambda fingerprint="": Counting())

    def of(self, work: Callable[[], object]) -> int:
        before = self.texts
        work()
        return self.texts - before


class Project:
    """One git project, indexed with all its vectors."""

    def __init__(self, gardener: Gardener, context: ProjectContext) -> None:
        self.gardener, self.context, self.root = gardener, context, Path(context.root)

    def refresh(self) -> None:
        self.gardener.update_index(self.context)
        self.gardener.embed(self.context)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def commit(self, message: str = "more") -> None:
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "-m", message)

    def places(self, word: str) -> dict[str, int]:
        """Path to first line of each hit whose text holds the word, each compared with the disk."""
        result = self.gardener.search(self.context, SearchRequest(word, 20))
        assert result.index.changed_files == 0
        for hit in result.hits:
            lines = (self.root / hit.path).read_text().split("\n")
            assert "\n".join(lines[hit.start_line - 1 : hit.end_line]) == hit.text
        return {hit.path: hit.start_line for hit in result.hits if word in hit.text}

    @property
    def contents(self) -> int:
        return int(self.gardener.index(self.context).indexer.manifest.facts()["contents"])


@pytest.fixture
def gardener(home: Path, embedder: None) -> Iterator[Gardener]:
    with Gardener(str(home)) as opened:
        yield opened


@pytest.fixture
def counter(gardener: Gardener, monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(gardener, monkeypatch)


@pytest.fixture
def project(json_embeddings: None, gardener: Gardener, counter: Counter, git_project: Path) -> Project:
    made = Project(gardener, gardener.registry.add(str(git_project), "json"))
    made.refresh()
    return made


def function(name: str) -> str:
    return f"def {name}(number):\n    return number * {len(name)}\n"


def test_a_branch_and_back_costs_no_embedding_twice(project: Project, counter: Counter) -> None:
    git(project.root, "checkout", "-q", "-b", "side")
    project.write("json/side.py", function("zebracross"))
    project.commit()
    assert project.places("zebracross") == {"json/side.py": 1}
    project.refresh()
    git(project.root, "checkout", "-q", "main")
    assert project.places("zebracross") == {}

    def go_and_return() -> None:
        for name in ("side", "main", "side"):
            git(project.root, "checkout", "-q", name)
            project.refresh()

    assert counter.of(go_and_return) == 0
    assert project.places("zebracross") == {"json/side.py": 1}


def test_a_rebase(project: Project) -> None:
    git(project.root, "checkout", "-q", "-b", "feature")
    project.write("json/feature.py", function("okapifeature"))
    project.commit()
    git(project.root, "checkout", "-q", "main")
    decoder = (project.root / "json" / "decoder.py").read_text()
    project.write("json/decoder.py", function("upstreamchange") + decoder)
    project.commit()
    project.refresh()
    line = project.places("raw_decode")["json/decoder.py"]
    git(project.root, "checkout", "-q", "feature")
    assert project.places("upstreamchange") == {}
    git(project.root, "rebase", "-q", "main")
    assert project.places("okapifeature") == {"json/feature.py": 1}
    assert project.places("upstreamchange") == {"json/decoder.py": 1}
    assert project.places("raw_decode")["json/decoder.py"] == line
    project.refresh()
    facts = project.gardener.index(project.context).indexer.manifest.facts()
    assert facts["head"] == git(project.root, "rev-parse", "HEAD")


def test_stash_and_unstash(project: Project, counter: Counter) -> None:
    scanner = project.root / "json" / "scanner.py"
    scanner.write_text(scanner.read_text() + "\n\n" + function("tapirstash"))
    project.refresh()
    assert project.places("tapirstash")
    git(project.root, "stash", "-q")
    assert project.places("tapirstash") == {}
    git(project.root, "stash", "pop", "-q")
    assert list(project.places("tapirstash")) == ["json/scanner.py"]
    assert counter.of(project.refresh) == 0


def test_a_pull(project: Project, gardener: Gardener, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project.root), str(clone))
    cloned = Project(gardener, gardener.registry.add(str(clone), "clone"))
    cloned.refresh()
    project.write("json/news.py", function("ibispull"))
    (project.root / "json" / "tool.py").unlink()
    project.commit()
    git(clone, "pull", "-q", "--ff-only")
    assert cloned.places("ibispull") == {"json/news.py": 1}
    assert not [path for path in cloned.gardener.index(cloned.context).indexer.manifest.files() if "tool" in path]


def test_submodules_are_part_of_the_project_once_they_are_checked_out(
    project: Project, gardener: Gardener, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "lib.py").write_text(function("lemurlibrary"))
    git(library, "init", "-q")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "library")
    git(project.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "ext")
    project.commit("submodule")
    assert project.places("lemurlibrary") == {"ext/lib.py": 1}
    (project.root / "ext" / "lib.py").write_text(function("gnulibrary"))
    assert project.places("gnulibrary") == {"ext/lib.py": 1}

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project.root), str(clone))
    cloned = Project(gardener, gardener.registry.add(str(clone), "clone"))
    cloned.refresh()
    assert cloned.places("lemurlibrary") == {}
    reasons = {item["path"]: item["reason"] for item in gardener.index(cloned.context).skipped()}
    assert reasons["ext/"] == "submodule-missing"
    git(clone, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    assert cloned.places("lemurlibrary") == {"ext/lib.py": 1}


def test_a_second_worktree_reuses_the_vectors(
    project: Project, gardener: Gardener, counter: Counter, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    git(project.root, "worktree", "add", "-q", "-b", "second", str(tree))
    (tree / "json" / "second.py").write_text(function("yaksecond"))
    second = Project(gardener, gardener.registry.add(str(tree), "second"))
    assert counter.of(second.refresh) == 1
    assert second.contents == project.contents + 1
    assert second.places("yaksecond") == {"json/second.py": 1}
    assert project.places("yaksecond") == {}
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "second")
    second.refresh()
    assert gardener.index_state(second.context).head == git(tree, "rev-parse", "HEAD")
    assert gardener.index_state(project.context).head == git(project.root, "rev-parse", "HEAD")


def test_a_sparse_checkout_is_indexed_as_far_as_it_is_there(project: Project, counter: Counter) -> None:
    project.write("docs/only.py", function("heronsparse"))
    project.commit()
    project.refresh()
    git(project.root, "sparse-checkout", "set", "json")
    assert project.places("heronsparse") == {}
    git(project.root, "sparse-checkout", "disable")
    assert project.places("heronsparse") == {"docs/only.py": 1}
    assert counter.of(project.refresh) == 0


def test_a_rename_keeps_the_vectors(project: Project, counter: Counter) -> None:
    git(project.root, "mv", "json/decoder.py", "json/reading.py")
    git(project.root, "mv", "json/encoder.py", "writing.py")
    assert counter.of(project.refresh) == 0
    assert "json/reading.py" in project.places("raw_decode")
    assert project.gardener.index_state(project.context).embedded_fraction == 1.0


def test_an_edit_embeds_what_it_changed_and_no_more(project: Project, counter: Counter) -> None:
    before = hashes(project)
    decoder = project.root / "json" / "decoder.py"
    text = decoder.read_text()
    assert text.count("def raw_decode(self, s, idx=0):") == 1
    decoder.write_text(text.replace("def raw_decode(self, s, idx=0):", "def raw_decode(self, s, idx=0, deep=False):"))
    project.gardener.update_index(project.context)
    new = len(hashes(project) - before)
    assert 0 < new < 5
    assert counter.of(project.refresh) == new


def hashes(project: Project) -> set[str]:
    table = project.gardener.index(project.context).indexer.table
    table.refresh()
    return set(table.hashes())


def test_results_of_an_index_that_cannot_catch_up_are_compared_with_the_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held elsewhere, as by an update that has just begun: the index stays as it was."""
    from gardener.locks import ProcessLock
    from gardener.paths import project_lock

    project.write("json/one.py", function("zebraone") + "\n\n" + function("zebratwo"))
    project.write("json/gone.py", function("zebragone"))
    project.write("json/link.py", function("zebralink"))
    project.refresh()

    def search() -> tuple[dict[str, int], str]:
        result = project.gardener.search(project.context, SearchRequest("zebraone zebratwo zebragone zebralink", 20))
        return {f"{hit.path}:{hit.symbol}": hit.start_line for hit in result.hits if "zebra" in hit.text}, " ".join(
            result.notes
        )

    with ProcessLock(project_lock(project.context.home), "another update"):
        project.write(
            "json/one.py",
            "# a new first line\n\n" + function("zebraone").replace("*", "+") + "\n\n" + function("zebratwo"),
        )
        (project.root / "json" / "gone.py").unlink()
        (project.root / "json" / "link.py").unlink()
        os.symlink("/etc/passwd", project.root / "json" / "link.py")
        found, notes = search()
        assert not [place for place in found if "gone" in place or "link" in place], found
        for place, line in found.items():
            assert place.startswith("json/one.py")
            assert "zebra" in (project.root / "json" / "one.py").read_text().split("\n")[line - 1]
        assert "being indexed by another process" in notes
        assert "left out: the file has changed or is gone" in notes
    found, notes = search()
    assert set(found) == {"json/one.py:zebraone", "json/one.py:zebratwo"} or set(found) == {"json/one.py:"}
    assert not notes

"""Changing the embedder: the old vectors answer until the new ones are complete, and the two never meet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.disk import clean
from gardener.embedding_service import RETRY_S, EmbeddingService
from gardener.errors import EmbedderUnavailable
from gardener.index.search import QueryEmbedder, SearchRequest
from gardener.models.embedder_registry import packaged
from gardener.models.embedder_spec import EmbedderSpec
from gardener.settings_edit import set_value
from gardener.types import ProjectContext
from gardener.vector_work import index_version, missing_vectors
from tests.embedding_server import EmbeddingServer, embedding_server

QUERY = "decode a document from text"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture
def project(json_project: Path, json_embeddings: None) -> ProjectContext:
    with Gardener() as gardener:
        context = gardener.registry.add(str(json_project), "json")
        gardener.update_index(context)
        assert gardener.embed(context).remaining == 0
        return context


def change_to(server: EmbeddingServer) -> None:
    with Gardener() as gardener:
        for key, value in {"embedder.name": "ollama:words", "embedder.url": server.url}.items():
            set_value(gardener.paths, gardener.paths.config, key, value)


def tables(context: ProjectContext) -> set[str]:
    return {path.name for path in Path(context.home, "index").glob("vectors-*.lance")}


def test_the_old_vectors_answer_until_the_new_ones_are_complete(
    project: ProjectContext, server: EmbeddingServer
) -> None:
    old = packaged().fingerprint
    change_to(server)
    with Gardener() as gardener:
        new = gardener.embedding.fingerprint
        assert new.startswith("ollama-32-")
        server.texts.clear()
        result = gardener.search(project, SearchRequest(QUERY))
        assert gardener.serving_embedder(project) == old
        assert gardener.index(project).searcher.snapshot().fingerprint == old
        assert result.index.embedded_fraction == 1
        assert any("vector" in hit.sources for hit in result.hits)
        assert server.texts == [], "the question went to the embedder whose vectors answer"
        assert all(hit.similarity is not None for hit in result.hits if "vector" in hit.sources)

        stopped = gardener.embed(project, give_way=iter([False, True, True, True]).__next__)
        assert stopped.embedded > 0
        assert stopped.remaining > 0
        assert tables(project) == {f"vectors-{old}.lance", f"vectors-{new}.lance"}
        assert gardener.serving_embedder(project) == old
        gardener.search(project, SearchRequest(QUERY))
        assert gardener.index(project).searcher.snapshot().fingerprint == old

        assert gardener.embed(project).remaining == 0
        assert gardener.serving_embedder(project) == new
        assert tables(project) == {f"vectors-{new}.lance"}, "the old ones go at the end"
        server.texts.clear()
        result = gardener.search(project, SearchRequest(QUERY))
        assert server.texts == [QUERY]
        snapshot = gardener.index(project).searcher.snapshot()
        assert snapshot.fingerprint == new
        assert snapshot.vectors.matrix.shape[1] == 32
        assert all(hit.similarity is None for hit in result.hits), "its cosines are not calibrated"


def test_an_embedder_that_cannot_be_had_leaves_the_old_one_serving(
    project: ProjectContext, server: EmbeddingServer
) -> None:
    change_to(server)
    server.failures = [(500, "broken")] * 50
    with Gardener() as gardener:
        result = gardener.search(project, SearchRequest(QUERY))
        assert any("vector" in hit.sources for hit in result.hits)
        assert "does not answer" in gardener.embedding.problem(ask=True)
        assert tables(project) == {f"vectors-{packaged().fingerprint}.lance"}


def test_going_back_costs_nothing(project: ProjectContext, server: EmbeddingServer) -> None:
    change_to(server)
    with Gardener() as gardener:
        gardener.embed(project)
        set_value(gardener.paths, gardener.paths.config, "embedder.name", "packaged")
    with Gardener() as gardener:
        report = gardener.embed(project)
        assert report.embedded == 0
        assert report.reused > 0
        assert gardener.serving_embedder(project) == packaged().fingerprint


def test_a_swap_in_the_middle_of_a_search_mixes_nothing(project: ProjectContext, server: EmbeddingServer) -> None:
    change_to(server)
    with Gardener() as gardener:
        searcher = gardener.index(project).searcher
        current = searcher._embedder

        def swapping() -> QueryEmbedder | None:
            chosen = current()
            gardener.embed(project)  # completes the new vectors as soon as the search has chosen the old ones
            server.texts.clear()
            return chosen

        searcher._embedder = swapping
        # Not through gardener.search, for which the background work would wait.
        result = gardener.index(project).search(SearchRequest(QUERY))
        searcher._embedder = current
        assert any("vector" in hit.sources for hit in result.hits)
        assert any(hit.similarity is not None for hit in result.hits)
        assert server.texts == []
        assert gardener.serving_embedder(project) == gardener.embedding.fingerprint != packaged().fingerprint


def test_a_newer_pull_gets_vectors_of_its_own(
    project: ProjectContext, server: EmbeddingServer, json_project: Path
) -> None:
    change_to(server)
    with Gardener() as gardener:
        gardener.embed(project)
        old = gardener.embedding.fingerprint
        stored = gardener.embedding.store(old).count()
    server.digest = "sha256:bbbb"
    (json_project / "added.py").write_text("def added_later():\n    return 'something new'\n")
    with Gardener() as gardener:
        gardener.update_index(project)
        assert gardener.embed(project).remaining == 0
        new = gardener.embedding.fingerprint
        assert new != old
        assert gardener.embedding.store(old).count() == stored, "the newer model's vectors are not among the older's"
        assert tables(project) == {f"vectors-{new}.lance"}
        assert gardener.serving_embedder(project) == new


def test_a_running_app_follows_the_settings(project: ProjectContext, server: EmbeddingServer) -> None:
    with Gardener() as gardener:
        assert gardener.embedding.finished(gardener.index(project).indexer.manifest.facts())
        before = index_version(gardener, project)
        change_to(server)
        assert missing_vectors(gardener, {project.id: before}) == [project]
        assert gardener.embed(project).remaining == 0
        assert gardener.serving_embedder(project).startswith("ollama-32-")
        Path(gardener.paths.config).write_text("[embedder\n")
        assert gardener.embedding.spec.text == "ollama:words", "a damaged file changes nothing"


def test_a_server_that_was_down_is_asked_again(project: ProjectContext, server: EmbeddingServer) -> None:
    now = 0.0
    spec = EmbedderSpec("ollama", "words", server.url)
    with Gardener() as gardener:
        service = EmbeddingService(gardener.paths, spec=lambda: spec, clock=lambda: now)
        server.failures = [(503, '{"error":"server busy"}')] * 3
        for _ in range(2):
            with pytest.raises(EmbedderUnavailable, match="busy"):
                service.embedder()
        now = RETRY_S
        assert service.embedder().dimensions == 32
        service.close()


def test_cleaning_up_leaves_the_vectors_that_answer(project: ProjectContext, server: EmbeddingServer) -> None:
    change_to(server)
    with Gardener() as gardener:
        clean(gardener)
        assert tables(project) == {f"vectors-{packaged().fingerprint}.lance"}


def test_a_purge_looks_into_every_store(project: ProjectContext, server: EmbeddingServer) -> None:
    change_to(server)
    with Gardener() as gardener:
        gardener.embed(project)
        assert [store.count() > 0 for store in gardener.embedding.stores()] == [True, True]
        server.failures = [(503, "down")] * 50
        gardener.registry.remove("json")
        gardener.purge("json")
        assert [store.count() for store in gardener.embedding.stores()] == [0, 0]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gardener.cli.main", "embedder", *words], capture_output=True, text=True, check=False
    )


def test_the_command(project: ProjectContext, server: EmbeddingServer) -> None:
    cli("config", "set", "index.background_embedding", "false")
    assert "Vectors are made by packaged, 384 numbers each." in run().stdout
    nobody = run("use", "ollama:words", "--url", server.url)
    assert nobody.returncode == 2, nobody.stderr
    assert "packaged" in run("show").stdout, "nothing was changed"
    server.failures = [(503, "busy")]
    refused = run("use", "ollama:other", "--url", server.url, "--yes")
    assert len(refused.stderr.splitlines()) == 2, "the error and what to do, and no words of the log"
    assert refused.returncode == 5
    assert "ollama pull other" in refused.stderr
    assert run("use", "nonsense", "--yes").returncode == 3
    assert run("use", "openai:x", "--yes").returncode == 3, "no address"
    server.spoil = lambda vectors: [vectors[0]] * len(vectors)
    same = run("use", "ollama:words", "--url", server.url, "--yes")
    assert same.returncode == 5
    assert "same vector" in same.stderr
    server.spoil = None
    used = run("use", "ollama:words", "--url", server.url, "--yes")
    assert used.returncode == 0, used.stderr
    assert "32 numbers each" in used.stderr
    shown = json.loads(run("--json").stdout)
    assert shown["embedder"] == "ollama:words"
    assert shown["projects"] == [
        {"project": "json", "searched with": "packaged", "vectors": "none of the new ones made"}
    ]


def test_cancel_goes_back_to_the_embedder_that_answers(project: ProjectContext, server: EmbeddingServer) -> None:
    cli("config", "set", "index.background_embedding", "false")
    nothing = run("cancel")
    assert nothing.returncode == 4
    assert "No change is under way" in nothing.stderr
    assert run("use", "ollama:words", "--url", server.url, "--yes").returncode == 0
    with Gardener() as gardener:
        assert gardener.status()["embedder"] == {"name": "ollama:words", "searched_with": "packaged", "problem": ""}
    server.failures = [(500, "down")] * 50
    doctor = cli("doctor")
    assert "XX  embedder: " in doctor.stdout
    assert "does not answer" in doctor.stdout
    back = run("cancel")
    assert back.returncode == 0, back.stderr
    with Gardener() as gardener:
        assert gardener.embedding.spec == EmbedderSpec()
        assert gardener.embed(project).embedded == 0


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gardener.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_text_that_the_server_refuses_does_not_hold_up_the_change(
    project: ProjectContext, server: EmbeddingServer
) -> None:
    Path(project.root, "table.py").write_text("TABLE = [\n" + "    0x3F, 0xA2, 0x00,\n" * 40 + "]\n")
    server.most_characters = 300
    change_to(server)
    with Gardener() as gardener:
        gardener.update_index(project)
        report = gardener.embed(project)
        assert report.remaining == 0
        assert gardener.serving_embedder(project).startswith("ollama-")
        assert any("0x3F" in text for text in server.texts)

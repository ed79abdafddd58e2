from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import DiskFull, NotFoundError, UsageError
from gardener.index.search import QUERY_LIMIT, SearchRequest
from gardener.types import ProjectContext

Write = Callable[[str, str], Path]


def test_a_question_finds_its_function(gardener: Gardener, indexed: ProjectContext) -> None:
    result = gardener.search(indexed, SearchRequest("parse a string literal with unicode escapes"))
    best = result.hits[0]
    assert best.path == "json/decoder.py"
    lines = (Path(indexed.root) / best.path).read_text().split("\n")
    assert "\n".join(lines[best.start_line - 1 : best.end_line]) == best.text
    assert result.index.fresh
    assert 1 <= len(result.hits) <= 10


def test_a_symbol_is_found_by_its_name(gardener: Gardener, indexed: ProjectContext) -> None:
    hit = gardener.search(indexed, SearchRequest("raw_decode")).hits[0]
    assert hit.symbol == "JSONDecoder.raw_decode"
    assert "symbol" in hit.sources


def test_filters(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    write("tests/test_decoder.py", "def test_raw_decode():\n    assert raw_decode('1')\n")
    write("web/app.ts", "export function rawDecode(text: string) {\n  return JSON.parse(text)\n}\n")

    def paths(**options: object) -> set[str]:
        return {hit.path for hit in gardener.search(indexed, SearchRequest("raw decode", 20, **options)).hits}  # type: ignore[arg-type]

    assert {"tests/test_decoder.py", "web/app.ts", "json/decoder.py"} <= paths()
    assert paths(languages=("typescript",)) == {"web/app.ts"}
    assert "tests/test_decoder.py" not in paths(no_tests=True)
    below = paths(path_glob="json")
    assert "json/decoder.py" in below and all(path.startswith("json/") for path in below)
    assert paths(path_glob="**/*.ts") == {"web/app.ts"}
    assert paths(languages=("cobol",)) == set()
    by_symbol = gardener.search(indexed, SearchRequest("", symbol="raw_decode")).hits
    assert [hit.symbol for hit in by_symbol] == ["JSONDecoder.raw_decode"]


@pytest.mark.parametrize(
    "query", ["x' OR '1'='1", 'path = "a"; DROP TABLE chunks', "%' --", "日本語のクエリ", "-->", "(((", "\x00"]
)
def test_odd_queries_are_only_words(gardener: Gardener, indexed: ProjectContext, query: str) -> None:
    gardener.search(indexed, SearchRequest(query))
    assert gardener.search(indexed, SearchRequest("raw_decode")).hits


def test_queries_without_words(gardener: Gardener, indexed: ProjectContext) -> None:
    with pytest.raises(UsageError):
        gardener.search(indexed, SearchRequest("   "))
    with pytest.raises(UsageError):
        gardener.search(indexed, SearchRequest("x" * (QUERY_LIMIT + 1)))
    with pytest.raises(UsageError):
        gardener.search(indexed, SearchRequest("x", limit=0))
    result = gardener.search(indexed, SearchRequest("?!... ---"))
    assert result.hits == ()
    assert result.notes


def test_a_long_query_is_served(gardener: Gardener, indexed: ProjectContext) -> None:
    text = (Path(indexed.root) / "json" / "scanner.py").read_text()
    assert gardener.search(indexed, SearchRequest((text * 20)[:QUERY_LIMIT])).hits


def test_an_edit_is_found_without_being_told(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    write("json/fresh.py", "def zebra_crossing():\n    return 'stripes'\n")
    assert gardener.search(indexed, SearchRequest("zebra_crossing")).hits[0].path == "json/fresh.py"


def test_results_follow_the_disk_when_the_index_may_not(
    gardener: Gardener, indexed: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is kept from catching up: moved lines are found again, changed ones left out, never shown as good."""
    monkeypatch.setattr("gardener.index.project_index.FRESHEN_BYTES", -1)
    target = Path(indexed.root) / "json" / "decoder.py"
    before = gardener.search(indexed, SearchRequest("raw_decode")).hits[0]
    target.write_text("# one more line\n# and another\n" + target.read_text())
    gardener.index(indexed)._checked_at = 0.0
    result = gardener.search(indexed, SearchRequest("raw_decode"))
    moved = result.hits[0]
    assert (moved.start_line, moved.end_line) == (before.start_line + 2, before.end_line + 2)
    assert not result.index.fresh
    assert result.index.changed_files == 1
    assert any("not in the index yet" in note for note in result.notes)
    target.write_text("nothing of that is left\n")
    result = gardener.search(indexed, SearchRequest("raw_decode"))
    assert all(hit.path != "json/decoder.py" for hit in result.hits)
    target.unlink()
    assert all(hit.path != "json/decoder.py" for hit in gardener.search(indexed, SearchRequest("raw_decode")).hits)


def test_without_an_index_the_way_out_is_named(gardener: Gardener, json_project: Path) -> None:
    context = gardener.registry.add(str(json_project))
    with pytest.raises(NotFoundError) as caught:
        gardener.search(context, SearchRequest("anything"))
    assert "gardener index" in caught.value.next_step


def test_two_projects_never_mix(gardener: Gardener, indexed: ProjectContext, tmp_path: Path) -> None:
    other_root = tmp_path / "other"
    other_root.mkdir()
    (other_root / "secret.py").write_text("def raw_decode_of_the_other():\n    return 'other'\n")
    other = gardener.registry.add(str(other_root))
    gardener.update_index(other)
    assert all(hit.project == "json" for hit in gardener.search(indexed, SearchRequest("raw_decode_of_the_other")).hits)
    hits = gardener.search(other, SearchRequest("raw_decode")).hits
    assert {hit.path for hit in hits} == {"secret.py"}


def test_vectors_on_demand_and_in_the_background(gardener: Gardener, indexed: ProjectContext) -> None:
    gardener.embedder()  # exported and loaded: now vectors are to be had
    question = SearchRequest("turn text into python objects")
    first = gardener.search(indexed, question)
    assert any("vector" in hit.sources for hit in first.hits)
    assert 0 < first.index.embedded_fraction < 1
    report = gardener.embed(indexed)
    assert report.remaining == 0
    assert report.reused > 0  # what the search made was not made again
    second = gardener.search(indexed, question)
    assert second.index.embedded_fraction == 1
    assert gardener.embed(indexed).embedded == 0


@pytest.mark.parametrize("at", ["store", "put"])
def test_a_full_disk_costs_only_the_keeping_of_vectors(
    gardener: Gardener, indexed: ProjectContext, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFull("vectors-1.db could not be written: the disk is full.")

    owner = "gardener.embedding_service.EmbeddingService" if at == "store" else "gardener.index.vectors.VectorStore"
    monkeypatch.setattr(f"{owner}.{at}", full)
    result = gardener.search(indexed, SearchRequest("turn a document into python objects"))
    assert any("vector" in hit.sources for hit in result.hits)
    assert any("disk is full" in note and "not kept" in note for note in result.notes)


def test_a_second_checkout_reuses_every_vector(
    gardener: Gardener, indexed: ProjectContext, json_embeddings: None, tmp_path: Path
) -> None:
    import shutil

    gardener.embed(indexed)
    shutil.copytree(indexed.root, tmp_path / "again")
    again = gardener.registry.add(str(tmp_path / "again"))
    gardener.update_index(again)
    report = gardener.embed(again)
    assert report.embedded == 0
    assert report.remaining == 0


def test_an_edit_embeds_only_what_changed(
    gardener: Gardener, indexed: ProjectContext, json_embeddings: None, write: Write
) -> None:
    gardener.embed(indexed)
    target = Path(indexed.root) / "json" / "decoder.py"
    write("json/decoder.py", target.read_text() + "\n\ndef walrus_tusk():\n    return 2\n")
    (Path(indexed.root) / "json" / "scanner.py").rename(Path(indexed.root) / "json" / "scanned.py")
    gardener.update_index(indexed)
    assert 1 <= gardener.embed(indexed).embedded <= 2


def test_callers_are_found(gardener: Gardener, indexed: ProjectContext) -> None:
    callers = gardener.index(indexed).callers("JSONDecoder.raw_decode")
    assert any(hit.symbol == "JSONDecoder.decode" for hit in callers)
    assert all(hit.symbol != "JSONDecoder.raw_decode" for hit in callers)


def test_a_deleted_index_under_a_running_app(gardener: Gardener, indexed: ProjectContext) -> None:
    import shutil

    gardener.search(indexed, SearchRequest("raw_decode"))
    shutil.rmtree(os.path.join(indexed.home, "index", "chunks.lance"))
    from gardener.errors import IndexDamaged

    with pytest.raises(IndexDamaged) as caught:
        gardener.search(indexed, SearchRequest("raw_decode"))
    assert "--rebuild" in caught.value.next_step
    gardener.update_index(indexed)
    assert gardener.search(indexed, SearchRequest("raw_decode")).hits


def test_damaged_vectors_cost_meaning_only_and_are_replaced(
    gardener: Gardener, indexed: ProjectContext, json_embeddings: None
) -> None:
    gardener.embed(indexed)
    gardener.close()
    for table in Path(indexed.home, "index").glob("vectors-*.lance"):
        for data in (table / "data").iterdir():
            data.unlink()
    result = gardener.search(indexed, SearchRequest("raw_decode"))
    assert result.hits[0].symbol == "JSONDecoder.raw_decode"
    assert any("damaged" in note for note in result.notes)
    report = gardener.embed(indexed)
    assert (report.embedded, report.remaining) == (0, 0)  # all of them from the shared store
    assert gardener.search(indexed, SearchRequest("raw_decode")).index.embedded_fraction == 1.0


def test_a_deleted_manifest_is_noticed_by_an_open_index(gardener: Gardener, indexed: ProjectContext) -> None:
    import shutil

    gardener.search(indexed, SearchRequest("raw_decode"))
    shutil.rmtree(os.path.join(indexed.home, "index"))
    gardener.update_index(indexed)
    assert os.path.exists(os.path.join(indexed.home, "index", "manifest.db"))
    assert gardener.search(indexed, SearchRequest("raw_decode")).hits


def test_a_wrong_project_file_is_said_and_does_not_stop_work(
    gardener: Gardener, indexed: ProjectContext, write: Write
) -> None:
    write(".gardener.toml", "[search]\nlimits = 3\n")
    gardener.close()  # settings are read when a project is opened
    result = gardener.search(indexed, SearchRequest("raw_decode"))
    assert result.hits
    assert any("search.limits" in note for note in result.notes)


def test_a_question_is_kept_without_its_secrets(gardener: Gardener, indexed: ProjectContext) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    events = list(gardener.ask(indexed, f"what does raw_decode do with {token}?", ""))
    assert events
    stored = gardener.history.show(indexed.id, gardener.history.list(indexed.id)[0].id)
    assert all(token not in message.content for message in stored)


@pytest.mark.parametrize("path", [".env", "deploy/id_rsa", ".git/config", ".netrc"])
def test_the_source_view_opens_no_secret_files(
    gardener: Gardener, indexed: ProjectContext, write: Write, path: str
) -> None:
    write(path, "password = hunter2secret\n")
    assert gardener.source(indexed, path, 1, 5).lines == ()

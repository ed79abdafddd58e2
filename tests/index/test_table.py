from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from gardener.errors import IndexDamaged
from gardener.index.table import FRAGMENT_LIMIT, ChunkRow, IndexTable, arrow_table, quote


def row(path: str, line: int, words: str, name: str = "") -> ChunkRow:
    text = f"text of {words}"
    return (path, line, line + 2, "python", "function", name, "", "", text, words, f"h{path}{line}", "f" * 64)


@pytest.fixture
def table(tmp_path: object) -> IndexTable:
    made = IndexTable(f"{tmp_path}/index")
    made.create(arrow_table([row("a.py", 1, "alpha beta"), row("a.py", 4, "gamma"), row("it's.py", 1, "alpha delta")]))
    return made


def found(table: IndexTable, *words: str) -> list[str]:
    hits = table.search_words(words, 10)
    return [f"{r['path']}:{r['start_line']}" for r in table.rows([int(i) for i in hits.row_ids])]


def test_rows_are_searchable_when_create_returns(table: IndexTable) -> None:
    assert set(found(table, "alpha")) == {"a.py:1", "it's.py:1"}
    assert found(table, "gamma") == ["a.py:4"]
    assert found(table, "nothing") == []
    assert table.count() == 3


def test_replacing_a_file_is_one_step(table: IndexTable) -> None:
    before = table.version()
    table.replace_files(["a.py"], [row("a.py", 1, "epsilon")])
    assert table.version() == before + 1
    assert found(table, "gamma") == []
    assert found(table, "epsilon") == ["a.py:1"]
    assert table.count() == 2


def test_a_quote_in_a_path_ends_nothing(table: IndexTable) -> None:
    assert quote("it's.py") == "'it''s.py'"
    table.replace_files(["it's.py"], [])
    assert found(table, "delta") == []
    assert table.count() == 2
    table.replace_files(["x') OR ('1'='1"], [])
    assert table.count() == 2


def test_words_of_many_small_edits_are_found_and_fragments_stay_few(table: IndexTable) -> None:
    for number in range(FRAGMENT_LIMIT + 5):
        table.replace_files([f"n{number}.py"], [row(f"n{number}.py", 1, f"unique{number}")])
        table.compact_if_needed()
    for number in (0, FRAGMENT_LIMIT, FRAGMENT_LIMIT + 4):
        assert found(table, f"unique{number}") == [f"n{number}.py:1"]
    assert table._open("chunks").stats()["fragment_stats"]["num_fragments"] <= FRAGMENT_LIMIT


def test_vectors_of_two_embedders_are_apart(table: IndexTable) -> None:
    ones = np.eye(4, dtype=np.float16)[:2]
    table.add_vectors("model-a", ["h1", "h2"], ones)
    table.add_vectors("model-b", ["h1"], np.ones((1, 8), np.float16))
    stored = table.vectors("model-a")
    assert stored is not None
    names, matrix = stored
    assert names == ["h1", "h2"]
    assert (matrix == ones).all()
    assert table.vectors("model-c") is None
    table.drop_vectors(keep="model-a")
    assert table.vectors("model-b") is None
    assert table.vectors("model-a") is not None


def test_retaining_vectors_drops_the_rest_and_duplicates(table: IndexTable) -> None:
    table.add_vectors("m", ["a", "b"], np.eye(4, dtype=np.float16)[:2])
    table.add_vectors("m", ["b", "c"], np.eye(4, dtype=np.float16)[2:])
    assert table.retain_vectors("m", ["b", "c"]) == 2
    stored = table.vectors("m")
    assert stored is not None
    assert sorted(stored[0]) == ["b", "c"]


def test_an_empty_project_has_an_empty_table(tmp_path: object) -> None:
    table = IndexTable(f"{tmp_path}/empty")
    table.create(arrow_table([]))
    assert table.count() == 0
    assert found(table, "alpha") == []
    table.replace_files(["a.py"], [row("a.py", 1, "alpha")])
    assert found(table, "alpha") == ["a.py:1"]


def test_another_handle_sees_what_was_committed(table: IndexTable) -> None:
    other = IndexTable(table.directory)
    assert other.count() == 3
    table.replace_files(["c.py"], [row("c.py", 1, "zeta")])
    other.refresh()
    assert other.count() == 4
    assert found(other, "zeta") == ["c.py:1"]


def test_a_missing_table_names_the_way_out(tmp_path: object) -> None:
    with pytest.raises(IndexDamaged) as caught:
        IndexTable(f"{tmp_path}/none").count()
    assert caught.value.next_step == "gardener index --rebuild"


def test_lancedbs_cloud_client_is_loaded_only_when_asked_for() -> None:
    import subprocess
    import sys

    script = (
        "import sys\n"
        "from gardener.index.table import IndexTable\n"
        "IndexTable('unused').warm_up()\n"
        "assert not any(name.startswith('lance_namespace_urllib3_client.api.') for name in sys.modules)\n"
        "import lance_namespace_urllib3_client\n"
        "assert lance_namespace_urllib3_client.ApiClient.__name__ == 'ApiClient'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def versions_of(table: IndexTable) -> int:
    return table.storage.versions(table.chunks_table, table._open("chunks"))


def test_edits_of_one_file_leave_few_versions(table: IndexTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gardener.index.table.VERSION_LIMIT", 10)
    most = 0
    for number in range(35):
        table.replace_files(["a.py"], [row("a.py", 1, f"edition{number}")])
        table.compact_if_needed()
        most = max(most, versions_of(table))
    assert most <= 11
    assert found(table, "edition34") == ["a.py:1"]
    assert found(table, "edition33") == []
    assert table.count() == 2


def test_many_rows_outside_the_index_of_words_are_folded_in(table: IndexTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gardener.index.table.UNINDEXED_LIMIT", 20)
    table.replace_files(["b.py"], [row("b.py", line, "eta") for line in range(15)])
    assert not table.compact_if_needed()
    table.replace_files(["c.py"], [row("c.py", line, "theta") for line in range(15)])
    assert not table.compact_if_needed(patient=True), "somebody is waiting"
    assert table.compact_if_needed()
    assert table._open("chunks").index_stats("words_idx").num_unindexed_rows == 0
    assert len(found(table, "theta")) == 10 and table.count() == 33


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux tells which deleted files are open")
def test_indexes_that_a_compaction_replaced_are_let_go(tmp_path: object) -> None:
    """LanceDB would keep all of them, with their files, until its cache has 6 GB."""
    table = IndexTable(f"{tmp_path}/index")
    table.create(
        arrow_table([row(f"{n}.py", 1, f"alpha word{n}") for n in range(3000)])
    )  # of a few, no file stays open
    reader = table.reader()
    for number in range(3):
        table.replace_files(["1.py"], [row("1.py", 1, f"edition{number}")])
        table.compact_if_needed(force=True)
        reader.refresh()
        assert found(reader, f"edition{number}") == ["1.py:1"]
    gc.collect()
    opened = [os.readlink(link.path) for link in os.scandir("/proc/self/fd") if os.path.islink(link.path)]
    assert [name for name in opened if table.directory in name and name.endswith("(deleted)")] == []


def test_a_table_is_built_beside_the_one_that_counts(tmp_path: object) -> None:
    counts = ""
    table = IndexTable(f"{tmp_path}/index", current=lambda: counts)
    assert table.free_name() == "chunks"
    table.create(arrow_table([row("a.py", 1, "alpha")]))
    reader = table.reader()
    assert table.free_name() == "chunks-2"
    table.create(arrow_table([row("a.py", 1, "beta")]), name="chunks-2")
    table.append(arrow_table([row("b.py", 1, "beta")]), name="chunks-2")
    reader.refresh()
    assert found(reader, "alpha") == ["a.py:1"] and table.count() == 1
    counts = "chunks-2"
    for handle in (table, reader):
        handle.refresh()
        assert found(handle, "alpha") == [] and handle.count() == 2
    assert table.chunk_tables() == ["chunks", "chunks-2"]
    assert table.free_name() == "chunks-3"
    table.destroy()
    assert table.chunk_tables() == []

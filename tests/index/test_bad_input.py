"""Input that nobody meant well: queries, filters and repositories."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.index import prepare
from gardener.index.search import QUERY_LIMIT, SearchRequest
from gardener.index.walk import FileEntry
from gardener.types import ProjectContext
from tests.serving import serving, write_project

Write = Callable[[str, str], Path]


def test_a_query_of_100_kb_is_served_and_says_what_was_not_looked_at(
    gardener: Gardener, indexed: ProjectContext
) -> None:
    for piece in ("?(", "aB", "a_1 ", "🎉", "路由", "\u202e", "x" * 50 + " "):
        result = gardener.search(indexed, SearchRequest((piece * QUERY_LIMIT)[: QUERY_LIMIT - 11] + " raw_decode"))
        assert any("first 20,000 characters" in note for note in result.notes), piece
        assert gardener.search(indexed, SearchRequest("raw_decode " + (piece * 9_000)[:90_000])).hits, piece
    assert not gardener.search(indexed, SearchRequest("raw_decode")).notes[1:]


SCRIPTS = {
    "chinese": ("处理路由器请求", "路由器"),
    "chinese_long": ("请" * 80 + "处理路由器请求", "路由器"),
    "japanese": ("リクエストを処理する", "リクエスト処理"),
    "korean": ("요청을 처리한다", "요청"),
    "arabic": ("يعالج طلبات الموجه", "الموجه"),
    "russian": ("Обрабатывает запросы маршрутизатора", "запросы"),
    "german": ("Größe der Straße", "straße"),
    "decomposed": ("überprüft die Eingabe", "u\u0308berpru\u0308ft"),
}


def test_other_scripts_are_found_by_their_words(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    for name, (text, _) in SCRIPTS.items():
        write(f"json/{name}.py", f"# {text}\ndef zebra_{name}():\n    return 1\n")
    for name, (_, query) in SCRIPTS.items():
        found = [hit for hit in gardener.search(indexed, SearchRequest(query)).hits if "lexical" in hit.sources]
        assert found and found[0].path.startswith(f"json/{name.split('_')[0]}"), name
    assert gardener.search(indexed, SearchRequest("🎉")).notes


def test_a_filter_is_only_a_filter(gardener: Gardener, indexed: ProjectContext) -> None:
    for text in (
        "' OR 1=1 --", "x'; DROP TABLE chunks; --", "\x00", "\ud800", "(a+)+$", "*a" * 100 + "b", "**/" * 500 + "x",
        "[", "[!", "\\", "../../etc/passwd", "/etc/passwd", "!*", "%", '"',
    ):  # fmt: skip
        for request in (
            SearchRequest("raw_decode", path_glob=text),
            SearchRequest("raw_decode", languages=(text,)),
            SearchRequest("raw_decode", symbol=text),
        ):
            assert gardener.search(indexed, request).hits == (), request
    assert gardener.search(indexed, SearchRequest("raw_decode")).hits


def test_five_thousand_tiny_files(gardener: Gardener, tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    for folder in range(50):
        (root / f"m{folder}").mkdir(parents=True)
        for number in range(100):
            (root / f"m{folder}" / f"f{number}.py").write_text(f"def tiny_{folder}_{number}():\n    return {number}\n")
    context = gardener.registry.add(str(root))
    report = gardener.update_index(context)
    assert (report.files, report.chunks) == (5000, 5000)
    assert gardener.search(context, SearchRequest("tiny_41_77")).hits[0].path == "m41/f77.py"
    (root / "m7" / "f7.py").unlink()
    again = gardener.update_index(context)
    assert (again.added, again.changed, again.removed) == (0, 0, 1)


def test_one_file_of_50_mb_is_left_out_unread(
    gardener: Gardener, indexed: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = Path(indexed.root) / "app.js"
    with huge.open("wb") as handle:
        for _ in range(50):
            handle.write(b"var a=function(b){return b*2};" * 33_334)
    read: list[str] = []
    really = prepare.prepare_file

    def note(root: str, entry: FileEntry, known: str, limit: int, **options: bool) -> prepare.PreparedFile:
        read.append(entry.path)
        return really(root, entry, known, limit, **options)

    monkeypatch.setattr(prepare, "prepare_file", note)
    (Path(indexed.root) / "new.py").write_text("new = 1\n")
    assert gardener.update_index(indexed).skipped["too-large"] == 1
    assert "new.py" in read and "app.js" not in read
    skipped = {item["path"]: item for item in gardener.index(indexed).skipped()}
    assert skipped["app.js"]["reason"] == "too-large"
    assert "50,001,000 bytes" in skipped["app.js"]["detail"]


def test_a_minified_file_below_the_limit_is_left_out_by_its_content(
    gardener: Gardener, indexed: ProjectContext, write: Write
) -> None:
    write("json/bundle.js", "".join(f"var a{i}=function(b){{return b*{i}}};" for i in range(20_000)))
    report = gardener.update_index(indexed)
    assert report.skipped["minified"] == 1
    assert not [hit for hit in gardener.search(indexed, SearchRequest("function a77")).hits if "bundle" in hit.path]


def test_a_file_that_is_written_all_the_time(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    target = write("json/busy.py", "def zebra_start():\n    return 0\n")
    over = threading.Event()

    def keep_writing() -> None:
        number = 0
        while not over.is_set():
            number += 1
            with target.open("a") as handle:
                handle.write(f"\n\ndef zebra_{number}():\n    return {number}\n")
            if number % 200 == 0:
                target.write_text("def zebra_start():\n    return 0\n")

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(10):
            gardener.update_index(indexed)
            for hit in gardener.search(indexed, SearchRequest("zebra_start raw_decode")).hits:
                assert hit.text
    finally:
        over.set()
        writer.join()
    target.write_text("def zebra_end():\n    return 0\n")
    hits = gardener.search(indexed, SearchRequest("zebra_end")).hits
    assert [hit.symbol for hit in hits if hit.path == "json/busy.py"] == ["zebra_end"]
    assert gardener.index_state(indexed).fresh


@pytest.mark.parametrize("lost", ["", "chunks.lance", "manifest.db"])
def test_an_index_deleted_under_the_running_app(gardener: Gardener, tmp_path: Path, lost: str) -> None:
    context = gardener.registry.add(str(write_project(tmp_path / "lantern")))
    gardener.update_index(context)
    with serving(gardener) as app, app.http() as client:
        assert client.post("/api/search", json={"query": "light_lantern"}).json()["hits"]
        for job in app.edge.jobs.find():
            for _ in job.tail():
                pass
        gone = Path(context.home) / "index" / lost
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        answer = client.post("/api/search", json={"query": "light_lantern"})
        said = answer.json()
        if answer.status_code != 200:
            assert answer.status_code < 500 or said["error"]["code"] != "internal", said
            assert said["error"]["next_step"].startswith("gardener index"), said
        else:
            assert said["hits"] or said["notes"]
        job = client.post("/api/index", json={"rebuild": True}).json()["job"]
        for _ in app.edge.jobs.get(job).tail():
            pass
        assert app.edge.jobs.get(job).state == "done", app.edge.jobs.get(job).events()
        assert client.post("/api/search", json={"query": "light_lantern"}).json()["hits"]


def test_a_lone_surrogate_over_http_is_no_server_error(gardener: Gardener, indexed: ProjectContext) -> None:
    headers = {"Content-Type": "application/json"}
    with serving(gardener) as app, app.http() as client:
        for body in (r'{"query": "\ud800 raw_decode"}', r'{"query": "raw_decode", "path": "\ud800"}'):
            answer = client.post("/api/search", content=body, headers=headers)
            assert answer.status_code in (200, 400, 422), answer.text

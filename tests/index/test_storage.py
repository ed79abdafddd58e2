"""An index whose tables lie on an object store: moto's server speaks the S3 protocol over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import StorageUnreachable
from gardener.index.search import SearchRequest

Write = Callable[[str, str], Path]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket, with the environment that any S3 client would want."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "GARDENER_INDEX_STORAGE": "s3://team-index/gardener/",
        }.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="team-index")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def keys(endpoint: str) -> list[str]:
    import boto3

    found = boto3.client("s3", endpoint_url=endpoint).list_objects_v2(Bucket="team-index").get("Contents", [])
    return [item["Key"] for item in found]


def top(gardener: Gardener, query: str) -> str:
    hits = gardener.search(gardener.context("json"), SearchRequest(query)).hits
    return hits[0].path if hits else ""


def test_an_index_on_an_object_store(bucket: str, home: Path, embedder: None, json_project: Path, write: Write) -> None:
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(json_project), "json")
        gardener.update_index(context)
        assert not list(Path(context.home, "index").glob("*.lance")), "no table lies here"
        assert all(key.startswith(f"gardener/{context.id}/") for key in keys(bucket)) and keys(bucket)
        assert gardener.embed(context).remaining == 0
        assert top(gardener, "scan a json string") != ""
        write("json/more.py", "def zebra_crossing():\n    return 1\n")
        assert top(gardener, "zebra_crossing") == "json/more.py"
        gardener.update_index(context, rebuild=True)
        table = gardener.index(context).indexer.table
        assert table.chunk_tables() == ["chunks", "chunks-2"]
        table.compact_if_needed(force=True)
    with Gardener(str(home)) as again:
        assert top(again, "zebra_crossing") == "json/more.py"
        again.purge("json")
        assert keys(bucket) == []


def test_moving_the_storage_builds_the_index_in_the_new_place(
    bucket: str, home: Path, embedder: None, json_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(json_project), "json")
        gardener.update_index(context)
    monkeypatch.setenv("GARDENER_INDEX_STORAGE", "")
    with Gardener(str(home)) as gardener:
        report = gardener.update_index(gardener.context("json"))
        assert "index.storage" in report.reason
        assert top(gardener, "scan a json string") != ""


def test_a_store_that_does_not_answer_is_named(
    home: Path, embedder: None, json_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GARDENER_INDEX_STORAGE": "s3://team-index",
    }.items():
        monkeypatch.setenv(name, value)
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(json_project), "json")
        with pytest.raises(StorageUnreachable, match="s3://team-index/") as caught:
            gardener.update_index(context)
    assert caught.value.exit_code == 6
    assert caught.value.next_step


@pytest.mark.parametrize("uri", ["http://example.org/x", "s3:/bucket", "/somewhere", "S3://bucket"])
def test_a_place_that_is_no_object_store_is_refused(
    uri: str, home: Path, embedder: None, json_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gardener.errors import ConfigError

    monkeypatch.setenv("GARDENER_INDEX_STORAGE", uri)
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(json_project), "json")
        with pytest.raises(ConfigError, match="s3://"):
            gardener.update_index(context)

"""/metrics: parsed by the reference parser, escaped, thread-safe, and strict about names."""

from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gardener.metrics import CONTENT_TYPE, METRICS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode("utf-8")):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_counters_gauges_and_histograms_appear_in_the_text() -> None:
    metrics = Metrics("1.2.3")
    metrics.count("gardener_searches_total", outcome="ok")
    metrics.count("gardener_searches_total", 2, outcome="ok")
    metrics.set("gardener_log_records_lost", 4)
    metrics.observe("gardener_search_seconds", 0.3)
    metrics.set_degradation("search only")
    found = samples(metrics)
    assert found["gardener_info", (("version", "1.2.3"),)] == 1
    assert found["gardener_searches_total", (("outcome", "ok"),)] == 3
    assert found["gardener_log_records_lost", ()] == 4
    assert found["gardener_search_seconds_bucket", (("le", "0.25"),)] == 0
    assert found["gardener_search_seconds_bucket", (("le", "0.5"),)] == 1
    assert found["gardener_degradation", (("level", "search only"),)] == 1
    assert found["gardener_degradation", (("level", "full"),)] == 0
    assert CONTENT_TYPE.startswith("text/plain")


def test_hostile_label_values_are_escaped() -> None:
    metrics = Metrics("1")
    name = 'a"b\\c\nevil{x="1"} 7'
    metrics.set("gardener_index_files", 5, project=name)
    assert samples(metrics)["gardener_index_files", (("project", name),)] == 5


def test_a_removed_project_leaves_no_series_and_the_others_stay() -> None:
    metrics = Metrics("1")
    for project in ("shop", "blog"):
        metrics.set("gardener_index_files", 5, project=project)
        metrics.count("gardener_index_updates_total", project=project, outcome="ok")
    metrics.forget_project("shop")
    metrics.forget_project("never known")
    text = metrics.text().decode()
    assert "shop" not in text
    assert text.count('project="blog"') == 2


def test_typos_do_not_hide() -> None:
    metrics = Metrics("1")
    with pytest.raises(KeyError):
        metrics.count("gardener_serches_total")
    with pytest.raises(ValueError, match="label"):
        metrics.count("gardener_searches_total", outcom="ok")
    with pytest.raises(ValueError, match="negative"):
        metrics.count("gardener_searches_total", -1, outcome="ok")


def test_threads_lose_no_count() -> None:
    metrics = Metrics("1")

    def work() -> None:
        for _ in range(1_000):
            metrics.count("gardener_searches_total", outcome="ok")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics)["gardener_searches_total", (("outcome", "ok"),)] == 4_000


def test_two_apps_in_one_process_do_not_share() -> None:
    first, second = Metrics("1"), Metrics("1")
    first.count("gardener_searches_total", outcome="ok")
    assert ("gardener_searches_total", (("outcome", "ok"),)) not in samples(second)


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in METRICS:
        assert metric.name.startswith("gardener_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_seconds") == (metric.kind == "histogram")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.help.endswith(".")

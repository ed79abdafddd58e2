"""What /metrics shows: one table of names, kept by prometheus_client in a registry of this process.

Only the app makes a Metrics, as importing the library takes tens of milliseconds; what is below it returns
its figures and the app counts them. Labels hold names from closed sets or project names, never questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from gardener.types import Answer, DegradationLevel

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.text`: the Prometheus text exposition format."""

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metric(NamedTuple):
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds in seconds, of a histogram."""


METRICS: tuple[Metric, ...] = (
    Metric("gardener_info", "gauge", "Always 1; the label says which version runs.", ("version",)),
    Metric("gardener_searches_total", "counter", "Searches.", ("outcome",)),
    Metric("gardener_search_seconds", "histogram", "Time of a search.", (), _FAST),
    Metric("gardener_answers_total", "counter", "Answers.", ("backend", "degradation", "finish")),
    Metric("gardener_answer_seconds", "histogram", "Time of a whole answer.", ("backend",), _SLOW),
    Metric("gardener_first_token_seconds", "histogram", "Time to the first token.", ("backend",), _SLOW),
    Metric(
        "gardener_tokens_total", "counter", "Tokens that models read (prompt; cached is part) and wrote.", ("kind",)
    ),
    Metric(
        "gardener_model_loads_awaited_total", "counter", "Answers that waited for the model's loading.", ("backend",)
    ),
    Metric("gardener_prefixes_total", "counter", "Where answers had the system prompt's state from.", ("source",)),
    Metric("gardener_problems_total", "counter", "Generations that went wrong, by kind of problem.", ("kind",)),
    Metric("gardener_budget_used_ratio", "gauge", "Share of the daily budget that is used; 0 without one."),
    Metric("gardener_index_files", "gauge", "Files in the index.", ("project",)),
    Metric("gardener_index_chunks", "gauge", "Chunks in the index.", ("project",)),
    Metric("gardener_index_changed_files", "gauge", "Files that differ from the index.", ("project",)),
    Metric("gardener_index_embedded_ratio", "gauge", "Share of contents with a vector.", ("project",)),
    Metric("gardener_index_updates_total", "counter", "Runs of the indexer.", ("project", "outcome")),
    Metric("gardener_degradation", "gauge", "1 for the level in force, 0 for the others.", ("level",)),
    Metric("gardener_http_requests_total", "counter", "Requests.", ("method", "route", "status")),
    Metric("gardener_http_request_seconds", "histogram", "Time of a request.", ("route",), _FAST),
    Metric("gardener_log_records_lost", "gauge", "Log records that could not be written since the start."),
)


class Metrics:
    """Thread-safe. An unknown name is a KeyError and wrong labels are a ValueError: typos do not hide."""

    def __init__(self, version: str) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

        # The *_created series double the output and nothing of ours reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._collectors: dict[str, Any] = {metric.name: self._make(metric) for metric in METRICS}
        ProcessCollector(registry=self._registry)
        self.set("gardener_info", 1, version=version)

    def _make(self, metric: Metric) -> Collector:
        from prometheus_client import Counter, Gauge, Histogram

        if metric.kind == "counter":
            return Counter(metric.name, metric.help, metric.labels, registry=self._registry)
        if metric.kind == "gauge":
            return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Adds to a counter. Raises ValueError for a negative amount."""
        self._labelled(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Sets a gauge."""
        self._labelled(name, labels).set(value)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Adds a measurement to a histogram."""
        self._labelled(name, labels).observe(seconds)

    def set_degradation(self, current: DegradationLevel) -> None:
        for level in get_args(DegradationLevel):
            self.set("gardener_degradation", 1 if level == current else 0, level=level)

    def count_usage(self, answer: Answer) -> None:
        """Tokens, loads, prefixes and problems of one answer."""
        if answer.problem:
            self.count("gardener_problems_total", kind=answer.problem)
        if not answer.generates:
            return
        usage = answer.usage
        self.count("gardener_tokens_total", usage.prompt_tokens, kind="prompt")
        self.count("gardener_tokens_total", usage.cached_tokens, kind="cached")
        self.count("gardener_tokens_total", usage.completion_tokens, kind="completion")
        if usage.load_s > 0:
            self.count("gardener_model_loads_awaited_total", backend=answer.backend)
        if usage.prefix:
            self.count("gardener_prefixes_total", source=usage.prefix)

    def forget_project(self, project: str) -> None:
        """Drops every series of a project that was removed or renamed."""
        for metric in METRICS:
            if "project" in metric.labels:
                self._collectors[metric.name].remove_by_labels({"project": project})

    def text(self) -> bytes:
        """Everything in the Prometheus text format, label values escaped."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def _labelled(self, name: str, labels: dict[str, str]) -> Any:
        collector = self._collectors[name]
        return collector.labels(**labels) if labels else collector

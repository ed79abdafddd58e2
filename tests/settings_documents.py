"""Hypothesis strategies: settings files that are right, made from the table of settings."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gardener.settings_kind import Setting
from gardener.settings_schema import SETTINGS


@st.composite
def value_of(draw: st.DrawFn, setting: Setting) -> object:
    if setting.kind == "flag":
        return draw(st.booleans())
    if setting.kind == "integer":
        return draw(st.integers(int(setting.minimum or 0), int(setting.maximum or 0)))
    if setting.kind == "number":
        return draw(st.floats(setting.minimum, setting.maximum))
    least = int(setting.minimum or 0)
    free_text = st.text("abc*/.é'\" ,", min_size=least, max_size=8)
    words = st.sampled_from(setting.choices) if setting.choices else free_text
    if setting.kind == "text":
        return draw(words)
    return draw(st.lists(words.filter(bool), max_size=4))


@st.composite
def documents(draw: st.DrawFn, settings_of: tuple[Setting, ...] = SETTINGS) -> dict[str, dict[str, object]]:
    document: dict[str, dict[str, object]] = {}
    for setting in draw(st.lists(st.sampled_from(settings_of), unique_by=lambda item: item.key)):
        document.setdefault(setting.section, {})[setting.key.partition(".")[2]] = draw(value_of(setting))
    return document


in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
"""For laws whose examples may share one tmp_path: each example writes its files anew."""

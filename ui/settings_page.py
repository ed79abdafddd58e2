"""The page "Settings": every value, where it came from, what it means; changing those of the user's own file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from gardener.errors import ConfigError, UsageError
from gardener.settings import Settings, Sources, load_good_parts
from gardener.settings_edit import set_value, unset_value
from gardener.settings_kind import InvalidValue, Setting, toml_value
from gardener.settings_schema import SETTINGS, find_setting
from ui.markup import badge, button, exact, notice, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.settings_file import Problem
    from gardener.settings_kind import Value

TITLES = {"ui": "Pages", "api": "API", "mlx": "MLX", "openai": "OpenAI-compatible server"}
LAYERS = {"default": "", "user file": "good", "project file": "warn", "environment": "warn", "flag": "warn"}
MANY_LINES = 6


class SettingsPage:
    path = "settings"
    name = "Settings"
    lead = "Defaults, then your file, then a project's, then the environment, then flags: the last one counts."

    def __init__(self, edge: Edge) -> None:
        self._gardener = edge.gardener

    def open(self, query: Fields) -> Shown:
        form = (
            '<div class="line card"><label for="filter">Find a setting</label>'
            f'<input type="search" id="filter" data-filters="#page-main .setting" value="{exact(query.get("q", ""))}"'
            f' autocomplete="off" placeholder="memory, ollama, exclude …">'
            f'<span class="quiet">Your file: <code>{text(self._gardener.paths.config)}</code></span></div>'
            '<div class="line card"><label for="theme-choice">Theme</label><select id="theme-choice">'
            '<option value="system">as the system has it</option><option value="light">light</option>'
            '<option value="dark">dark</option></select>'
            '<span class="quiet">Counts at once, and is remembered in this browser.</span></div>'
        )
        return Shown("", form, self._main())

    def refresh(self, worked: bool) -> Shown:
        return Shown()

    def live(self) -> str:
        return ""

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        setting = find_setting(fields["key"])
        paths = self._gardener.paths
        match what:
            case "set":
                value = _parsed(setting, fields.get("value", ""))
                set_value(paths, paths.config, setting.key, value)
                said = f"{setting.key} is {toml_value(value)} in {paths.config}. "
            case "unset":
                unset_value(paths, paths.config, setting.key)
                said = f"{setting.key} is removed from {paths.config}. "
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help config")
        settings, _ = self._settings()
        if settings.origin(setting.key).layer not in ("default", "user file"):
            said += f"In force is still {toml_value(settings.value(setting.key))}, from {settings.origin(setting.key)}."
        else:
            said += "It counts at once." if setting.live else "It counts when Gardener is started again."
        yield Shown(notice(said), main=self._main())

    def _settings(self) -> tuple[Settings, list[Problem]]:
        """As the files say now, with the active project's between yours and the environment; and what is wrong."""
        of = self._gardener.settings.sources
        active = self._gardener.registry.active()
        root, trusted = (active.root, active.trusted) if active is not None else (None, False)
        return load_good_parts(Sources(of.paths, root, trusted, of.environment, of.flags))

    def _main(self) -> str:
        settings, wrong = self._settings()
        problems = "".join(f'<p class="warn">{text(problem)}</p>' for problem in (*wrong, *settings.warnings))
        groups = []
        for prefix, members in groupby(SETTINGS, key=lambda setting: setting.section):
            title = TITLES.get(prefix, prefix.replace("_", " ").capitalize())
            rows = "".join(_row(setting, settings) for setting in members)
            groups.append(f'<section class="settings"><h2>{text(title)}</h2>{rows}</section>')
        return problems + "".join(groups)


def _parsed(setting: Setting, typed: str) -> Value:
    try:
        if setting.kind == "texts":
            return setting.check([line.strip() for line in typed.splitlines() if line.strip()])
        return setting.parse(typed)
    except InvalidValue as error:
        raise ConfigError(
            f"{setting.key} {error}. Nothing was changed.", next_step=f"gardener config get {setting.key}"
        ) from error


def _row(setting: Setting, settings: Settings) -> str:
    value, origin = settings.value(setting.key), settings.origin(setting.key)
    marker = badge(origin.layer, LAYERS.get(origin.layer, ""))
    where = f'<span class="quiet">{text(origin)}</span>' if origin.layer not in ("default", "flag") else ""
    default = f"default {toml_value(setting.default)}"
    effect = "" if setting.live else " · counts at the next start"
    name = f"set-{setting.key}"
    reset = ""
    if origin.layer == "user file":
        reset = button("Reset", "unset", key=setting.key, name=f"Reset {setting.key} to its default")
    return (
        f'<div class="setting" data-words="{text(f"{setting.key} {setting.description}".casefold())}">'
        f'<div class="about"><label for="{text(name)}"><code>{text(setting.key)}</code></label> {marker} {where}'
        f"<p>{text(setting.description)}</p>"
        f'<p class="quiet">{text(setting.allowed())}; {text(default)}{effect}</p></div>'
        f'<form data-do="set" class="line"><input type="hidden" name="key" value="{exact(setting.key)}">'
        f"{_control(setting, value, name)}"
        f'<button type="submit" class="act" aria-label="Save {text(setting.key)}">Save</button>{reset}</form></div>'
    )


def _control(setting: Setting, value: Value, name: str) -> str:
    """What the value is typed into. `name` is its id."""
    common = f'id="{text(name)}" name="value"'
    if setting.kind == "flag" or (setting.choices and setting.kind == "text"):
        choices = [toml_value(True), toml_value(False)] if setting.kind == "flag" else list(setting.choices)
        shown = toml_value(value) if isinstance(value, bool) else str(value)
        options = "".join(
            f"<option{' selected' if choice == shown else ''}>{text(choice)}</option>" for choice in choices
        )
        return f"<select {common}>{options}</select>"
    if isinstance(value, tuple):
        rows = min(MANY_LINES, max(1, len(value)))
        return f'<textarea {common} rows="{rows}" spellcheck="false">{exact(chr(10).join(value))}</textarea>'
    if setting.kind in ("integer", "number"):
        step = "1" if setting.kind == "integer" else "any"
        return (
            f'<input type="number" {common} step="{step}" value="{exact(toml_value(value))}" required>'
            f'<span class="quiet">{text(setting.unit)}</span>'
        )
    return f'<input type="text" {common} value="{exact(value)}" autocomplete="off" spellcheck="false">'

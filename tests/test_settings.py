"""Settings: layers and origins, every kind of wrong file, what a project may set, reloading, and editing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from gardener.errors import ConfigError, NotFoundError
from gardener.paths import Paths
from gardener.settings import Settings, SettingsWatcher, Sources, load_good_parts, load_settings, reload
from gardener.settings_kind import InvalidValue, Setting, toml_value
from gardener.settings_schema import BY_KEY, SECTIONS, SETTINGS, find_setting, nearest
from tests.settings_documents import documents, in_one_folder, value_of

ROOT = Path(__file__).parent.parent


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "home")).ensure()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def write_user(paths: Paths, text: str) -> None:
    Path(paths.config).write_text(text, encoding="utf-8")


def load(paths: Paths, **layers: object) -> Settings:
    layers.setdefault("environment", {})
    return load_settings(paths, **layers)  # type: ignore[arg-type]


# ---- layers and origins ---------------------------------------------------------------------------------


def test_without_any_file_everything_has_its_default(paths: Paths) -> None:
    loaded = load(paths)
    for setting in SETTINGS:
        assert loaded.value(setting.key) == setting.default
        assert str(loaded.origin(setting.key)) == "default"
        assert not loaded.is_set(setting.key)
    assert loaded.integer("search.limit") == 10
    assert loaded.text("server.host") == "127.0.0.1"
    assert loaded.texts("index.exclude") == ()


def test_each_layer_wins_over_those_below_and_is_named_as_origin(paths: Paths, project: Path) -> None:
    write_user(paths, "# mine\n[search]\nlimit = 50\n")
    assert str(load(paths).origin("search.limit")) == f"{paths.config}:3"
    assert load(paths).integer("search.limit") == 50

    (project / ".gardener.toml").write_text("search.limit = 40\n")
    with_project = load(paths, project_root=str(project))
    assert with_project.integer("search.limit") == 40
    assert with_project.origin("search.limit").layer == "project file"
    assert str(with_project.origin("search.limit")) == f"{project / '.gardener.toml'}:1"

    environment = {"GARDENER_SEARCH_LIMIT": "30"}
    with_environment = load(paths, project_root=str(project), environment=environment)
    assert with_environment.integer("search.limit") == 30
    assert with_environment.origin("search.limit").variable == "GARDENER_SEARCH_LIMIT"

    flagged = load(paths, project_root=str(project), environment=environment, flags={"search.limit": 20})
    assert flagged.integer("search.limit") == 20
    assert flagged.origin("search.limit").layer == "flag"


def test_for_project_keeps_environment_and_flags_above_the_project(paths: Paths, project: Path) -> None:
    (project / ".gardener.toml").write_text("[answer]\nhits = 2\ncontext_tokens = 700\n")
    base = load(paths, flags={"answer.hits": 3})
    scoped = base.for_project(str(project), trusted=False)
    assert (scoped.integer("answer.hits"), scoped.integer("answer.context_tokens")) == (3, 700)
    assert base.integer("answer.context_tokens") == 6_000


def test_not_set_is_not_empty(paths: Paths) -> None:
    write_user(paths, "[index]\nexclude = []\n[search]\nlimit = 10\n")
    loaded = load(paths, environment={"GARDENER_MODELS_ORDER": ""}, flags={"log.level": None})
    assert loaded.is_set("index.exclude")
    assert loaded.texts("index.exclude") == ()
    assert loaded.origin("search.limit").layer == "user file", "a value equal to the default is still set"
    assert loaded.texts("models.order") == ()
    assert not loaded.is_set("log.level"), "a flag that was not given has the value None"
    with pytest.raises(ConfigError, match="GARDENER_SEARCH_LIMIT"):
        load(paths, environment={"GARDENER_SEARCH_LIMIT": ""})
    with pytest.raises(ConfigError, match="GARDENER_SERVER_HOST"):
        load(paths, environment={"GARDENER_SERVER_HOST": ""})  # would listen on every network


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("ui.open_browser", "no", False),
        ("ui.open_browser", "TRUE", True),
        ("search.limit", " 1_0 ", 10),
        ("search.on_demand_budget_ms", "1.5", 1.5),
        ("index.exclude", "a, b/ ,", ("a", "b/")),
        ("index.exclude", '["a,b", "c"]', ("a,b", "c")),
        ("index.exclude", "", ()),
        ("log.level", "debug", "debug"),
    ],
)
def test_words_of_the_environment_become_values(paths: Paths, key: str, text: str, value: object) -> None:
    loaded = load(paths, environment={BY_KEY[key].variable: text})
    assert loaded.value(key) == value
    assert type(loaded.value(key)) is type(value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ui.open_browser", "maybe"),
        ("search.limit", "ten"),
        ("search.limit", "0"),
        ("search.limit", "9" * 5_000),
        ("search.on_demand_budget_ms", "nan"),
        ("search.on_demand_budget_ms", "inf"),
        ("search.on_demand_budget_ms", "soon"),
        ("index.exclude", "[1]"),
        ("index.exclude", "[" * 100_000),
        ("log.level", "loud"),
        ("server.host", "a\nb"),
    ],
)
def test_wrong_words_name_the_variable_and_what_is_allowed(paths: Paths, key: str, text: str) -> None:
    variable = BY_KEY[key].variable
    with pytest.raises(ConfigError) as caught:
        load(paths, environment={variable: text})
    assert variable in caught.value.message
    assert BY_KEY[key].allowed() in caught.value.message
    assert caught.value.next_step == f"unset {variable}"
    assert "\n" not in caught.value.message


def test_an_unknown_variable_of_a_known_section_is_an_error_with_the_nearest_name(paths: Paths) -> None:
    with pytest.raises(ConfigError, match="GARDENER_SEARCH_LIMIT"):
        load(paths, environment={"GARDENER_SEARCH_LIMTI": "3"})
    other = {"GARDENER_HOME": "/x", "GARDENER_REQUIRE_ALL": "1", "PATH": "/bin", "SEARCH_LIMIT": "x"}
    assert load(paths, environment=other).warnings == ()
    foreign = load(paths, environment={"GARDENER_SERACH_LIMIT": "3"})
    assert foreign.integer("search.limit") == 10
    assert "GARDENER_SEARCH_LIMIT" in foreign.warnings[0]


def test_a_wrong_flag_is_named(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"server\.port on the command line must be a whole number"):
        load(paths, flags={"server.port": 70_000})
    with pytest.raises(NotFoundError, match=r"Did you mean server\.port"):
        load(paths, flags={"server.prot": 7_000})


# ---- what a project may set -----------------------------------------------------------------------------


def test_a_project_sets_what_it_may_and_the_rest_is_ignored_with_a_warning(paths: Paths, project: Path) -> None:
    (project / ".gardener.toml").write_text(
        "[server]\nhost = '0.0.0.0'\nport = 'nonsense'\n[models]\nbackend = 'extractive'\n[answer]\nhits = 4\n"
    )
    untrusted = load(paths, project_root=str(project))
    assert untrusted.text("server.host") == "127.0.0.1"
    assert not untrusted.is_set("models.backend")
    assert untrusted.integer("answer.hits") == 4
    said = "\n".join(untrusted.warnings)
    assert "line 2: server.host is ignored: only your own settings may set it" in said
    assert "line 5: models.backend is ignored: you have not trusted this project" in said
    assert len(untrusted.warnings) == 3

    trusted = load(paths, project_root=str(project), trusted=True)
    assert trusted.text("server.host") == "127.0.0.1", "not even a trusted project decides where we listen"
    assert trusted.text("models.backend") == "extractive"


def test_an_untrusted_project_only_tightens(paths: Paths, project: Path) -> None:
    write_user(paths, "[answer]\nhits = 5\n[search]\non_demand_vectors = false\n[index]\nexclude = ['keys/']\n")
    (project / ".gardener.toml").write_text(
        "[answer]\nhits = 6\n[search]\non_demand_budget_ms = 10\non_demand_vectors = true\n"
        "[index]\nexclude = ['docs/']\nbackground_embedding = false\nmax_file_bytes = 99000000\n"
    )
    untrusted = load(paths, project_root=str(project))
    assert untrusted.integer("answer.hits") == 5
    assert untrusted.number("search.on_demand_budget_ms") == 10.0
    assert untrusted.flag("search.on_demand_vectors") is False
    assert untrusted.flag("index.background_embedding") is False
    assert untrusted.integer("index.max_file_bytes") == 1_000_000
    assert untrusted.texts("index.exclude") == ("keys/", "docs/"), "adds to what the user keeps out"
    assert len(untrusted.warnings) == 3

    trusted = load(paths, project_root=str(project), trusted=True)
    assert trusted.integer("answer.hits") == 6
    assert trusted.flag("search.on_demand_vectors") is True
    assert trusted.integer("index.max_file_bytes") == 99_000_000
    assert trusted.texts("index.exclude") == ("keys/", "docs/"), "not even a trusted one brings files back"
    assert trusted.warnings == ()


def test_keys_with_reach_are_closed_to_projects() -> None:
    for setting in SETTINGS:
        if setting.section in ("server", "ui", "log"):
            assert setting.scope == "user", f"{setting.key} must not come from a repository"
        if setting.scope == "anywhere":
            assert setting.section in ("index", "search", "answer")
            assert setting.tighter, f"{setting.key}: say what an untrusted project may do to it"


@in_one_folder
@given(mine=documents(), theirs=documents())
def test_law_no_untrusted_project_loosens_anything(
    paths: Paths, project: Path, mine: dict[str, dict[str, object]], theirs: dict[str, dict[str, object]]
) -> None:
    write_user(paths, tomlkit.dumps(mine))
    (project / ".gardener.toml").write_text(tomlkit.dumps(theirs))
    alone, together = load(paths), load(paths, project_root=str(project))
    for setting in SETTINGS:
        before, after = alone.value(setting.key), together.value(setting.key)
        if setting.scope != "anywhere":
            assert after == before
        elif isinstance(before, tuple) and isinstance(after, tuple):
            assert set(before) <= set(after)
        else:
            assert not isinstance(after, str | tuple)
            assert not isinstance(before, str | tuple)
            assert after <= before


# ---- tolerant loading, reloading ------------------------------------------------------------------------


def test_the_good_parts_of_a_wrong_file_are_usable(paths: Paths, project: Path) -> None:
    write_user(paths, "[search]\nlimit = 0\n[answer]\nhits = 3\n")
    (project / ".gardener.toml").write_text("= broken")
    good, problems = load_good_parts(Sources(paths, str(project), environment={}))
    assert (good.integer("search.limit"), good.integer("answer.hits")) == (10, 3)
    assert [(p.key, p.line, p.path) for p in problems] == [
        ("search.limit", 2, paths.config),
        ("", 1, str(project / ".gardener.toml")),
    ]


def test_reload_keeps_the_last_good_settings(paths: Paths) -> None:
    write_user(paths, "[search]\nlimit = 5\n")
    first = load(paths)
    write_user(paths, "[search]\nlimit = 'x'\n")
    second, error = reload(first)
    assert second is first
    assert error is not None
    assert "line 2" in error.message
    write_user(paths, "[search]\nlimit = 6\n")
    third, error = reload(second)
    assert (third.integer("search.limit"), error) == (6, None)
    assert third.changed_keys(first) == ("search.limit",)


def test_a_watcher_follows_the_files_and_survives_a_wrong_one(paths: Paths, project: Path) -> None:
    watcher = SettingsWatcher(load(paths, project_root=str(project)))
    assert not watcher.poll()
    write_user(paths, "[search]\nlimit = 5\n")
    assert watcher.poll()
    assert watcher.current.integer("search.limit") == 5
    assert not watcher.poll()

    write_user(paths, "[search]\nlimit = \n")
    assert not watcher.poll()
    error = watcher.error
    assert error is not None
    assert not watcher.poll()
    assert watcher.error is error, "an unchanged file is not read again"
    assert watcher.current.integer("search.limit") == 5

    (project / ".gardener.toml").write_text("[answer]\nhits = 2\n")
    assert not watcher.poll(), "one file is still wrong, so nothing changes"
    write_user(paths, "[server]\nport = 8000\n")
    assert watcher.poll()
    assert watcher.error is None
    assert watcher.restart_needed == ("server.port",)
    assert watcher.current.integer("answer.hits") == 2
    os.unlink(paths.config)
    assert watcher.poll()
    assert watcher.restart_needed == ()
    assert watcher.current.integer("server.port") == BY_KEY["server.port"].default


# ---- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_row_of_the_table_is_sound(setting: Setting) -> None:
    assert setting.check(setting.default) == setting.default
    assert setting.key.count(".") == 1
    assert "_" not in setting.section, "the environment variable could not be told apart"
    assert setting.description.endswith(".")
    if setting.kind in ("integer", "number"):
        assert setting.minimum is not None
        assert setting.maximum is not None
        for wrong in (setting.minimum - 1, setting.maximum + 1):
            with pytest.raises(InvalidValue):
                setting.check(wrong)
    if setting.tighter == "false":
        assert setting.kind == "flag"
    if setting.tighter == "add":
        assert setting.kind == "texts"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
@in_one_folder
@given(data=st.data())
def test_law_a_value_survives_being_written_as_a_word(setting: Setting, data: st.DataObject) -> None:
    value = setting.check(data.draw(value_of(setting)))
    word = value if isinstance(value, str) else toml_value(value)
    assert setting.parse(word) == value


def test_getters_refuse_the_wrong_type_and_unknown_keys(paths: Paths) -> None:
    loaded = load(paths)
    with pytest.raises(TypeError):
        loaded.text("search.limit")
    with pytest.raises(NotFoundError, match=r"Did you mean search\.limit") as caught:
        loaded.integer("search.limitt")
    assert caught.value.exit_code == 4
    with pytest.raises(NotFoundError):
        loaded.origin("nonsense")
    assert nearest("port") == "server.port"
    assert nearest("xyzzy") == ""
    assert find_setting("log.level").section in SECTIONS


def test_the_configuration_page_is_what_the_table_says() -> None:
    spec = importlib.util.spec_from_file_location("configuration_docs", ROOT / "scripts/configuration_docs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == script.configuration_page(), "run python scripts/configuration_docs.py"
    assert all(f"`{setting.key}`" in page for setting in SETTINGS)


def test_importing_settings_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); import gardener.settings\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    arguments = [sys.executable, "-c", program, str(ROOT)]
    imported = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    foreign = [name for name in imported if not name.startswith("gardener")]
    assert set(foreign) <= {"__future__", "errno", "stat", "_stat"}

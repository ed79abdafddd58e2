"""Adding, finding, renaming and moving projects, with the paths and names that people really type."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from gardener.errors import (
    GardenerError,
    InvalidPath,
    LockedError,
    NameTaken,
    PathNotFound,
    ProjectExists,
    ProjectNotFound,
    UsageError,
)
from gardener.locks import ProcessLock
from gardener.paths import Paths, project_lock
from gardener.projects import roots
from gardener.projects.names import LONGEST_NAME
from gardener.projects.registry import Registry
from gardener.state import State

ADD = """
import sys
from gardener.errors import GardenerError
from gardener.paths import Paths
from gardener.projects.registry import Registry
from gardener.state import State
paths = Paths(sys.argv[1])
with State(paths.state_db) as state:
    for path in sys.argv[2:]:
        try:
            print("added", Registry(state, paths).add(path).name)
        except GardenerError as error:
            print(error.code)
"""


def names(registry: Registry) -> list[str]:
    return [context.name for context in registry.list()]


def child(parent: Path, name: str) -> str:
    made = parent / name
    made.mkdir(parents=True, exist_ok=True)
    return str(made)


def test_a_project_is_named_after_its_folder_and_becomes_active_when_it_is_the_first(
    registry: Registry, folder: Path, paths: Paths
) -> None:
    context = registry.add(str(folder))
    assert (context.name, context.root) == ("alpha", str(folder))
    assert len(context.id) == 12 and context.home == paths.project_home(context.id)
    assert os.stat(context.home).st_mode & 0o777 == 0o700
    assert registry.active() == context
    second = registry.add(child(folder.parent, "beta"))
    assert registry.active() == context
    assert registry.list() == [context, second]
    assert registry.get("alpha") == registry.get("ALPHA") == registry.get(context.id) == context


def test_what_is_registered_survives_reopening(paths: Paths, folder: Path) -> None:
    with State(paths.state_db) as state:
        context = Registry(state, paths).add(str(folder), "My Project")
    with State(paths.state_db) as state:
        assert Registry(state, paths).list() == [context]


# ---- Paths --------------------------------------------------------------------------------------------


def test_a_missing_folder(registry: Registry, folder: Path) -> None:
    with pytest.raises(PathNotFound, match="nowhere") as caught:
        registry.add(str(folder / "nowhere" / "deeper"))
    assert caught.value.exit_code == 4 and caught.value.next_step == f"ls {folder}"
    assert registry.list() == []


def test_a_file_suggests_its_folder(registry: Registry, folder: Path) -> None:
    (folder / "it's.py").write_text("")
    with pytest.raises(InvalidPath, match="is a file, not a folder") as caught:
        registry.add(str(folder / "it's.py"))
    assert caught.value.next_step == f"gardener add {folder}" and caught.value.exit_code == 2


def test_a_fifo_and_a_path_through_a_file(registry: Registry, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidPath, match="special file"):
        registry.add(str(folder / "pipe"))
    (folder / "file").write_text("")
    with pytest.raises(GardenerError, match="file"):
        registry.add(str(folder / "file" / "below"))


def test_a_symbolic_link_to_itself(registry: Registry, folder: Path) -> None:
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(GardenerError, match="loop"):
        registry.add(str(folder / "loop"))


@pytest.mark.parametrize("path", ["", "   "])
def test_an_empty_path(registry: Registry, path: str) -> None:
    with pytest.raises(UsageError):
        registry.add(path)


def test_a_path_with_a_nul_or_invalid_utf8(registry: Registry, folder: Path) -> None:
    with pytest.raises(InvalidPath, match="NUL"):
        registry.add("a\0b")
    strange = os.fsencode(folder) + b"/\xff"
    os.mkdir(strange)
    with pytest.raises(InvalidPath, match="UTF-8"):
        registry.add(os.fsdecode(strange))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read the folder")
def test_an_unreadable_folder_names_it(tmp_path: Path) -> None:
    script = (
        "import os, sys\nos.chdir('/')\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from gardener.projects.roots import resolve_root\n"
        "from gardener.errors import PermissionProblem\n"
        "try: resolve_root(sys.argv[1], '/nowhere')\n"
        "except PermissionProblem as error: print(error.message)\n"
    )
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    # Imported as root before the privileges go, because the checkout itself may be private.
    script = "import gardener.projects.roots, shlex, os\n" + script
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == 0 and parent.name.startswith(("pytest", "test")):
            parent.chmod(0o755)
    # A coverage run could not write its data as that user.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    result = subprocess.run(
        [sys.executable, "-c", script, str(secret)], capture_output=True, text=True, env=environment
    )
    assert (result.stdout.strip(), result.stderr) == (f"{secret} cannot be read: Permission denied.", "")


@pytest.mark.parametrize("spelling", ["{0}/", "{0}/.", "{0}/../alpha", "{1}/link", "{1}/link/"])
def test_the_same_folder_under_another_spelling_is_the_same(registry: Registry, folder: Path, spelling: str) -> None:
    registry.add(str(folder))
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(ProjectExists, match="registered already, as the project 'alpha'") as caught:
        registry.add(spelling.format(folder, folder.parent), "other")
    assert caught.value.next_step == "gardener switch alpha"
    assert names(registry) == ["alpha"]


def test_a_link_is_resolved_when_it_is_added_first(registry: Registry, folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    context = registry.add(str(folder.parent / "link"))
    assert (context.root, context.name) == (str(folder), "alpha")


def test_a_relative_path(registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert registry.add(".").root == str(folder)


def test_overlapping_folders_are_refused_unless_nested(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    inner = child(folder, "inner")
    with pytest.raises(ProjectExists, match="is inside the project 'alpha'") as caught:
        registry.add(inner)
    assert caught.value.next_step == f"gardener add {inner} --nested"
    with pytest.raises(ProjectExists, match="is around the project 'alpha'"):
        registry.add(str(folder.parent))
    assert registry.add(inner, nested=True).name == "inner"
    assert registry.containing(inner + "/x") == registry.get("inner")
    assert registry.containing(str(folder)) == registry.get("alpha")
    assert registry.containing("/") is None
    with pytest.raises(ProjectExists):
        registry.add(inner, "again", nested=True)  # the very same folder is never taken twice


def test_a_file_system_that_ignores_case(registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Linux has none at hand: identities are taken from the lower-case path, as such a one would give them.
    monkeypatch.setattr(roots, "_identity", lambda path: (1, hash(path.lower())))
    registry.add(str(folder))
    inner, shouted = child(folder.parent / "ALPHA", "inner"), child(folder.parent, "ALPHA")
    with pytest.raises(ProjectExists, match="registered already"):
        registry.add(shouted, "other")
    with pytest.raises(ProjectExists, match="is inside the project 'alpha'"):
        registry.add(inner)


def test_a_neighbour_whose_name_begins_alike_is_not_inside(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    assert registry.add(child(folder.parent, "alpha2")).name == "alpha2"


def test_too_wide_folders_need_force(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = child(tmp_path, "user")
    monkeypatch.setenv("HOME", home)
    for path, words in (
        ("/", "whole file system"),
        (home, "whole home folder"),
        (str(tmp_path), "around your home"),
    ):
        with pytest.raises(InvalidPath, match=words) as caught:
            registry.add(path)
        assert caught.value.next_step.endswith("--force")
    assert registry.add("~", force=True).root == home


def test_gardeners_own_folder_is_no_project(registry: Registry, paths: Paths) -> None:
    for path in (paths.home, paths.projects):
        os.makedirs(path, exist_ok=True)
        with pytest.raises(InvalidPath, match="own data folder"):
            registry.add(path, force=True, nested=True)


def test_a_folder_that_has_gone_does_not_break_the_list(registry: Registry, folder: Path) -> None:
    context = registry.add(str(folder))
    registry.add(child(folder.parent, "beta"))
    folder.rmdir()
    assert [(record.context.name, record.state, record.active) for record in registry.records()] == [
        ("alpha", "missing", True),
        ("beta", "ok", False),
    ]
    assert registry.get("alpha") == context
    assert registry.records()[0].as_json()["state"] == "missing"


# ---- Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["with space", "it's", 'say "hi"', "🌱 garden", "👩‍💻", "Łódź", "工程", "a.b", "x-1", "a" * LONGEST_NAME],
)
def test_unusual_names_that_are_fine(registry: Registry, folder: Path, name: str) -> None:
    assert registry.add(str(folder), name).name == name
    assert registry.get(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "-rf",
        ".hidden",
        "a\nb",
        "a\x00b",
        "a\tb",
        "a\u202eb",
        "a\u200bb",
        "a\u200db",
        "\u2066x",
        "a\u2028b",
        "\x1b[31m",
        "x" * (LONGEST_NAME + 1),
        "a\ud800",
    ],
)
def test_names_that_are_refused(registry: Registry, folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a project's name") as caught:
        registry.add(str(folder), name)
    assert caught.value.next_step.startswith("gardener add PATH --name ")
    assert registry.list() == []
    registry.add(str(folder))
    with pytest.raises(UsageError):
        registry.rename("alpha", name)


@pytest.mark.parametrize(
    ("folder_name", "expected"),
    [
        (".dotfiles", "dotfiles"),
        ("-x", "x"),
        ("a\u202eb", "ab"),
        ("...", "project"),
        ("y" * 200, "y" * LONGEST_NAME),
    ],
)
def test_a_folder_whose_name_is_not_allowed_gets_what_is_left_of_it(
    registry: Registry, folder: Path, folder_name: str, expected: str
) -> None:
    assert registry.add(child(folder, folder_name)).name == expected


def test_names_are_the_same_whatever_their_case_or_normal_form(registry: Registry, folder: Path) -> None:
    registry.add(str(folder), "Cafe\u0301")
    assert registry.list()[0].name == "Caf\u00e9"
    assert registry.get("CAFÉ").name == "Caf\u00e9"
    other = child(folder.parent, "b")
    for same in ("caf\u00e9", "CAFE\u0301"):
        with pytest.raises(NameTaken):
            registry.add(other, same)


def test_a_taken_name_comes_with_a_free_one_that_works(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    other = child(folder.parent.parent / "two words", "alpha")
    with pytest.raises(NameTaken, match=f"'alpha' is taken by the project at {folder}") as caught:
        registry.add(other)
    assert caught.value.next_step == f"gardener add '{other}' --name 'two words-alpha'"
    assert registry.add(other, "two words-alpha").root == other
    third = child(folder.parent.parent / "x" / "two words", "alpha")
    with pytest.raises(NameTaken) as caught:
        registry.add(third)
    assert caught.value.next_step.endswith("--name alpha-2")


def test_an_unknown_name_suggests_the_nearest(registry: Registry, folder: Path) -> None:
    registry.add(str(folder), "django")
    with pytest.raises(ProjectNotFound, match=r"No project 'dajngo' is registered. Did you mean 'django'\?") as caught:
        registry.get("dajngo")
    assert (caught.value.next_step, caught.value.exit_code) == ("gardener list", 4)
    with pytest.raises(ProjectNotFound) as caught:
        registry.get("zzz")
    assert "Did you mean" not in caught.value.message


def test_renaming(registry: Registry, folder: Path, state: State) -> None:
    context = registry.add(str(folder))
    registry.add(child(folder.parent, "beta"))
    before = state.generation()
    assert registry.rename("alpha", "Alpha").name == "Alpha"  # only the case changes
    assert state.generation() > before
    assert registry.rename("Alpha", "gamma").id == context.id
    with pytest.raises(NameTaken) as caught:
        registry.rename("gamma", "BETA")
    assert caught.value.next_step.startswith("gardener rename gamma ")
    with pytest.raises(ProjectNotFound):
        registry.rename("alpha", "x")
    assert names(registry) == ["beta", "gamma"]


# ---- Moving, settings, log ----------------------------------------------------------------------------


def test_moving_keeps_the_project(registry: Registry, folder: Path, state: State) -> None:
    context = registry.add(str(folder))
    (Path(context.home) / "index").mkdir()
    folder.rename(folder.parent / "elsewhere")
    before = state.generation()
    moved = registry.move("alpha", str(folder.parent / "elsewhere"))
    assert (moved.id, moved.name, moved.root) == (context.id, "alpha", str(folder.parent / "elsewhere"))
    assert (Path(moved.home) / "index").is_dir()
    assert state.generation() > before


def test_moving_checks_the_new_place(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    beta = registry.add(child(folder.parent, "beta"))
    with pytest.raises(PathNotFound):
        registry.move("beta", str(folder / "missing"))
    with pytest.raises(ProjectExists):
        registry.move("beta", str(folder))
    inner = child(folder, "inner")
    with pytest.raises(ProjectExists) as caught:
        registry.move("beta", inner)
    assert caught.value.next_step == f"gardener move beta {inner} --nested"
    assert registry.get("beta") == beta
    assert registry.move("beta", inner, nested=True).root == inner
    assert registry.move("beta", child(folder / "inner", "deeper"), nested=True).name == "beta"


def test_moving_waits_for_the_indexer_only_so_long(registry: Registry, folder: Path) -> None:
    context = registry.add(str(folder))
    with (
        ProcessLock(project_lock(context.home), "gardener index"),
        pytest.raises(LockedError, match="gardener index"),
    ):
        registry.move("alpha", child(folder.parent, "new"))
    assert registry.get("alpha") == context


def test_settings_of_a_project(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    context = registry.configure("alpha", backend="ollama", model="m", trusted=True)
    assert (context.backend, context.model, context.trusted) == ("ollama", "m", True)
    for wrong in ({"root": "/"}, {"trusted": "yes"}, {"model": True}):
        with pytest.raises(UsageError):
            registry.configure("alpha", **wrong)  # type: ignore[arg-type]
    assert registry.get("alpha") == context


def test_touching_updates_only_the_time(registry: Registry, folder: Path) -> None:
    context = registry.add(str(folder))
    before = registry.records()[0]
    registry.touch("alpha")
    after = registry.records()[0]
    assert after.context == context and after.last_used_at > before.last_used_at
    assert after.created_at == before.created_at


def test_the_log_tells_what_happened(registry: Registry, folder: Path) -> None:
    registry.add(str(folder))
    registry.add(child(folder.parent, "beta"))
    registry.rename("alpha", "gamma")
    assert [(event.kind, event.data.get("name")) for event in registry.events()] == [
        ("project.renamed", "gamma"),
        ("project.added", "beta"),
        ("project.switched", None),
        ("project.added", "alpha"),
    ]
    assert [event.kind for event in registry.events("beta")] == ["project.added"]
    assert len(registry.events(limit=1)) == 1


def test_a_context_cannot_be_changed_and_travels_between_processes(registry: Registry, folder: Path) -> None:
    context = registry.add(str(folder))
    with pytest.raises(AttributeError):
        context.root = "/"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del context.root
    assert pickle.loads(pickle.dumps(context)) == context
    assert hash(context) == hash(registry.get("alpha"))
    changed = context.replace(model="m")
    assert changed != context and changed.model == "m" and context.model == ""
    assert repr(context).startswith("ProjectContext(id=")
    with pytest.raises(TypeError):
        context.replace(colour="green")


def test_two_processes_that_add_the_same_folders_register_each_once(paths: Paths, tmp_path: Path) -> None:
    folders = [child(tmp_path / "code", f"p{number}") for number in range(8)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", ADD, paths.home, *folders],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said: list[str] = []
    for process in runs:
        output, errors = process.communicate()
        assert errors == ""
        said += output.splitlines()
    assert sorted(line for line in said if line.startswith("added")) == [f"added p{n}" for n in range(8)]
    assert said.count("project-exists") == 16
    with State(paths.state_db) as state:
        registry = Registry(state, paths)
        assert sorted(os.listdir(paths.projects)) == sorted(context.id for context in registry.list())

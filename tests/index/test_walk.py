from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gardener.errors import PathNotFound
from gardener.index import git_listing
from gardener.index.walk import FileEntry, SkippedFile, TreeReader, WalkResult, read_file, walk

LIMIT = 1_000_000
IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def own_git_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """git sees no settings but those of the test; returns the user's config file."""
    home = tmp_path_factory.mktemp("home")
    config = home / "gitconfig"
    config.write_text('[user]\nname = T\nemail = t@example.org\n[protocol "file"]\nallow = always\n')
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return config


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(root: Path, *names: str, text: str = "text\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    return root


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "x")


def listed(root: Path, **options: object) -> WalkResult:
    return walk(str(root), **{"max_file_bytes": LIMIT, **options})  # type: ignore[arg-type]


def paths(result: WalkResult) -> list[str]:
    return [entry.path for entry in result.files]


def reasons(result: WalkResult) -> dict[str, str]:
    return {item.path: item.reason for item in result.skipped}


@pytest.fixture(params=["git", "folder"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every rule that is not git's own must hold whether git lists the files or not."""
    if request.param == "folder":
        monkeypatch.setattr(git_listing, "git_program", lambda: None)
    return str(request.param)


# ---- Which files ------------------------------------------------------------------------------------------


def test_lists_tracked_and_untracked_files_in_order_with_their_metadata(checkout: Path, way: str) -> None:
    write(checkout, "b.py", "a/z.py", "a.py")
    commit(checkout)
    write(checkout, "new.py", text="12345")
    result = listed(checkout)
    assert paths(result) == ["a.py", "a/z.py", "b.py", "new.py"]
    assert result.listed_by == way
    status = (checkout / "new.py").stat()
    assert result.files[-1] == FileEntry("new.py", 5, status.st_mtime_ns)
    assert not result.ignored_listed


def test_honours_nested_ignore_files_and_the_exclude_file(checkout: Path, way: str) -> None:
    write(checkout, "a.log", "keep.log", "sub/x.tmp", "sub/deep/y.tmp", "private/n.py", "sub/ok.py")
    write(checkout, ".gitignore", text="*.log\n!keep.log\n")
    write(checkout, "sub/.gitignore", text="*.tmp\n")
    write(checkout, ".git/info/exclude", text="/private/\n")
    assert paths(listed(checkout)) == [".gitignore", "keep.log", "sub/.gitignore", "sub/ok.py"]


def test_the_users_own_ignore_file_counts_and_the_repositorys_setting_does_not(
    checkout: Path, own_git_settings: Path, tmp_path: Path
) -> None:
    write(tmp_path, "mine", text="*.mine\n")
    write(tmp_path, "theirs", text="*.py\n")
    own_git_settings.write_text(f"[core]\nexcludesFile = {tmp_path / 'mine'}\n")
    git(checkout, "config", "core.excludesFile", str(tmp_path / "theirs"))
    write(checkout, "a.py", "a.mine")
    assert paths(listed(checkout)) == ["a.py"]


def test_explain_names_what_was_ignored_with_folders_collapsed(checkout: Path, way: str) -> None:
    write(checkout, ".gitignore", text="*.log\n/cache/\n")
    write(checkout, "a.py", "x.log", "cache/1.py", "cache/2.py")
    result = listed(checkout, explain=True)
    assert result.ignored_listed
    ignored = [path for path, reason in reasons(result).items() if reason == "ignored"]
    assert ignored == ["cache/", "x.log"]
    assert paths(result) == [".gitignore", "a.py"]


def test_a_deleted_tracked_file_is_simply_absent(checkout: Path) -> None:
    write(checkout, "a.py", "gone.py", "folder/gone.py")
    commit(checkout)
    (checkout / "gone.py").unlink()
    (checkout / "folder/gone.py").unlink()
    (checkout / "folder").rmdir()
    (checkout / "folder").write_text("now a file\n")
    result = listed(checkout)
    assert paths(result) == ["a.py", "folder"]
    assert result.skipped == []


def test_a_folder_of_a_checkout_can_be_the_root(checkout: Path, way: str) -> None:
    write(checkout, ".gitignore", text="/sub/secret/\n*.log\n")
    write(checkout, "top.py", "sub/a.py", "sub/secret/b.py", "sub/deep/c.py", "sub/x.log")
    assert paths(listed(checkout / "sub")) == ["a.py", "deep/c.py"]


def test_a_project_in_a_folder_that_the_repository_around_it_ignores_is_listed(checkout: Path) -> None:
    write(checkout, ".gitignore", text="*\n")
    write(checkout, "code/app/a.py", "code/app/b/c.py")
    write(checkout, "code/app/.gitignore", text="b/\n")
    result = listed(checkout / "code/app")
    assert paths(result) == [".gitignore", "a.py"]
    assert result.listed_by == "folder"


def test_a_folder_outside_git_is_walked_with_its_ignore_files(tmp_path: Path) -> None:
    write(tmp_path, "p/a.py", "p/x.log", "p/sub/b.py", "p/sub/c.tmp")
    write(tmp_path, "p/.gitignore", text="*.log\nsub/*\n!sub/b.py\n")
    result = listed(tmp_path / "p")
    assert paths(result) == [".gitignore", "a.py", "sub/b.py"]
    assert result.listed_by == "folder"
    assert result.notes == ()


def test_repositories_inside_are_listed_by_their_own_rules(tmp_path: Path, way: str) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"w/{name}/a.py", f"w/{name}/b.{name}")
        git(tmp_path / "w" / name, "init", "-q")
        write(tmp_path, f"w/{name}/.gitignore", text=f"*.{name}\n")
    assert paths(listed(tmp_path / "w")) == ["one/.gitignore", "one/a.py", "two/.gitignore", "two/a.py"]


def test_submodules_and_embedded_repositories_are_entered_and_missing_ones_reported(
    checkout: Path, tmp_path: Path, way: str
) -> None:
    library = tmp_path / "library"
    write(library, "lib.py", "skip.log")
    git(library, "init", "-q")
    write(library, ".gitignore", text="*.log\n")
    commit(library)
    write(checkout, "a.py")
    git(checkout, "submodule", "-q", "add", str(library), "libs/here")
    git(checkout, "submodule", "-q", "add", str(library), "libs/absent")
    commit(checkout)
    git(checkout, "submodule", "-q", "deinit", "-f", "libs/absent")
    write(checkout / "libs/here", "untracked.py", "more.log")
    git(tmp_path, "clone", "-q", str(library), str(checkout / "clone"))
    result = listed(checkout)
    assert [path for path in paths(result) if path.endswith(".py")] == [
        "a.py",
        "clone/lib.py",
        "libs/here/lib.py",
        "libs/here/untracked.py",
    ]
    if way == "git":
        assert reasons(result) == {"libs/absent/": "submodule-missing"}


def test_a_worktree_and_a_sparse_checkout_are_listed_as_they_are_on_the_disk(checkout: Path, tmp_path: Path) -> None:
    write(checkout, "a.py", "in/b.py", "out/c.py")
    commit(checkout)
    git(checkout, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    write(tmp_path / "tree", "new.py")
    assert paths(listed(tmp_path / "tree")) == ["a.py", "in/b.py", "new.py", "out/c.py"]
    git(checkout, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
    assert paths(listed(checkout)) == ["a.py", "in/b.py"]


def test_a_missing_root_is_an_error_and_never_an_empty_project(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound):
        listed(tmp_path / "nowhere")
    write(tmp_path, "file")
    with pytest.raises(PathNotFound):
        listed(tmp_path / "file")


# ---- What is left out, and why ----------------------------------------------------------------------------


def test_vendored_and_cache_folders_are_reported_once_even_when_tracked(checkout: Path, way: str) -> None:
    write(checkout, "a.py", "vendor/x/y.py", "vendor/z.py", "web/node_modules/m/i.js", "__pycache__/a.py")
    write(checkout, "env/bin/tool.py", "env/pyvenv.cfg", "src/env/settings.py")
    commit(checkout)
    result = listed(checkout)
    assert paths(result) == ["a.py", "src/env/settings.py"]
    assert reasons(result) == {
        "__pycache__/": "generated",
        "env/": "vendored",
        "vendor/": "vendored",
        "web/node_modules/": "vendored",
    }
    if way == "git":
        assert "2 files" in {item.path: item.detail for item in result.skipped}["vendor/"]


def test_build_output_is_left_out_unless_it_is_tracked_or_no_output_at_all(checkout: Path) -> None:
    write(checkout, "package.json", "build/tracked.js", "src/build/pipeline.py", "dist/old.js")
    git(checkout, "add", "package.json", "build/tracked.js")
    write(checkout, "build/made.js", "build/deep/made.js")
    result = listed(checkout)
    assert paths(result) == ["build/tracked.js", "package.json", "src/build/pipeline.py"]
    assert reasons(result) == {"build/": "generated", "dist/": "generated"}


def test_files_are_left_out_by_name_and_size(checkout: Path, way: str) -> None:
    write(checkout, "a.py", "yarn.lock", "logo.png", "x.min.js", "api_pb2.py", "small.csv")
    write(checkout, "big.py", text="x" * 2000)
    write(checkout, "big.csv", text="1,2\n" * 20_000)
    result = listed(checkout, max_file_bytes=1000)
    assert paths(result) == ["a.py", "small.csv"]
    assert reasons(result) == {
        "api_pb2.py": "generated",
        "big.csv": "too-large",
        "big.py": "too-large",
        "logo.png": "binary-extension",
        "x.min.js": "minified",
        "yarn.lock": "lock-file",
    }
    assert reasons(listed(checkout))["big.csv"] == "data"


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "prod.env",
        "server.pem",
        "tls.key",
        "id_rsa",
        "id_ed25519",
        "store.p12",
        ".netrc",
        "credentials.json",
        "client_secret_1.apps.json",
        "my-service-account.json",
        "secrets.yml",
        ".pgpass",
        "terraform.tfstate",
        ".htpasswd",
        ".git-credentials",
        ".envrc",
        "id_rsa.old",
    ],
)
def test_secret_files_are_left_out_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert reasons(listed(tmp_path)) == {name: "secret-file"}


@pytest.mark.parametrize(
    "name", [".env.example", ".env.sample", "example.env", "env.py", "keys.py", "secrets.py", "id_rsa.pub", "key"]
)
def test_templates_and_source_files_are_no_secret_files(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert paths(listed(tmp_path)) == [name]


def test_gardenerignore_and_the_exclude_setting_only_ever_take_away(checkout: Path, way: str) -> None:
    write(checkout, "a.py", "docs/b.md", "docs/keep/c.md", "t/x_test.py", "t/y.py", "gen/z.py", "ignored.log", ".env")
    write(checkout, ".gitignore", text="*.log\n")
    write(checkout, ".gardenerignore", text="docs/*\n!docs/keep/\n!ignored.log\n!.env\n")
    write(checkout, "t/.gardenerignore", text="*_test.py\n")
    result = listed(checkout, exclude=("/gen/",))
    assert [path for path in paths(result) if not path.startswith(".")] == [
        "a.py",
        "docs/keep/c.md",
        "t/.gardenerignore",
        "t/y.py",
    ]
    assert reasons(result) == {
        ".env": "secret-file",
        "docs/b.md": "gardener-ignored",
        "gen/": "excluded",
        "t/x_test.py": "gardener-ignored",
    }


# ---- Hostile trees ----------------------------------------------------------------------------------------


def test_links_pipes_sockets_and_devices_are_reported_and_not_opened(checkout: Path, tmp_path: Path, way: str) -> None:
    write(tmp_path, "outside/secret.py")
    write(checkout, "a.py", "was_file.py")
    commit(checkout)
    (checkout / "was_file.py").unlink()
    os.mkfifo(checkout / "was_file.py")
    (checkout / "out.py").symlink_to(tmp_path / "outside/secret.py")
    (checkout / "dir").symlink_to(tmp_path / "outside")
    (checkout / "cycle").symlink_to(checkout)
    (checkout / "dangling").symlink_to("nowhere")
    result = listed(checkout)
    assert paths(result) == ["a.py"]
    assert reasons(result) == {
        "cycle": "symlink",
        "dangling": "symlink",
        "dir": "symlink",
        "out.py": "symlink",
        "was_file.py": "not-regular",
    }


def test_sockets_and_devices_in_a_plain_folder(tmp_path: Path) -> None:
    root = tmp_path / "p"
    write(root, "a.py")
    previous = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(root)  # the address of a socket is limited to about 100 bytes
        try:
            listener.bind("s.py")
        finally:
            os.chdir(previous)
        expected = {"s.py": "not-regular"}
        if IS_ROOT:
            try:
                os.mknod(root / "d.py", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
                expected["d.py"] = "not-regular"
            except PermissionError:
                pass  # a container without CAP_MKNOD
        result = listed(root)
    assert paths(result) == ["a.py"]
    assert reasons(result) == expected


def test_a_tracked_folder_that_became_a_link_is_not_followed(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside/f.py", "outside/sub/g.py")
    write(checkout, "a.py", "d/f.py", "d/sub/g.py")
    commit(checkout)
    write(checkout, ".git/info/exclude", text="d\n")
    subprocess.run(["rm", "-r", str(checkout / "d")], check=True)
    (checkout / "d").symlink_to(tmp_path / "outside")
    result = listed(checkout)
    assert paths(result) == ["a.py"]
    assert reasons(result) == {"d": "symlink"}


def test_deep_nesting_is_no_problem(tmp_path: Path, way: str) -> None:
    root = tmp_path / "p"
    root.mkdir()
    git(root, "init", "-q")
    deep = root / "/".join("d" * 500)
    deep.mkdir(parents=True)
    (deep / "f.py").write_text("x = 1\n")
    result = listed(root)
    assert paths(result) == ["d/" * 500 + "f.py"]
    assert read_file(str(root), result.files[0], LIMIT) == b"x = 1\n"


def test_strange_names_are_listed_and_undecodable_ones_reported(checkout: Path, way: str) -> None:
    names = ['quote".py', "apostrophe's.py", "new\nline.py", "émoji😀.py", "bidi\u202egnp.py", " space .py", "-x.py"]
    write(checkout, *names)
    Path(os.fsdecode(os.fsencode(checkout) + b"/bad\xff.py")).write_text("x\n")
    folder = Path(os.fsdecode(os.fsencode(checkout) + b"/dir\xfe"))
    folder.mkdir()
    (folder / "in.py").write_text("x\n")
    result = listed(checkout)
    assert paths(result) == sorted(names)
    assert set(reasons(result).values()) == {"unencodable-name"}
    assert len(result.skipped) == 2
    for item in result.skipped:
        item.path.encode()
    for entry in result.files:
        assert read_file(str(checkout), entry, LIMIT) == b"text\n"


def trap(checkout: Path, marker: Path) -> None:
    """Makes a repository whose configuration touches `marker` in every way that listing files can set off."""
    program = marker.parent / "trap.sh"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o700)
    write(checkout, "a/f.py", "c/g.py", "top.py")
    commit(checkout)
    git(checkout, "sparse-checkout", "set", "--cone", "--sparse-index", "a")
    tree = git(checkout, "rev-parse", "HEAD:c").strip()
    (checkout / ".git/objects" / tree[:2] / tree[2:]).unlink()
    hooks = marker.parent / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(program.read_text())
        (hooks / name).chmod(0o700)
    with (checkout / ".git/config").open("a") as config:
        config.write(
            f"""
[core]
 repositoryformatversion = 1
 fsmonitor = {program}
 hooksPath = {hooks}
 pager = {program}
 sshCommand = {program}
 editor = {program}
[extensions]
 partialClone = evil
[remote "evil"]
 url = ext::{program}
 promisor = true
 uploadpack = {program}
[protocol]
 allow = always
[protocol "ext"]
 allow = always
[alias]
 ls-files = !{program}
[filter "x"]
 clean = {program}
 smudge = {program}
 process = {program}
[credential]
 helper = !{program}
"""
        )
    write(checkout, ".gitattributes", text="* filter=x\n")
    write(checkout, "top.py", text="changed\n")


def test_a_booby_trapped_repository_runs_nothing(checkout: Path, tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    trap(checkout, marker)
    result = listed(checkout, explain=True)
    assert not marker.exists()
    assert paths(result) == [".gitattributes", "a/f.py", "top.py"]
    assert result.listed_by == "git"
    # The trap is armed: git without our precautions walks into it.
    subprocess.run(
        ["git", "-C", str(checkout), "ls-files", "--others", "--exclude-standard"], capture_output=True, check=False
    )
    assert marker.exists()


def test_a_repository_cannot_point_its_work_tree_elsewhere(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.py")
    write(checkout, "a.py")
    git(checkout, "config", "core.worktree", str(tmp_path / "outside"))
    assert paths(listed(checkout)) == ["a.py"]


def test_a_folder_that_looks_like_a_bare_repository_runs_nothing(tmp_path: Path) -> None:
    root = tmp_path / "bare"
    root.mkdir()
    git(root, "init", "-q", "--bare")
    marker = tmp_path / "touched"
    with (root / "config").open("a") as config:
        config.write(f'[core]\n bare = false\n worktree = {root}\n fsmonitor = "touch {marker};"\n')
    write(root, "a.py")
    assert "a.py" in paths(listed(root))
    assert not marker.exists()


def test_a_pipe_as_ignore_file_blocks_nothing_for_ever(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_listing, "TIMEOUT_S", 0.5)
    write(checkout, "a.py", "sub/b.py")
    os.mkfifo(checkout / "sub/.gitignore")
    result = listed(checkout)
    assert paths(result) == ["a.py", "sub/b.py"]
    assert result.listed_by == "folder"
    assert "too long" in result.notes[0]


def test_a_damaged_index_falls_back_and_says_so(checkout: Path) -> None:
    write(checkout, "a.py", "x.log")
    write(checkout, ".gitignore", text="*.log\n")
    commit(checkout)
    (checkout / ".git/index").write_bytes(b"garbage" * 100)
    result = listed(checkout)
    assert paths(result) == [".gitignore", "a.py"]
    assert result.listed_by == "folder"
    assert "git could not list the project" in result.notes[0]


@pytest.mark.skipif(not IS_ROOT, reason="needs to give a folder to another user")
def test_a_repository_of_another_user_falls_back_and_says_so(checkout: Path) -> None:
    write(checkout, "a.py", "x.log")
    write(checkout, ".gitignore", text="*.log\n")
    os.chown(checkout, 12345, 12345)
    os.chown(checkout / ".git", 12345, 12345)
    result = listed(checkout)
    assert paths(result) == [".gitignore", "a.py"]
    assert "dubious ownership" in result.notes[0]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions bind root as well while its effective user is another one."""
    if IS_ROOT:
        os.seteuid(65534)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


def test_unreadable_files_and_folders_are_reported(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if IS_ROOT and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    root = tmp_path / "p"
    write(root, "a.py", "closed/b.py", "mute.py")
    root.chmod(0o755)
    (root / "closed").chmod(0)
    (root / "mute.py").chmod(0)
    try:
        with as_nobody():
            result = listed(root)
            assert paths(result) == ["a.py", "mute.py"]
            assert reasons(result) == {"closed/": "unreadable"}
            with pytest.raises(SkippedFile) as caught:
                read_file(str(root), result.files[1], LIMIT)
        assert caught.value.reason == "unreadable"
    finally:
        (root / "closed").chmod(0o755)


def test_an_ignore_file_with_too_many_rules_is_not_applied_and_reported(tmp_path: Path) -> None:
    write(tmp_path, "p/a.py")
    write(tmp_path, "p/.gardenerignore", text="x\n" * 5000)
    result = listed(tmp_path / "p")
    assert reasons(result) == {".gardenerignore": "rules-too-large"}
    assert "a.py" in paths(result)


# ---- Reading ----------------------------------------------------------------------------------------------


def entry_of(root: Path, name: str) -> FileEntry:
    status = (root / name).lstat()
    return FileEntry(name, status.st_size, status.st_mtime_ns)


def skipped_reading(root: Path, entry: FileEntry, limit: int = LIMIT) -> str:
    with pytest.raises(SkippedFile) as caught:
        read_file(str(root), entry, limit)
    return caught.value.reason


def test_reads_many_files_in_any_order_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    names = ["a/b/c/1.py", "a/b/2.py", "3.py", "a/x/4.py", "a/b/c/5.py"]
    for name in names:
        write(tmp_path, name, text=name)
    before = len(os.listdir("/dev/fd"))
    with TreeReader(str(tmp_path)) as reader:
        for name in names * 2:
            assert reader.read(entry_of(tmp_path, name), LIMIT) == name.encode()
        with pytest.raises(SkippedFile):
            reader.read(FileEntry("a/nowhere/x.py", 1, 0), LIMIT)
        assert reader.read(entry_of(tmp_path, names[0]), LIMIT) == names[0].encode()
    assert len(os.listdir("/dev/fd")) == before


def test_a_file_that_vanished_or_became_something_else_is_skipped(tmp_path: Path) -> None:
    root = tmp_path / "p"
    write(tmp_path, "outside/secret.py")
    write(root, "f.py", "d/f.py")
    file, inner = entry_of(root, "f.py"), entry_of(root, "d/f.py")
    (root / "f.py").unlink()
    assert skipped_reading(root, file) == "vanished"
    (root / "f.py").symlink_to(tmp_path / "outside/secret.py")
    assert skipped_reading(root, file) == "symlink"
    (root / "f.py").unlink()
    os.mkfifo(root / "f.py")
    assert skipped_reading(root, file) == "not-regular"
    (root / "f.py").unlink()
    (root / "f.py").mkdir()
    assert skipped_reading(root, file) in ("not-regular", "unreadable")
    (root / "d/f.py").unlink()
    (root / "d").rmdir()
    (root / "d").symlink_to(tmp_path / "outside")
    assert skipped_reading(root, inner._replace(path="d/secret.py")) == "symlink"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "nul\0byte", "a/./b"])
def test_paths_that_are_not_inside_are_refused(tmp_path: Path, path: str) -> None:
    assert skipped_reading(tmp_path, FileEntry(path, 1, 0)) == "outside-root"


def test_a_file_that_grew_past_the_limit_is_skipped_whatever_the_entry_says(tmp_path: Path) -> None:
    write(tmp_path, "f.py", text="x" * 100)
    assert read_file(str(tmp_path), FileEntry("f.py", 3, 0), 100) == b"x" * 100
    assert skipped_reading(tmp_path, FileEntry("f.py", 3, 0), 99) == "too-large"


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "f.log", text="x")
    real_read = os.read
    reads = 0

    def read_while_growing(descriptor: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        with (tmp_path / "f.log").open("a") as writer:
            writer.write("y" * 10)
        return real_read(descriptor, count)

    monkeypatch.setattr(os, "read", read_while_growing)
    assert skipped_reading(tmp_path, entry_of(tmp_path, "f.log")) == "changed"
    assert reads < 20
    assert skipped_reading(tmp_path, entry_of(tmp_path, "f.log"), 5) == "too-large"


def test_walking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gardener.index.walk import walk; walk(sys.argv[1], max_file_bytes=1000);"
        "print([m for m in ('numpy', 'pathspec', 'detect_secrets', 'requests', 'lancedb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_vendored_folders_come_back_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "vendor" / "lib").mkdir(parents=True)
    (tmp_path / "vendor" / "lib" / "a.py").write_text("x = 1\n")
    assert walk(str(tmp_path), max_file_bytes=1000).files == []
    found = walk(str(tmp_path), max_file_bytes=1000, include_vendored=True).files
    assert [entry.path for entry in found] == ["vendor/lib/a.py"]


def test_a_project_that_the_repository_around_it_ignores_is_walked_without_git(checkout: Path) -> None:
    """A library below .venv, or a project in a home folder that is under git: git would list nothing of it."""
    write(checkout, ".gitignore", text="/ignored/\n")
    write(checkout, "ignored/a.py", "kept/b.py")
    result = walk(str(checkout / "ignored"), max_file_bytes=1000)
    assert [entry.path for entry in result.files] == ["a.py"]
    assert result.listed_by == "folder"
    assert result.notes == ()
    assert walk(str(checkout / "kept"), max_file_bytes=1000).listed_by == "git"

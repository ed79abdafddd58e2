"""What the preview promises is what the index does; and the few things that it writes or lists stay where they may."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import Interrupted, PathNotFound, PermissionProblem, UsageError
from gardener.preview import folders_like, keep_patterns, patterns_in, preview

LIMIT = 10_000
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"[:36]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    files: dict[str, bytes] = {
        "src/app.py": b"def main():\n    return 1\n",
        "src/web.ts": b"export const web = 1;\n",
        "docs/guide.md": b"# Guide\n\nHow to.\n",
        "archive/old.py": b"OLD = 1\n",
        "keys.py": f'TOKEN = "{TOKEN}"\n'.encode(),
        "big.py": b"x = 1\n" * LIMIT,
        "picture.png": b"\x89PNG\r\n",
        "blob.py": b"\0\1\2\3" * 100,
        "node_modules/left/index.js": b"module.exports = 1;\n",
        ".env": b"PASSWORD=secret\n",
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_the_preview_is_what_the_index_does(folder: Path, tmp_path: Path) -> None:
    found = preview(str(folder), max_file_bytes=LIMIT)
    reasons = {left.reason: left.entries for left in found.left_out}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(f"config_version = 1\n[index]\nmax_file_bytes = {LIMIT}\n")
    with Gardener(str(tmp_path / "home")) as gardener:
        report = gardener.update_index(gardener.registry.add(str(folder)))
    assert found.files == report.files == 5
    assert found.secrets == report.secrets == 1
    assert [path for path, _ in found.secret_files] == list(report.secret_files) == ["keys.py"]
    assert reasons == report.skipped
    assert {"too-large", "binary-extension", "vendored", "secret-file", "binary"} <= set(reasons)


def test_languages_are_counted_and_the_largest_is_first(folder: Path) -> None:
    found = preview(str(folder), max_file_bytes=LIMIT)
    assert {share.language: share.files for share in found.languages} == {"python": 3, "typescript": 1, "markdown": 1}
    assert found.languages[0].language == "python"
    assert sum(share.bytes for share in found.languages) == found.bytes


def test_patterns_leave_out_before_and_after_they_are_kept(folder: Path) -> None:
    patterns = patterns_in("# mine\narchive/\n\n*.ts\n")
    assert patterns == ("archive/", "*.ts")
    tried = preview(str(folder), max_file_bytes=LIMIT, exclude=patterns)
    keep_patterns(str(folder), patterns)
    kept = preview(str(folder), max_file_bytes=LIMIT)
    assert tried.files == 3
    assert kept.files == 4  # the file of rules is a file of the project, too
    keep_patterns(str(folder), (*patterns, "docs/"))
    assert (folder / ".gardenerignore").read_text() == "archive/\n*.ts\ndocs/\n"


def test_own_rules_without_a_last_line_break_stay_whole(folder: Path) -> None:
    (folder / ".gardenerignore").write_text("archive/")
    keep_patterns(str(folder), ("*.ts",))
    assert (folder / ".gardenerignore").read_text() == "archive/\n*.ts\n"


def test_a_linked_rules_file_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    (folder / ".gardenerignore").symlink_to(victim)
    with pytest.raises(PermissionProblem, match="could not be written"):
        keep_patterns(str(folder), ("archive/",))
    assert victim.read_text() == "mine\n"


def test_too_many_patterns_and_no_folder_are_refused() -> None:
    with pytest.raises(UsageError, match="At most"):
        patterns_in("a\n" * 1000)
    with pytest.raises(PathNotFound):
        preview("/nowhere/at/all", max_file_bytes=LIMIT)


def test_it_says_how_far_it_is_and_stops(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    preview(str(folder), max_file_bytes=LIMIT, progress=lambda done, total: steps.append((done, total)))
    assert steps[0][0] == 0 and steps[-1][0] == steps[-1][1] > 0
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        preview(str(folder), max_file_bytes=LIMIT, cancel=stop)


def test_completion_lists_folders_below_home_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "me"
    for name in ("code/shop", "code/Ship", "code/.hidden", "notes"):
        (home / name).mkdir(parents=True)
    (home / "code" / "file").write_text("")
    (home / "code" / "away").symlink_to("/etc")
    monkeypatch.setenv("HOME", str(home))
    assert [os.path.basename(path) for path in folders_like("~/")] == ["code", "notes"]
    assert [os.path.basename(path) for path in folders_like("~/code/sh")] == ["Ship", "shop"]
    assert [os.path.basename(path) for path in folders_like("code/")] == ["Ship", "shop"]
    assert [os.path.basename(path) for path in folders_like("~/code/.h")] == [".hidden"]
    for outside in ("/", "/etc/", "~/../", "~/code/away/", "~nobody/", str(tmp_path) + "/"):
        assert folders_like(outside) == [], outside


def test_names_that_nobody_can_type_do_not_spoil_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "good one").mkdir()
    for name in (b"two\nlines", "turned\u202efdp".encode(), b"escape\x1b[2J"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    with suppress(OSError):  # APFS takes no such name
        os.mkdir(os.path.join(os.fsencode(tmp_path), b"no\xffutf8"))
    found = folders_like("~/")
    assert [os.path.basename(path) for path in found] == ["good one"]
    json.dumps(found, ensure_ascii=False).encode()


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        preview("/tmp/a\0b", max_file_bytes=1_000)

"""Creating, verifying and restoring a home, and what kills, flipped bits and a full disk do to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup.capture import capture_index, copy_database
from gardener.backup.verify import ask_index, check_hashes, check_present, stage
from gardener.backup_service import BackupService
from gardener.errors import BackupDamaged, BackupNotFound, LockedError, SchemaTooNew
from gardener.index.manifest import Manifest as IndexManifest
from gardener.index.search import SearchRequest
from gardener.locks import ProcessLock

KILLER = """
import logging, os, signal, sys
from gardener.app import Gardener
from gardener.backup_service import BackupService

class Killer(logging.Handler):
    def __init__(self, at):
        super().__init__(logging.DEBUG)
        self.at = at
        self.seen = 0
    def emit(self, record):
        self.seen += 1
        print(record.getMessage(), flush=True)
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    log = logging.getLogger("gardener.backup")
    log.setLevel(logging.DEBUG)
    log.addHandler(Killer(int(sys.argv[2])))
    with Gardener() as gardener:
        if sys.argv[1] == "finish":
            gardener.state
        else:
            getattr(BackupService(gardener), sys.argv[1])(*sys.argv[3:])
"""


def killed_at(tmp_path: Path, action: str, stage: int, *arguments: str) -> list[str] | None:
    """Runs a method of BackupService and kills it at its n-th named point; None when there is no such point."""
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    done = subprocess.run(
        [sys.executable, str(script), action, str(stage), *arguments], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 0:
        return None
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.splitlines()


def titles(gardener: Gardener) -> list[str]:
    context = gardener.registry.get("amber")
    return sorted(entry.title for entry in gardener.history.list(context.id))


def change(home: Path) -> None:
    """What happens to the home after its backup."""
    with Gardener(str(home)) as gardener:
        context = gardener.registry.get("amber")
        gardener.history.start(context.id, "a later conversation")
    (home / "config.toml").write_text("config_version = 1\n\n[search]\nlimit = 9\n")


def state_of(home: Path) -> tuple[int, int]:
    """(conversations, search.limit): (1, 7) as of the backup, (2, 9) after `change`."""
    with Gardener(str(home)) as gardener:
        return len(titles(gardener)), gardener.settings.integer("search.limit")


def test_what_comes_back_is_what_was_saved(full_home: Path) -> None:
    with Gardener() as gardener:
        context = gardener.registry.get("amber")
        before = (
            [tuple(row) for row in gardener.state.read().execute("SELECT * FROM projects")],
            [tuple(row) for row in gardener.state.read().execute("SELECT * FROM messages")],
            gardener.search(context, SearchRequest("load order")).hits,
        )
        made = BackupService(gardener).create()
        assert not check_hashes(made.path, made.manifest)
    shutil.rmtree(full_home / "projects")
    os.unlink(full_home / "state.db")
    os.unlink(full_home / "config.toml")
    with Gardener() as gardener:
        done = BackupService(gardener).restore()
        assert done.trial.chunks > 0 and all(probe.hits for probe in done.trial.probes)
        context = gardener.registry.get("amber")
        after = (
            [tuple(row) for row in gardener.state.read().execute("SELECT * FROM projects")],
            [tuple(row) for row in gardener.state.read().execute("SELECT * FROM messages")],
            gardener.search(context, SearchRequest("load order")).hits,
        )
        assert after == before
        assert not gardener.update_index(context).changed
    assert state_of(full_home) == (1, 7)
    modes = {path.stat().st_mode & 0o777 for path in full_home.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in full_home.rglob("*") if path.is_dir()} == {0o700}


def test_what_is_no_file_is_left_out_and_not_waited_for(full_home: Path) -> None:
    with Gardener() as gardener:
        project = Path(gardener.registry.get("amber").home)
        os.mkfifo(project / "adapters.fifo")
        os.symlink("/etc/passwd", project / "passwd")
        made = BackupService(gardener).create()
        copied = {path.name for path in Path(made.path).rglob("*")}
    assert "state.db" in copied and not copied & {"adapters.fifo", "passwd"}


def test_an_unchanged_file_takes_no_room_twice_and_a_damaged_one_is_not_handed_on(full_home: Path) -> None:
    with Gardener() as gardener:
        first, second = BackupService(gardener).create(), BackupService(gardener).create()
        assert second.written < first.written / 10
        assert second.manifest.sequence == first.manifest.sequence + 1
        victim = max(first.manifest.files, key=lambda file: file.size)
        flip(Path(first.path) / victim.path)
        third = BackupService(gardener).create()
        assert not check_hashes(third.path, third.manifest)
        assert check_hashes(second.path, second.manifest)


def flip(path: Path, at: float = 0.5) -> None:
    """Turns one bit of a file over."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def test_create_survives_a_kill_at_every_point(full_home: Path, tmp_path: Path) -> None:
    stages = 0
    while (said := killed_at(tmp_path, "create", stages + 1)) is not None:
        stages += 1
        with Gardener() as gardener:
            for entry in BackupService(gardener).store.entries():
                assert entry.manifest and not check_hashes(entry.path, entry.manifest), said
            assert titles(gardener) == ["Where are orders loaded?"]
    assert stages >= 5
    names = os.listdir(full_home / "backups")
    assert not [name for name in names if name.startswith(".making-")]


@pytest.mark.parametrize("action", ["restore", "undo"])
def test_restore_survives_a_kill_at_every_point(full_home: Path, tmp_path: Path, action: str) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
    change(full_home)
    old, new = (2, 9), (1, 7)
    if action == "undo":
        with Gardener() as gardener:
            BackupService(gardener).restore()
        old, new = new, old
    point = 0
    while True:  # before the commit each kill leaves what was
        point += 1
        said = killed_at(tmp_path, action, point)
        assert said
        if "committed" in said[-1]:
            break
        assert state_of(full_home) == old, said
    assert point == (3 if action == "restore" else 1)
    kept = tmp_path / "kept"
    shutil.copytree(full_home, kept)
    assert state_of(full_home) == new
    shutil.rmtree(full_home)
    shutil.copytree(kept, full_home)
    renames = 0  # after it whoever comes next goes on, and may be killed in turn
    while os.path.exists(full_home / "restoring.json"):
        said = killed_at(tmp_path, "finish", renames + 1)
        assert said is None or len(said) == renames + 1
        if said is None or "done" in said[-1]:
            break
        middle = tmp_path / f"middle-{renames}"
        shutil.copytree(full_home, middle)
        assert state_of(full_home) == new, said
        shutil.rmtree(full_home)
        shutil.move(middle, full_home)
        renames += 1
    assert renames >= 5
    assert state_of(full_home) == new
    with Gardener() as gardener:
        assert ask_index(str(Path(gardener.registry.get("amber").home) / "index"), "amber")[0]


def test_restoring_a_project_survives_a_kill_while_its_folder_is_exchanged(full_home: Path, tmp_path: Path) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
        home = Path(gardener.registry.get("amber").home)
    (home / "evaluations.jsonl").write_text("later\n")
    stage = 6  # after the five points of the backup of what is replaced
    for point in ("committed", "moved"):
        said = killed_at(tmp_path, "restore_project", stage, "amber")
        assert said and point in said[-1]
        with Gardener() as gardener:
            assert titles(gardener) == ["Where are orders loaded?"]
            assert ask_index(str(home / "index"), "amber")[0]
            saved = BackupService(gardener).store.entries()[0].manifest
            assert saved and "evaluations.jsonl" in " ".join(file.path for file in saved.files)
        assert not (home / "evaluations.jsonl").exists()
        assert not list(full_home.glob("restoring*"))
        (home / "evaluations.jsonl").write_text("later\n")
        stage += 1


def test_an_undone_restore_is_the_state_from_before(full_home: Path) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
        change(full_home)
        BackupService(gardener).restore()
    assert state_of(full_home) == (1, 7)
    with Gardener() as gardener:
        BackupService(gardener).undo()
    assert state_of(full_home) == (2, 9)
    with Gardener() as gardener:
        app = ProcessLock(os.path.join(gardener.paths.run, "app.lock"), "gardener serve")
        with app:  # one looks at what was restored in the running app, and then says that all is well
            assert len(BackupService(gardener).confirm()) == 1
        with pytest.raises(BackupNotFound):
            BackupService(gardener).undo()


def test_one_flipped_bit_in_any_file_is_found_named_and_not_restored(full_home: Path) -> None:
    with Gardener() as gardener:
        good = BackupService(gardener).create()
        (full_home / "config.toml").write_text("config_version = 1\n\n[search]\nlimit = 8\n")
        bad = BackupService(gardener).create()
        for file in bad.manifest.files:  # a file of its own, so that the other backup stays whole
            path = Path(bad.path) / file.path
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
        for file in bad.manifest.files:
            path = Path(bad.path) / file.path
            for at in (0.0, 0.5, 0.999):
                flip(path, at)
                problems = check_hashes(bad.path, bad.manifest)
                assert [problem.partition(": ")[0] for problem in problems] == [file.path]
                flip(path, at)
        name = bad.manifest.files[3].path
        flip(Path(bad.path) / name)
        with pytest.raises(BackupDamaged) as raised:
            BackupService(gardener).restore(bad.manifest.id)
        assert name in raised.value.message and good.manifest.id in raised.value.message
        assert not BackupService(gardener).store.find(bad.manifest.id).good
        assert BackupService(gardener).store.find().id == good.manifest.id
    assert not list(full_home.glob("before-restore-*")) and not list(full_home.glob("restoring-*"))


@pytest.mark.parametrize("damage", ["bit", "truncated", "gone", "empty", "list", "path", "twice", "newer"])
def test_a_manifest_that_is_not_one_is_refused(full_home: Path, damage: str) -> None:
    with Gardener() as gardener:
        made = BackupService(gardener).create()
        path = Path(made.path) / "manifest.json"
        data = path.read_bytes()
        if damage == "bit":
            flip(path, 0.3)
        elif damage == "truncated":
            path.write_bytes(data[:-20])
        elif damage == "gone":
            path.unlink()
        elif damage in ("empty", "list"):
            path.write_bytes(b"" if damage == "empty" else b"[1]")
        else:
            found = made.manifest
            first = found.files[0]
            if damage == "path":
                found = found._replace(files=(first._replace(path="home/../../evil"), *found.files))
            elif damage == "twice":
                found = found._replace(files=(first, *found.files))
            else:
                found = found._replace(state_schema=found.state_schema + 1)
            path.write_bytes(found.encode())
        entry = BackupService(gardener).store.entries()[0]
        assert (entry.manifest is None) == (damage != "newer")
        with pytest.raises(SchemaTooNew if damage == "newer" else BackupDamaged):
            BackupService(gardener).restore(made.manifest.id)
        assert titles(gardener) == ["Where are orders loaded?"]


def test_missing_truncated_linked_and_added_files_are_told_apart(full_home: Path) -> None:
    with Gardener() as gardener:
        made = BackupService(gardener).create()
    folder = Path(made.path)
    names = [file.path for file in made.manifest.files]
    (folder / names[0]).unlink()
    os.truncate(folder / names[1], 1)
    (folder / names[2]).unlink()
    (folder / names[2]).symlink_to("/etc/passwd")
    (folder / "home" / "more").write_text("more")
    problems = check_present(made.path, made.manifest)
    assert {problem.partition(": ")[0] for problem in problems} == {*names[:3], "home/more"}


def test_a_damaged_index_is_left_out_and_said(full_home: Path) -> None:
    table = max((full_home / "projects").rglob("data/*.lance"), key=lambda path: path.stat().st_size)
    flip(table)
    with Gardener() as gardener:
        made = BackupService(gardener).create()
        assert "damaged" in made.manifest.projects[0].index_problem
        assert not [file for file in made.manifest.files if "/index/" in file.path]
        assert not BackupService(gardener).verify(made.manifest.id, "restore")[1]


def test_restore_refuses_while_the_app_or_a_writer_is_at_work(full_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gardener.backup.restore.WRITER_WAIT_S", 0)
    with Gardener() as gardener:
        made = BackupService(gardener).create()
        context = gardener.registry.get("amber")
        for path, word in ((full_home / "run" / "app.lock", "stop"), (Path(context.home) / "lock", "status")):
            with ProcessLock(str(path), "gardener test"), pytest.raises(LockedError) as raised:
                BackupService(gardener).restore(made.manifest.id)
            assert word in raised.value.next_step
        assert BackupService(gardener).restore(made.manifest.id)


def test_a_full_disk_leaves_no_half_backup(full_home: Path) -> None:
    """RLIMIT_FSIZE refuses what is larger than a limit the way a full disk refuses everything."""
    with Gardener() as gardener:
        BackupService(gardener).create()
    script = (
        "import resource, signal, sys\n"
        "from gardener.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.argv = ['gardener', 'backup', *sys.argv[1:]]\n"
        "main()\n"
    )
    shutil.rmtree(full_home / "backups")
    # Coverage would write its own file within that limit.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", script, "create"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert not [name for name in os.listdir(full_home / "backups") if name not in ("lock", "sequence")]
    with Gardener() as gardener:
        assert titles(gardener) == ["Where are orders loaded?"]
        BackupService(gardener).create()
    done = subprocess.run(
        [sys.executable, "-c", script, "restore", "--yes"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert state_of(full_home) == (1, 7)
    assert not list(full_home.glob("restoring*"))


def test_a_backup_made_while_an_index_is_written_is_whole(full_home: Path, made_home: Path, tmp_path: Path) -> None:
    """Another process rewrites files of the project and indexes them without a pause."""
    root = tmp_path / "busy"
    shutil.copytree(made_home.parent / "amber", root)
    with Gardener() as gardener:
        context = gardener.registry.add(str(root), "busy")
        gardener.update_index(context)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin and writer.stdout
    try:
        assert writer.stdout.readline() == "1\n"
        with Gardener() as gardener:
            for _ in range(2):
                made = BackupService(gardener).create()
                assert not made.manifest.projects[0].index_problem and not made.manifest.projects[1].index_problem
                _, problems, tried = BackupService(gardener).verify(made.manifest.id, "restore")
                assert not problems and tried and tried.chunks
    finally:
        writer.stdin.close()
        writer.wait(240)
        writer.stdout.close()
    assert writer.returncode == 0


def test_what_is_committed_while_an_index_is_captured_makes_it_begin_again(
    full_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gardener() as gardener:
        directory = os.path.join(gardener.registry.get("amber").home, "index")
    taken = []

    def copy_and_commit(source: str, target: str) -> None:
        copy_database(source, target)
        taken.append(os.path.basename(source))
        if taken == ["hashes.db", "manifest.db"]:
            with closing(IndexManifest(directory)) as live:
                live.commit(facts={"meanwhile": "1"})

    monkeypatch.setattr("gardener.backup.capture.copy_database", copy_and_commit)
    capture_index(directory, str(tmp_path / "captured"))
    assert taken == ["hashes.db", "manifest.db", "symbols.db"] * 2
    with closing(IndexManifest(str(tmp_path / "captured"))) as captured:
        assert captured.facts()["meanwhile"] == "1"


def test_what_is_staged_is_hashed_on_the_way(full_home: Path, tmp_path: Path) -> None:
    """A file that rots between the check and the copy."""
    with Gardener() as gardener:
        made = BackupService(gardener).create()
    flip(Path(made.path) / made.manifest.files[0].path)
    with pytest.raises(BackupDamaged, match=made.manifest.files[0].path):
        stage(made.path, made.manifest, str(tmp_path / "staged"))


WRITER = """
import os, select, sys
from pathlib import Path
from gardener.app import Gardener
from gardener.backup_service import BackupService

if __name__ == "__main__":
    with Gardener() as gardener:
        context = gardener.registry.get("busy")
        rounds = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            rounds += 1
            for path in Path(context.root).glob("*.py"):
                path.write_text(path.read_text() + f"\\n\\ndef round_{rounds}():\\n    return {rounds}\\n")
            gardener.update_index(context, lock_timeout_s=120)
            if rounds == 1:
                print(rounds, flush=True)
"""


def test_the_command_line_says_what_architecture_promises(full_home: Path) -> None:
    command = [sys.executable, "-m", "gardener.cli.main", "backup"]
    done = subprocess.run([*command, "create", "--json"], capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    assert {"id", "path", "sequence", "bytes", "files"} <= made.keys()
    listed = json.loads((Path(made["path"]) / "manifest.json").read_text())["files"]
    assert len(listed) == made["files"] and sum(file["size"] for file in listed) == made["bytes"]
    assert all((Path(made["path"]) / file["path"]).stat().st_size == file["size"] for file in listed)
    refused = subprocess.run([*command, "restore"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert refused.returncode == 2 and "--yes" in refused.stderr

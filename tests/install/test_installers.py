"""The installers: shellcheck, and bats with stand-ins for the system's commands (installers.bats, stand_ins/)."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from gardener.paths import Paths
from gardener.service.description import descriptions, lasting_python

TOP = Path(__file__).parents[2]
HERE = Path(__file__).parent


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not here (scripts/test_tools.sh)")
    return found


def test_shellcheck_finds_nothing() -> None:
    scripts = [*TOP.glob("scripts/*.sh"), *TOP.glob("scripts/installer/*.sh"), HERE / "installers.bats"]
    scripts += [path for path in (HERE / "stand_ins").iterdir() if path.is_file() and path.suffix != ".py"]
    done = subprocess.run([need("shellcheck"), "-x", *map(str, scripts)], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(600)  # many small processes: a busy machine takes its time
def test_installers_with_stand_ins_for_the_system(exported_models: Path) -> None:
    """Each test of installers.bats; those of macOS run here too, on what that system has and no more."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    environment = os.environ | {
        "REAL_PYTHON": str(base),
        "REAL_PYTHON_VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
        "REAL_PACKAGES": f"{TOP}:{sysconfig.get_paths()['purelib']}",
        "EXPORTED_MODELS": str(exported_models),
    }
    environment.pop("GARDENER_HOME")
    command = [need("bats"), "--tap", str(HERE / "installers.bats")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"1..{(HERE / 'installers.bats').read_text().count('@test')}" in done.stdout


def test_versions_of_python_are_those_of_the_package() -> None:
    wanted = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["requires-python"]
    script = (TOP / "scripts/installer/python.sh").read_text()
    least, below = re.findall(r"\((3), (\d+)\)", script)
    assert wanted == f">={'.'.join(least)},<{'.'.join(below)}"
    names = [f"python3.{minor}" for minor in range(int(least[1]), int(below[1]))]
    assert f'PYTHON_NAMES="{" ".join(names)} python3"' in script


def test_a_service_names_the_version_in_force(tmp_path: Path) -> None:
    python = tmp_path / "versions" / "1.2.3" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert lasting_python(str(python)) == str(python)  # another program's folder of that name
    (tmp_path / "current").symlink_to("versions/1.2.3")
    wanted = str(tmp_path / "current" / "bin" / "python")
    assert lasting_python(str(python)) == wanted
    assert lasting_python(wanted) == wanted
    for service in descriptions(Paths(str(tmp_path / "home")), str(python)):
        assert service.arguments[0] == wanted


def test_the_formula_of_a_release(tmp_path: Path) -> None:
    """Its hash is the archive's; its service runs what `gardener service install` runs. Homebrew itself is not here."""
    archive = tmp_path / "gardener-1.2.3.tar.gz"
    archive.write_bytes(b"a source archive")
    given = ["https://gardener.invalid/", "https://gardener.invalid/get?v=1.2.3&kind=tar", str(archive)]
    formula = subprocess.run([TOP / "scripts/formula.sh", *given], capture_output=True, text=True, check=True).stdout
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in formula
    assert f'url "{given[1]}"' in formula and f'homepage "{given[0]}"' in formula
    assert "@HOMEPAGE@" not in formula and "@URL@" not in formula and "@SHA256@" not in formula
    for words in ([], given[:2], [*given[:2], str(tmp_path / "none")]):
        assert subprocess.run([TOP / "scripts/formula.sh", *words], capture_output=True).returncode in (2, 4)
    app = next(one for one in descriptions(Paths(str(tmp_path / "home"))) if one.name == "app")
    service = formula.split("service do", 1)[1].split("  end\n", 1)[0]
    run = re.findall(r'"([^"]*)"', service.split("run ", 1)[1].splitlines()[0])
    assert ["bin/python", *app.arguments[1 : app.arguments.index("--home")]] == run
    if ruby := shutil.which("ruby"):
        (tmp_path / "gardener.rb").write_text(formula)
        assert subprocess.run([ruby, "-wc", tmp_path / "gardener.rb"], capture_output=True).returncode == 0


def test_uninstalling_knows_every_name_in_the_data_folder() -> None:
    """It deletes by name, so that what somebody else keeps there stays."""
    from gardener.backup import swap
    from gardener.paths import Paths
    from gardener.repair.plan import FOLDER

    paths = Paths("/home")
    names = {getattr(paths, name) for name in dir(Paths) if isinstance(getattr(Paths, name), property)}
    wanted = {os.path.relpath(name, paths.home) for name in names}
    wanted |= {FOLDER, swap.STAGED.rstrip("-"), swap.OLD.rstrip("-")}
    text = (TOP / "scripts" / "installer" / "uninstall.sh").read_text()
    (line,) = [line for line in text.splitlines() if "for name in config.toml" in line]
    assert wanted <= set(line.replace(";", " ").split())

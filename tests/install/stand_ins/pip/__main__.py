"""A stand-in for pip that needs no network: `wheel` packs the checkout, `install` unpacks a wheel.

With STANDIN_REAL set, the environment gets the packages of the tests' own and the real `gardener`; otherwise a program
of a few lines that writes down how it was called. STANDIN_PIP: `unreachable` fails as without a network and leaves half
of the files, `interrupted` ends by Ctrl-C in the middle. STANDIN_VERSION and STANDIN_CONTENT make another wheel.
"""

import hashlib
import os
import signal
import sys
import sysconfig
import zipfile
from pathlib import Path

STAND_INS = Path(os.environ["STAND_INS"])


def wheel(target: Path, source: Path) -> None:
    version = os.environ.get("STANDIN_VERSION", "0.1.0")
    if source.suffix == ".whl":
        (target / source.name).write_bytes(source.read_bytes())
        return
    if not (source / "pyproject.toml").exists():
        sys.exit(f"ERROR: Directory {str(source)!r} is not installable.")
    with zipfile.ZipFile(target / f"gardener-{version}-py3-none-any.whl", "w") as archive:
        content = f"{version} {os.environ.get('STANDIN_CONTENT', '')}"
        archive.writestr(zipfile.ZipInfo("gardener/content.txt"), content)
        record = f"gardener/content.txt,sha256={hashlib.sha256(content.encode()).hexdigest()},9\n"
        archive.writestr(zipfile.ZipInfo(f"gardener-{version}.dist-info/RECORD"), record)
        archive.writestr(zipfile.ZipInfo("gardener/constraints.txt"), "torch==2.13.0\n")


def install(constraints: Path, wheel: Path) -> None:
    assert constraints.read_text(), "no pins"
    how = os.environ.get("STANDIN_PIP", "")
    site = Path(sysconfig.get_paths()["purelib"])
    (site / "half").touch()
    if how == "unreachable":
        sys.exit("WARNING: Retrying after connection broken\nERROR: No matching distribution found for torch==2.13.0")
    if how == "interrupted":
        os.kill(os.getppid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("RECORD")]
        archive.extract(record, site)
    command = Path(sys.prefix, "bin", "gardener")
    if os.environ.get("STANDIN_REAL"):
        (site / "real.pth").write_text(os.environ["STANDIN_REAL"].replace(":", "\n") + "\n")
        # As pip writes it where the path has a space: a shell starts the Python.
        start = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
        text = start + "import sys\nfrom gardener.cli.main import main\nsys.exit(main())\n"
    else:
        version = wheel.name.split("-")[1]
        text = f'#!/bin/sh\nVERSION={version}\n. "{STAND_INS}/gardener.sh"\n'
    command.write_text(text)
    command.chmod(0o700)


if __name__ == "__main__":
    ignored = ("--disable-pip-version-check", "--no-input", "--no-deps", "--quiet")
    words = [word for word in sys.argv[1:] if word not in ignored]
    if words[0] == "wheel":
        assert words[1] == "--wheel-dir"
        wheel(Path(words[2]), Path(words[3]))
    elif words[1] == "uv":
        uv = Path(sys.prefix, "bin", "uv")
        uv.symlink_to(STAND_INS / "uv")
    else:
        assert words[1] == "-c"
        install(Path(words[2]), Path(words[3]))

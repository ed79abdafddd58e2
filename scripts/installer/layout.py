"""What the installers do with files that a shell cannot do safely: replace a link atomically, keep the record.

Runs on any Python 3.8 or newer, before Gardener is installed: the standard library only.

    layout.py pins WHEEL OTHERWISE TARGET             writes the pins that the wheel carries (without any, the file
                                                      OTHERWISE) to TARGET; prints a SHA-256 over wheel and pins
    layout.py same WHEEL ENVIRONMENT                  exit code 0 when the environment has every file of the wheel
    layout.py link TARGET LINK                        LINK leads to TARGET, replaced atomically
    layout.py has-models | recommended | pulled       read what `gardener models ... --json` says on standard input
    layout.py ready PROGRAM NAME                      exit code 0 when installation.json says that NAME is ready
    layout.py record PROGRAM NAME KIND VALUE          writes there that NAME is ready, from a folder, wheel or index
"""

import glob
import hashlib
import json
import os
import sys
import time
import zipfile

SCHEMA = 1


def pins(wheel, otherwise, target):
    with zipfile.ZipFile(wheel) as archive:
        try:
            pinned = archive.read("gardener/constraints.txt")
        except KeyError:
            with open(otherwise, "rb") as file:
                pinned = file.read()
    with open(target, "wb") as file:
        file.write(pinned)
    with open(wheel, "rb") as file:
        print(hashlib.sha256(hashlib.sha256(file.read()).digest() + pinned).hexdigest())


def same(wheel, environment):
    """Exit code 0 when every file of the wheel was installed there (RECORD of the binary distribution format)."""

    def hashed(lines):
        return {tuple(line.rsplit(",", 2)[:2]) for line in lines.splitlines() if ",sha256=" in line}

    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/RECORD")]
        wanted = hashed(archive.read(name).decode())
    for path in glob.glob(os.path.join(glob.escape(environment), "lib", "python3.*", "site-packages", name)):
        with open(path, encoding="utf-8") as file:
            raise SystemExit(not wanted <= hashed(file.read()))
    raise SystemExit(1)


def link(target, name):
    temporary = f"{name}.{os.getpid()}.new"
    os.symlink(target, temporary)
    try:
        os.replace(temporary, name)
    except OSError:
        os.unlink(temporary)
        raise


def read(program):
    """What installation.json says, in the form that gardener/upgrade/program.py keeps; {} without one."""
    path = os.path.join(program, "installation.json")
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        schema = int(known["schema"])
        if schema <= SCHEMA and all(one["version"] for one in known["versions"]):
            return known
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        os.replace(path, path + ".damaged")  # versions/ and current are what counts; they are still there
        return {}
    raise SystemExit(f"{path} was written by a newer version (schema {schema}).")


def ready(program, name):
    """Exit code 0 when a version was once whole, whoever made it."""
    known = read(program).get("versions", [])
    raise SystemExit(not any(one["version"] == name and one.get("state") == "ready" for one in known))


def record(program, name, kind, value):
    """The pointer `current` says which version runs; this says where versions came from and which was before."""
    path = os.path.join(program, "installation.json")
    known = read(program)
    try:
        current = os.path.basename(os.readlink(os.path.join(program, "current")))
    except OSError:
        current = name
    others = [one for one in known.get("versions", []) if one["version"] != name]
    document = {
        **known,
        "schema": SCHEMA,
        "source": {"kind": kind, "value": value},
        "previous": current if current != name else known.get("previous", ""),
        "versions": [*others, {"version": name, "installed_at": time.time(), "state": "ready"}],
    }
    temporary = f"{path}.{os.getpid()}.new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def has_models():
    """Exit code 0 when a language model is on this machine already."""
    raise SystemExit(not json.load(sys.stdin)["models"])


def recommended():
    """Prints the name of the largest model that fits with room to spare, and the size of its download."""
    listed = json.load(sys.stdin)
    for model in listed["models"]:
        if model["id"] == listed["recommended"]:
            about = "about " if model["download_estimated"] else ""
            print(model["id"], f"{about}{model['download_bytes'] / 1e9:.1f} GB")


def pulled():
    """Prints the name under which a model that was just downloaded is used."""
    print(json.load(sys.stdin)["name"])


COMMANDS = {
    "pins": pins,
    "same": same,
    "link": link,
    "ready": ready,
    "record": record,
    "has-models": has_models,
    "recommended": recommended,
    "pulled": pulled,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])

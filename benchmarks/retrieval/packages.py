"""The packages that are searched: released sources from the package indexes that pip and npm are configured for.

An sdist is fetched without pip, which would run the package's own build code for its metadata. The index is asked by
its simple API (PEP 503, PEP 691) where pip's configuration says that it is, and what comes is held against the hash
that the index names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin

from benchmarks.measure import WORK

CORPUS = WORK / "corpus"
_JSON = "application/vnd.pypi.simple.v1+json"


class Package(NamedTuple):
    """A release. `source` is "pypi" or "npm"; `folder` the part of it that holds the code as people wrote it."""

    name: str
    version: str
    source: str
    folder: str = ""

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


PACKAGES = (
    Package("commander", "14.0.0", "npm"),
    Package("ws", "8.18.0", "npm", "lib"),
    Package("rxjs", "7.8.1", "npm", "src"),
    Package("@reduxjs/toolkit", "2.8.2", "npm", "src"),
    Package("rich", "14.0.0", "pypi"),
    Package("werkzeug", "3.1.3", "pypi"),
    Package("jinja2", "3.1.6", "pypi"),
    Package("tokenizers", "0.21.1", "pypi"),
    Package("zstandard", "0.23.0", "pypi"),
    Package("pybind11", "2.13.6", "pypi"),
    Package("jpype1", "1.5.2", "pypi"),
    Package("pydantic-core", "2.33.2", "pypi"),
)


def fetch(package: Package) -> Path:
    """The unpacked sources; downloaded once. Raises RuntimeError that says what could not be had."""
    name = f"{package.name.replace('/', '-').removeprefix('@')}-{package.version}"
    folder = CORPUS / f"{package.source}-{name}"
    if not folder.is_dir():
        CORPUS.mkdir(parents=True, exist_ok=True)
        archive = _from_npm(package) if package.source == "npm" else _from_pypi(package)
        unpacking = folder.with_name(folder.name + ".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        with tarfile.open(archive) as opened:
            opened.extractall(unpacking, filter="data")
        (unpacking / next(iter(sorted(os.listdir(unpacking))))).rename(folder)
        shutil.rmtree(unpacking)
        archive.unlink()
    return folder / package.folder


def _from_npm(package: Package) -> Path:
    done = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(CORPUS),
         f"{package.name}@{package.version}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"npm could not bring {package.title}: {done.stderr.strip()[-300:]}")
    return CORPUS / done.stdout.strip().split("\n")[-1]


def _from_pypi(package: Package) -> Path:
    import httpx

    certificates = _pip_setting("cert")
    context = ssl.create_default_context(cafile=certificates or None)
    page = f"{_index_url().rstrip('/')}/{package.name}/"
    with httpx.Client(verify=context, timeout=120, follow_redirects=True) as client:
        try:
            answer = client.get(page, headers={"Accept": f"{_JSON}, text/html;q=0.5"})
            answer.raise_for_status()
            address, sha256 = _sdist_link(answer, package)
            archive = client.get(address)
            archive.raise_for_status()
        except httpx.HTTPError as error:
            raise RuntimeError(f"the package index could not bring {package.title}: {type(error).__name__}") from error
    if sha256 and hashlib.sha256(archive.content).hexdigest() != sha256:
        raise RuntimeError(f"{package.title} is not what the package index says it is")
    target = CORPUS / f"{package.source}-{package.name}-{package.version}.tar.gz"
    target.write_bytes(archive.content)
    return target


def _sdist_link(answer: object, package: Package) -> tuple[str, str]:
    """Address and SHA-256 ("" when the index names none) of the release's sdist."""
    import httpx

    assert isinstance(answer, httpx.Response)
    if _JSON in answer.headers.get("content-type", ""):
        links = [(file["url"], file["hashes"].get("sha256", "")) for file in answer.json()["files"]]
    else:
        parser = _Links()
        parser.feed(answer.text)
        links = [(address, fragment.removeprefix("sha256=")) for address, fragment in parser.found]
    ending = f"-{package.version}.tar.gz"
    for address, sha256 in links:
        if address.rsplit("/", 1)[-1].endswith(ending):
            return urljoin(str(answer.url), address), sha256
    raise RuntimeError(f"the package index has no sdist of {package.title}")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.found.append(tuple(urldefrag(address)))  # type: ignore[arg-type]


def _pip_setting(name: str) -> str:
    """What pip would use for an option: its environment, else its files; "" when neither says anything."""
    value = os.environ.get("PIP_" + name.upper().replace("-", "_"), "")
    for key in () if value else (f"download.{name}", f"global.{name}"):
        asked = [sys.executable, "-m", "pip", "config", "get", key]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return value


def _index_url() -> str:
    """The configured package index, else the one that pip itself would take."""
    configured = _pip_setting("index-url")
    if configured:
        return configured
    ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()

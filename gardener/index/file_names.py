"""What a name alone tells about a file or a folder: everything here is decided before anything is opened.

The lists follow github-linguist's vendor and generated rules, GitHub's gitignore templates, and the default
file names that the tools themselves document.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "_darcs", "CVS"})

VENDORED_FOLDERS = _words(
    """
    node_modules bower_components jspm_packages vendor Vendor _vendor third_party third-party thirdparty
    ThirdParty 3rdparty site-packages dist-packages .venv .virtualenv Pods Carthage Godeps .yarn .pnpm-store
    .bundle
    """
)
"""Other people's code. Skipped although it may be tracked: it drowns the project's own in every search."""

VIRTUAL_ENVIRONMENTS = frozenset({"venv", "env", "virtualenv"})
"""Vendored when pyvenv.cfg lies inside (PEP 405); otherwise a package like any other."""

CACHE_FOLDERS = _words(
    """
    __pycache__ .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox .nox .eggs .cache .gradle .terraform
    .next .nuxt .svelte-kit .parcel-cache .turbo .angular .dart_tool .ipynb_checkpoints .import_linter_cache
    .sass-cache .nyc_output htmlcov DerivedData .serverless .aws-sam .vs .bloop .metals
    """
)

OUTPUT_FOLDERS = frozenset({"build", "dist", "target", "out", "_build", "coverage", "bin", "obj"})
"""Build output where a build file lies beside it; ordinary folders elsewhere, so what is tracked is kept."""

BUILD_FILES = (
    "package.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "Cargo.toml",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "build.sbt",
    "CMakeLists.txt",
    "meson.build",
    "Makefile",
    "configure",
    "pubspec.yaml",
    "mix.exs",
    "Package.swift",
)
_DOTNET_ONLY = frozenset({"bin", "obj"})
_DOTNET_PROJECTS = (".csproj", ".fsproj", ".vbproj", ".vcxproj")

LOCK_FILES = _words(
    """
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock cargo.lock
    poetry.lock pipfile.lock uv.lock pdm.lock pixi.lock conda-lock.yml composer.lock gemfile.lock go.sum
    go.work.sum flake.lock mix.lock rebar.lock pubspec.lock podfile.lock package.resolved cartfile.resolved
    gradle.lockfile buildscript-gradle.lockfile packages.lock.json project.assets.json paket.lock
    .terraform.lock.hcl conan.lock module.bazel.lock stack.yaml.lock cabal.project.freeze .package-lock.json
    chart.lock shard.lock
    """
)

BINARY_EXTENSIONS = _words(
    """
    png jpg jpeg jpe gif bmp ico icns cur tif tiff webp avif heic heif jxl psd psb xcf sketch fig cr2 nef dng
    hdr exr tga dds ktx astc blend blend1 fbx glb usdz
    mp3 mp4 m4a m4v mov avi mkv webm wav flac ogg oga ogv opus aac aiff wma wmv flv mid midi mpg mpeg 3gp
    pdf doc docx docm xls xlsx xlsm xlsb ppt pptx pptm odt ods odp odg epub mobi azw3 djvu
    zip tar gz tgz bz2 tbz2 xz txz zst lz lz4 lzma 7z rar cab iso dmg vhd vmdk qcow2 jar war ear aar apk aab
    ipa xpi crx deb rpm msi msix appx whl egg gem nupkg conda cpio
    exe dll so dylib o ko pyc pyo pyd class dex rlib rmeta wasm pdb ilk idb gch pch beam elc swiftmodule nexe
    ttf otf woff woff2 eot pfb pfm ttc
    sqlite sqlite3 db3 mdb mmdb accdb ldb sdb myd myi ibd rdb
    npy npz pkl pickle joblib h5 hdf5 rds rdata parquet feather arrow orc avro tfrecord
    onnx pt pth ckpt safetensors gguf ggml tflite mlmodel caffemodel keras
    mo gmo swp swo shp shx sbn sbx dbf gpkg mbtiles las laz tfm ds_store
    """
)
"""Formats that are never text. Others (.dat, .bin, .db, .a) are told by their content."""

_GENERATED_SUFFIXES = (
    "_pb2.py",
    "_pb2.pyi",
    "_pb2_grpc.py",
    ".pb.go",
    ".pb.gw.go",
    ".pb.cc",
    ".pb.h",
    ".pb.swift",
    "_pb.js",
    "_pb.ts",
    "_pb.d.ts",
    "_grpc_pb.js",
    ".g.dart",
    ".freezed.dart",
    ".designer.cs",
    ".designer.vb",
    ".g.cs",
    ".g.i.cs",
    ".js.map",
    ".css.map",
    ".mjs.map",
    ".cjs.map",
    ".d.ts.map",
    ".tsbuildinfo",
    ".snap",
)
_MINIFIED = re.compile(r"[.-]min\.(?:js|mjs|cjs|css|html|json|svg)\Z|\.bundle\.(?:js|css)\Z")

KILOBYTE = 1024
DATA_LIMITS: dict[str, int] = {
    extension: limit * KILOBYTE
    for extensions, limit in (
        ("csv tsv psv jsonl ndjson geojson topojson kml gml gpx arff ldif", 64),
        ("svg drawio excalidraw resx", 64),
        ("po pot xliff xlf arb", 4),
        ("json json5 xml plist ipynb har sarif tmx", 256),
        ("log trace dump", 64),
    )
    for extension in extensions.split()
}
"""Largest size in bytes at which a file of each data format is worth reading: small ones are configuration
and fixtures that people look for, large ones are data that drowns the rest. Translation catalogues repeat
what the source says (they are half of Django's text), so only tiny ones pass."""

_ENVIRONMENT = re.compile(r"\.env(?:rc)?(?:[._-].*)?\Z|.*\.env\Z")
_TEMPLATE = re.compile(
    r"(?:\A|[._-])(?:example|examples|sample|samples|template|tmpl|tpl|dist|default|defaults|schema)(?:[._-]|\Z)"
)
_KEY_FILE = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?:[._-](?!pub\Z).*)?\Z")
_CREDENTIALS = re.compile(
    r"(?:(?:aws|gcp|gcloud|google|azure)[._-])?credentials(?:\.(?:json|ya?ml|toml|ini|csv|xml|db))?\Z"
    r"|client[._-]?secrets?.*\.json\Z"
    r"|.*service[._-]?account(?:[._-]?(?:key|credentials?))?s?.*\.json\Z"
    r"|secrets?\.(?:json|ya?ml|toml|ini|properties|env|txt|tfvars)\Z"
    r"|.*\.tfstate(?:\.backup)?\Z"
    r"|(?:.*[._-])?kubeconfig(?:\.ya?ml)?\Z"
)
_SECRET_NAMES = _words(
    """
    .netrc _netrc .pypirc .htpasswd .htdigest .git-credentials .dockercfg .dockerconfigjson .pgpass .my.cnf
    .mylogin.cnf .s3cfg .boto .vault_pass .vault-token vault_pass.txt .vault-password .passwd rclone.conf
    """
)
_SECRET_EXTENSIONS = _words(
    "pem key p12 pfx pkcs12 p8 jks jceks keystore bks kdb kdbx ppk ovpn gpg pgp agekey keytab mobileprovision"
)


def folder_reason(parent: str, name: str) -> str | None:
    """Why the folder `name` in the folder `parent` (absolute) is never entered; None to enter it."""
    if name in VENDORED_FOLDERS:
        return "vendored"
    if name in VIRTUAL_ENVIRONMENTS and os.path.lexists(os.path.join(parent, name, "pyvenv.cfg")):
        return "vendored"
    if name in CACHE_FOLDERS or name.endswith(".egg-info"):
        return "generated"
    if name in VERSION_CONTROL:
        return "version-control"
    return None


def is_build_output(parent: str, name: str) -> bool:
    """Whether the folder `name` in the folder `parent` (absolute) is where a build writes."""
    if name not in OUTPUT_FOLDERS:
        return False
    try:
        beside = os.listdir(parent)
    except OSError:
        return False
    if name in _DOTNET_ONLY:
        return any(file.endswith(_DOTNET_PROJECTS) for file in beside)
    return not set(beside).isdisjoint(BUILD_FILES)


def is_secret_name(name: str) -> bool:
    """Whether a file of this name usually holds credentials. Templates such as `.env.example` do not."""
    lowered = name.lower()
    if _ENVIRONMENT.match(lowered):
        return not _TEMPLATE.search(lowered)
    extension = lowered.rpartition(".")[2]
    return (
        lowered in _SECRET_NAMES
        or (extension in _SECRET_EXTENSIONS and "." in lowered)
        or _KEY_FILE.match(lowered) is not None
        or (_CREDENTIALS.match(lowered) is not None and not _TEMPLATE.search(lowered))
    )


def file_reason(name: str) -> str | None:
    """Why a file of this name is not indexed; None when its name is no reason."""
    if is_secret_name(name):
        return "secret-file"
    lowered = name.lower()
    if lowered in LOCK_FILES:
        return "lock-file"
    if lowered.rpartition(".")[2] in BINARY_EXTENSIONS and "." in lowered[1:]:
        return "binary-extension"
    if lowered.endswith(_GENERATED_SUFFIXES):
        return "generated"
    if _MINIFIED.search(lowered):
        return "minified"
    return None


@lru_cache(maxsize=16_384)
def name_verdict(name: str) -> tuple[str | None, int]:
    """`file_reason` and `data_limit` (-1 for none) in one remembered answer, for walks that are repeated."""
    limit = data_limit(name)
    return file_reason(name), -1 if limit is None else limit


def data_limit(name: str) -> int | None:
    """The size in bytes above which a file of this name is data rather than text; None for no limit."""
    return DATA_LIMITS.get(name.rpartition(".")[2].lower())

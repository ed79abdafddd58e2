"""A hook of MkDocs: the site's pages lie where they lie in the repository, which is not one folder.

MkDocs knows a single folder of pages; ours are README.md and its neighbours, docs/ and runbooks/. Each keeps its path,
so that a link between two of them is right on the site, in the repository, and in an editor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

TOP = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*", "runbooks/*.md")
UNLISTED = ("docs/decisions/", "docs/screenshots.md", "runbooks/")
"""Pages that others lead to: too many for the menu. README.md of the runbooks lists them."""


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Leaves what the theme brings and puts our pages in, with their paths in the repository."""
    ours = [path for pattern in PAGES for path in sorted(TOP.glob(pattern)) if path.is_file()]
    theirs = [
        file for file in files if not file.abs_src_path or not Path(file.abs_src_path).is_relative_to(TOP / "docs")
    ]
    return Files([*theirs, *(_page(config, path.relative_to(TOP).as_posix()) for path in ours)])


def _page(config: Any, source: str) -> File:
    unlisted = source.startswith(UNLISTED) and source != "runbooks/README.md"
    level = InclusionLevel.NOT_IN_NAV if unlisted else InclusionLevel.UNDEFINED
    return File.generated(config, source, abs_src_path=str(TOP / source), inclusion=level)

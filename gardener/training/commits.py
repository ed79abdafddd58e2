"""Which functions a commit touched, as git's own hunk headers name them."""

from __future__ import annotations

from collections.abc import Sequence

from gardener.git import GitFailed, safe_git

_MOST_NAMES = 4
_LONGEST_NAME = 100


def touched_functions(root: str, commits: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Commit (as given) to path to the lines that git shows above the changed places; {} when git cannot say.

    The lines are those of the commit's text, not redacted, cut off by git in the middle of a word.

    The diffs are read with everything off that a repository could have run (external diffs, text conversion).
    """
    if not commits:
        return {}
    try:
        output = safe_git(
            root, "show", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--unified=0",
            "--format=%x01%H", "--patch", *commits, "--",
        )  # fmt: skip
    except GitFailed:
        return {}  # a shallow clone lacks some of them; the files are named without functions then
    found: dict[str, dict[str, list[str]]] = {}
    names: list[str] = []
    paths: dict[str, list[str]] = {}
    in_hunk = False
    for line in output.decode("utf-8", "replace").split("\n"):
        if line.startswith("\x01"):
            paths = found.setdefault(line[1:17], {})
        elif line.startswith("diff --git "):
            names, in_hunk = [], False
        elif not in_hunk and line.startswith("+++ b/"):
            names = paths.setdefault(line[6:].rstrip("\t"), [])
        elif line.startswith("@@ "):
            in_hunk = True
            name = line.partition(" @@")[2].strip()[:_LONGEST_NAME].replace("`", "'")
            if name and not name.startswith("import") and name not in names and len(names) < _MOST_NAMES:
                names.append(name)
    return {commit: {path: tuple(of) for path, of in places.items()} for commit, places in found.items()}

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gardener.index.ignore_rules import MAX_RULES_BYTES, IgnoreRules, RulesTooLarge, excluded, read_rules


def is_excluded(lines: list[str], path: str) -> bool:
    """As a walk asks: each folder on the way first."""
    chain = (IgnoreRules(lines),)
    parts = path.split("/")
    return any(excluded(chain, "/".join(parts[:depth]), depth < len(parts)) for depth in range(1, len(parts) + 1))


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        (["*.log"], "a/b.log", True),
        (["/*.log"], "a/b.log", False),
        (["a/*.log"], "x/a/b.log", False),
        (["**/a/*.log"], "x/a/b.log", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b/c", True),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
        (["build/"], "build", False),
        (["build/"], "x/build/y", True),
        (["*", "!*/", "!*.py"], "a/b.py", False),
        (["*", "!*/", "!*.py"], "a/b.txt", True),
        (["a/", "!a/b"], "a/b", True),
        (["a/*", "!a/b"], "a/b", False),
        (["# comment", "\\#x"], "#x", True),
        (["\\!x"], "!x", True),
        (["x  "], "x", True),
        (["x\\ "], "x ", True),
        (["x\r"], "x", True),
        (["[a-c]x"], "bx", True),
        (["[!a-c]x"], "bx", False),
        (["[[:digit:]]x"], "1x", True),
        (["a[/]b"], "a/b", False),
        (["[unclosed"], "[unclosed", False),
        (["trailing\\"], "trailing", False),
        (["A"], "a", False),
        (["*"], ".hidden", True),
        (["a?c"], "a/c", False),
        ([""], "a", False),
        (["/"], "a", False),
    ],
)
def test_rules_mean_what_git_says(lines: list[str], path: str, expected: bool) -> None:
    assert is_excluded(lines, path) is expected


names = st.sampled_from(["a", "b", "ab", "aab", "a.b", ".a", "A", "a b", "foo", "[a]", "a*", "!a", "#a", "a\\b"])
tree_paths = st.lists(names, min_size=1, max_size=4).map("/".join)
bits = st.sampled_from(
    [
        "a",
        "b",
        "*",
        "?",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[[:alpha:]]",
        "!",
        "\\",
        ".",
        "foo",
        " ",
        "#",
        "-",
        "[",
        "]",
        "[]a]",
        "[a-]",
        "\\*",
        "[a/b]",
    ]
)
segments = st.one_of(st.lists(bits, min_size=1, max_size=4).map("".join), st.sampled_from(["**", "***", "*", "a"]))
rules = st.builds(
    lambda sign, slash, parts, end: sign + slash + "/".join(parts) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(segments, min_size=1, max_size=4),
    st.sampled_from(["", "", "/", "  ", "\r"]),
)


@pytest.fixture(scope="module")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rules")
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True, env={**os.environ, "LC_ALL": "C"})
    return root


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(lines=st.lists(rules, min_size=1, max_size=5), paths=st.lists(tree_paths, min_size=20, max_size=40))
def test_decides_as_git_does(empty_repository: Path, lines: list[str], paths: list[str]) -> None:
    (empty_repository / ".gitignore").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["git", "-C", str(empty_repository), "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(paths).encode(),
        capture_output=True,
        check=False,
    )
    by_git = set(done.stdout.decode().split("\0")[:-1])
    assert {path for path in paths if is_excluded(lines, path)} == by_git


def test_hostile_patterns_take_bounded_time() -> None:
    code = (
        "from gardener.index.ignore_rules import IgnoreRules\n"
        "for pattern in ('*a*a*a*a*a*a*a*b', '**/a*a*a/**/a*a*b/**/a*/**/*a*b/**/c', '*?*?*?*?*b', '*' * 500 + 'b'):\n"
        "    rules = IgnoreRules([pattern])\n"
        "    for path in ('a' * 255, '/'.join(['a' * 20] * 190), '/'.join('a' * 2000)):\n"
        "        assert rules.decide(path, False) is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_rules_of_a_folder_apply_below_it_only_and_the_inner_file_wins() -> None:
    outer = IgnoreRules(["*.log", "/x"])
    inner = IgnoreRules(["!keep.log", "/x"], base="sub/")
    assert excluded((outer, inner), "sub/a.log", False)
    assert not excluded((outer, inner), "sub/keep.log", False)
    assert excluded((outer, inner), "sub/x", False)
    assert not excluded((outer, inner), "sub/y/x", False)


def test_rules_of_a_folder_above_the_origin_see_the_way_to_it() -> None:
    rules_above = IgnoreRules(["/project/build", "other/x"], below="project")
    assert excluded((rules_above,), "build", True)
    assert not excluded((rules_above,), "x", False)


def test_only_plain_ignore_files_of_a_sensible_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"\xef\xbb\xbfa\r\n\xff\n")
    (tmp_path / "link").symlink_to("good")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_RULES_BYTES + 1))
    found = read_rules(str(tmp_path / "good"))
    assert found is not None
    assert excluded((found,), "a", False)
    for name in ("link", "pipe", "missing"):
        assert read_rules(str(tmp_path / name)) is None
    with pytest.raises(RulesTooLarge):
        read_rules(str(tmp_path / "large"))
    with pytest.raises(RulesTooLarge):
        read_rules(str(tmp_path / "good"), in_force=2000)

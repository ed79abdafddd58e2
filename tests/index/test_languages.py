from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.index.languages import language_of, refine_language


@pytest.mark.parametrize(
    ("path", "first_line", "language"),
    [
        ("src/app.py", "", "python"),
        ("src\\app.PY", "", "python"),
        ("a/b.tsx", "", "tsx"),
        ("a/b.mts", "", "typescript"),
        ("lib/x.cjs", "", "javascript"),
        ("include/x.hpp", "", "cpp"),
        ("x.h", "", "c"),
        ("build.gradle.kts", "", "kotlin"),
        ("Dockerfile", "", "dockerfile"),
        ("docker/Dockerfile.dev", "", "dockerfile"),
        ("Makefile", "", "make"),
        ("Gemfile", "", "ruby"),
        ("Cargo.lock", "", "toml"),
        ("settings.py.in", "", "python"),
        ("README", "", "markdown"),
        ("bin/tool", "#!/usr/bin/env python3", "python"),
        ("bin/tool", "#!/usr/bin/python3.11 -u", "python"),
        ("bin/tool", "#!/usr/bin/env -S node --no-warnings", "javascript"),
        ("bin/tool", "#!/bin/sh", "bash"),
        ("bin/tool", "#!/opt/unknown", "text"),
        ("bin/tool", "#!", "text"),
        ("LICENSE", "", "text"),
        ("", "", "text"),
        (".gitignore", "", "text"),
        ("notes.txt", "#!/bin/sh", "bash"),
    ],
)
def test_language_of(path: str, first_line: str, language: str) -> None:
    assert language_of(path, first_line) == language


@given(path=st.text(), first_line=st.text())
def test_any_path_has_a_lower_case_language(path: str, first_line: str) -> None:
    language = language_of(path, first_line)
    assert language and language == language.lower()


@given(
    stem=st.text(alphabet=st.characters(blacklist_characters="/\\"), max_size=20),
    extension=st.sampled_from(["py", "rs"]),
)
def test_an_extension_decides_whatever_the_folder(stem: str, extension: str) -> None:
    assert language_of(f"a.go/b.js/{stem}x.{extension}") == language_of(f"x.{extension}")


def test_text_refines_what_a_name_gets_wrong() -> None:
    assert refine_language("c", "a.h", "#include <vector>\n") == "cpp"
    assert refine_language("c", "a.h", "#include <stdio.h>\nstruct a { int b; };\n") == "c"
    assert refine_language("c", "a.c", "class x;\n") == "c"
    assert refine_language("typescript", "de.ts", '<?xml version="1.0"?>') == "xml"
    assert refine_language("text", "notes.txt", "Shopping\n========\n\nMilk\n") == "text"

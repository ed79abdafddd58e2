from __future__ import annotations

import pytest

from gardener.index.undocumented import without_documentation

PYTHON = '''import os


class Store:
    """Keeps things."""

    @property
    def size(self):
        """How many things there are.

        Counted anew.
        """
        return len(self.things)

    def nothing(self):
        """Only documentation."""

    def short(self): "On the same row."; return 1


def top(path):
    # not documentation
    r"""Opens the file at a path."""
    return open(path)
'''

GO = """package main

// Parse reads a header.
// It never fails.
func Parse(text string) string {
	// inner remark stays
	return text
}
"""

RUST = """/// Adds two numbers.
#[inline]
pub fn add(a: i32, b: i32) -> i32 {
    a + b
}
"""

TYPESCRIPT = """/**
 * Splits a cookie into its parts.
 * @param text what to split
 */
export function split(text: string): string[] {
  return text.split(";"); /* stays */
}
"""

RUBY = """class Page
  # Renders the page as HTML.
  def render
    body
  end
end
"""


@pytest.mark.parametrize(
    ("path", "text", "gone", "kept", "symbols"),
    [
        (
            "a.py",
            PYTHON,
            ("How many", "Counted", "Opens the file"),
            ("Keeps things", "Only documentation", "On the same row", "@property", "# not documentation"),
            ["Store.size", "top"],
        ),
        ("a.go", GO, ("reads a header", "never fails"), ("inner remark",), ["Parse"]),
        ("a.rs", RUST, ("Adds two",), ("#[inline]",), ["add"]),
        ("a.ts", TYPESCRIPT, ("Splits a cookie", "@param"), ("/* stays */",), ["split"]),
        ("a.rb", RUBY, ("Renders the page",), ("def render",), ["Page.render"]),
    ],
)
def test_documentation_goes_and_code_stays(
    path: str, text: str, gone: tuple[str, ...], kept: tuple[str, ...], symbols: list[str]
) -> None:
    bare = without_documentation(path, text)
    assert [function.symbol for function in bare.documented] == symbols
    for words in gone:
        assert words not in bare.text
        assert any(words in function.documentation for function in bare.documented)
    for words in kept:
        assert words in bare.text
    assert bare.text.count("\n") == text.count("\n")
    lines = text.split("\n")
    for function in bare.documented:
        name = function.symbol.rsplit(".", 1)[-1]
        assert any(name in line for line in lines[function.start_line - 1 : function.end_line])


@pytest.mark.parametrize("path", ["a.md", "a.json", "a.py", "a.go", "a.unknown"])
@pytest.mark.parametrize("text", ["", "\n\n", "\x00\ufffd(((", "def f(:\n  '''x", '"""', "/** x"])
def test_any_text_is_survived(path: str, text: str) -> None:
    bare = without_documentation(path, text)
    assert bare.text.count("\n") == text.count("\n")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.index.file_symbols import placed_references
from gardener.index.imports import Import, imports
from gardener.index.references import code_of, references
from gardener.index.uses import uses


def calls(language: str, text: str) -> list[tuple[str, str]]:
    return [(one.receiver, one.name) for one in references(language, text)]


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("python", "a = os.path.join(x, f(y))\n", [("os.path", "join"), ("", "f")]),
        ("python", '# f()\n\'g()\'\n"""h()\n"""\nk()\n', [("", "k")]),
        ("python", "if (a): return (b)\n", []),
        ("python", "a()[0].b().c()\n", [("", "a"), ("?", "b"), ("?", "c")]),
        ("python", "@app.route('/x')\n@cached\ndef f(): pass\n", [("app", "route"), ("", "f"), ("", "cached")]),
        ("python", "super().save()\n", [("super", "save")]),
        ("go", "x := c.Writer.Header().Get(`a()`)\n", [("c.Writer", "Header"), ("?", "Get")]),
        ("rust", 'let a: &\'a str = b::c(d); println!("{}", e());\n', [("b", "c"), ("", "println"), ("", "e")]),
        ("rust", "Vec::<u8>::with_capacity(3)", [("?", "with_capacity")]),
        ("java", "new Gson(); List<String> x = foo<Bar>(1); // no()\n", [("", "Gson"), ("", "foo")]),
        ("typescript", "a?.b(`${c()}`); /* d() */ e<string>(1)", [("a", "b"), ("", "e")]),
        ("cpp", "std::sort(a->begin(), b.end());", [("std", "sort"), ("a", "begin"), ("b", "end")]),
        ("ruby", "x.save!(1) # no()\nempty?(y)\n", [("x", "save!"), ("", "empty?")]),
        ("php", "Foo\\Bar::make($x->get(1)); # no()\n", [("Foo.Bar", "make"), ("x", "get")]),
        ("markdown", "f()", []),
    ],
)
def test_calls(language: str, text: str, found: list[tuple[str, str]]) -> None:
    assert calls(language, text) == found


def test_lines_are_right_after_strings_of_many_lines() -> None:
    text = 'x = """\n\n\n"""\nf()\n\n\'a\'\ng()\n'
    assert [(one.name, one.line) for one in references("python", text)] == [("f", 5), ("g", 8)]


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        (
            "python",
            "import a.b, c as d\nfrom .x import (y,  # why\n  z as w)\nfrom . import m\n",
            [
                Import("a.b", "", "a.b"),
                Import("c", "", "d"),
                Import(".x", "y", "y"),
                Import(".x", "z", "w"),
                Import(".", "m", "m"),
            ],
        ),
        (
            "typescript",
            "import def, { a as b, type C } from './x';\nimport * as ns from \"y\";\n"
            "const { q } = require('z');\nimport 'w';",
            [
                Import("./x", "a", "b"),
                Import("./x", "C", "C"),
                Import("./x", "default", "def"),
                Import("y", "", "ns"),
                Import("z", "q", "q"),
                Import("w", "", ""),
            ],
        ),
        (
            "go",
            'import (\n\t"fmt"\n\tx "a/b"\n)\nimport "c/d"\n',
            [Import("fmt", "", "fmt"), Import("a/b", "", "x"), Import("c/d", "", "d")],
        ),
        (
            "rust",
            "use a::{b, c::{d as e, f}};\n",
            [Import("a", "b", "b"), Import("a::c", "d", "e"), Import("a::c", "f", "f")],
        ),
        ("c", '#include "a/b.h"\n# include <stdio.h>\n', [Import("a/b.h", "", ""), Import("stdio.h", "", "")]),
        ("php", "use A\\B\\C as D;\n", [Import("A.B", "C", "D")]),
        ("ruby", "require_relative 'a/b'\n", [Import("./a/b", "", "b")]),
    ],
)
def test_imports(language: str, text: str, found: list[Import]) -> None:
    got = imports(language, text)
    assert [one for one in got if one in found] == found, got


@given(
    st.text(alphabet="ab.(){}[]<>'\"`#/*\\\n@:$ \u202e\x00é", max_size=400),
    st.sampled_from(["python", "go", "rust", "php"]),
)
def test_any_text_gives_lines_that_exist(text: str, language: str) -> None:
    for one in references(language, text):
        assert 1 <= one.line <= text.count("\n") + 1
        assert one.name
    imports(language, text)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 300_000,
        "a::" * 200_000,
        "1" * 600_000,
        "import x " * 60_000,
        "from . import (a,\n" * 30_000,
        "import (\n" * 60_000,
        "import a.{\n" * 50_000,
        "export {" * 70_000,
        "use a::{" * 70_000,
        "/* " * 200_000,
        '"' + '\\"' * 300_000,
        "'" + "\\'" * 300_000,
        "`" + "\\`" * 300_000,
        '"""' + '\\"""' * 100_000,
        "a<" * 300_000,
    ],
    ids=lambda text: text[:10],
)
@pytest.mark.parametrize("language", ["python", "typescript", "go", "rust", "scala", "php", "ruby"])
def test_no_text_takes_more_than_linear_time(text: str, language: str) -> None:
    """With a quadratic expression this would take hours."""
    placed_references(language, text, ())


def named(language: str, text: str, *known: str) -> list[tuple[str, str]]:
    return [
        (one.receiver, one.name)
        for one in uses(language, code_of(language, text), frozenset(known), frozenset())
        if not one.binds
    ]


@pytest.mark.parametrize(
    ("language", "text", "known", "found"),
    [
        ("python", "from a import f\nrun(f, other)\n", ["f"], [("", "f")]),
        ("python", "from . import (\n  views,\n)\npath('', views.index)\n", ["views"], [("views", "index")]),
        ("python", "x.f\nf = 1\ng(f=2)\n# f\n'f'\n", ["f"], []),
        ("python", "class A(models.Model): pass\n", ["models"], [("models", "Model")]),
        ("typescript", "import { f } from './f';\nlisten({ f: 1, g: f });\n", ["f"], [("", "f")]),
        (
            "go",
            "type A struct { b *Handler }\nfunc f(w http.Writer) {}\n",
            ["http"],
            [("", "Handler"), ("http", "Writer")],
        ),
        ("rust", "use a::Bar;\nlet x: Bar = Car::new();\n", ["Bar"], [("", "Bar"), ("", "Car")]),
        ("java", "import a.Bar;\nclass Act extends Bar<Car> {}\n", [], [("", "Act"), ("", "Bar"), ("", "Car")]),
        ("ruby", "before { authorize! }\n", ["authorize!"], [("", "authorize!")]),
        ("markdown", "Foo", ["Foo"], []),
    ],
)
def test_names_that_are_used_without_a_call(
    language: str, text: str, known: list[str], found: list[tuple[str, str]]
) -> None:
    assert [one for one in named(language, text, *known) if one[1] != "String"] == found

from __future__ import annotations

import ast
import json
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gardener.index.chunker import chunk_file
from gardener.index.cutting import MAX_CHARACTERS, MAX_ROWS
from gardener.index.grammars import GRAMMARS
from gardener.types import Chunk

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = frozenset(
    ("function", "method", "class", "interface", "struct", "enum", "trait", "type", "constant", "module",
     "section", "rule", "table", "block", "text")
)  # fmt: skip


def read_outlines() -> dict[str, list[str]]:
    """What each fixture must be cut into: "first-last kind symbol" per chunk, indented below the file's name."""
    outlines: dict[str, list[str]] = {}
    name = ""
    for line in (FIXTURES / "outlines.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            outlines[name].append(line.strip())
        else:
            name = line
            outlines[name] = []
    return outlines


OUTLINES = read_outlines()
NAMES = sorted(OUTLINES)


def fixture_text(name: str) -> str:
    file = FIXTURES / name
    if not file.exists():  # Python's own sample is kept out of the linters' sight
        file = FIXTURES / f"{name}.sample"
    return file.read_text(encoding="utf-8")


def chunks_of(name: str) -> list[Chunk]:
    return chunk_file(name, fixture_text(name))


def named(name: str, symbol: str) -> Chunk:
    return next(chunk for chunk in chunks_of(name) if chunk.symbol == symbol)


def lines_of(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def assert_laws(path: str, text: str, chunks: list[Chunk]) -> None:
    lines = lines_of(text)
    following = 1
    for chunk in chunks:
        assert chunk.start_line >= following and not any(map(str.strip, lines[following - 1 : chunk.start_line - 1]))
        assert chunk.text.strip()
        assert chunk.end_line >= chunk.start_line
        assert chunk.text == "\n".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert chunk.text.count("\n") == chunk.end_line - chunk.start_line
        assert chunk.path == path
        assert chunk.kind in KINDS
        assert "\n" not in chunk.signature
        assert isinstance(chunk.parents, tuple)
        following = chunk.end_line + 1
    assert not any(map(str.strip, lines[following - 1 :]))


# ---- What the languages are cut into


@pytest.mark.parametrize("name", NAMES)
def test_each_language_is_cut_at_its_declarations(name: str) -> None:
    text = fixture_text(name)
    chunks = chunk_file(name, text)
    found = [f"{c.start_line}-{c.end_line} {c.kind} {c.symbol}".rstrip() for c in chunks]
    assert found == OUTLINES[name]
    assert_laws(name, text, chunks)


@pytest.mark.parametrize(
    ("name", "symbol", "signature", "docstring", "parents"),
    [
        ("sample.py", "greet", "def greet(name: str, *, loud: bool = False) -> str",
         "Greet NAME.\n\nLoudly, perhaps.", ()),
        ("sample.py", "Model", "class Model(Base, metaclass=Meta)", "A thing that can be saved.", ()),
        ("sample.py", "Model.name", "def name(self) -> str", "The name.", ("Model",)),
        ("sample.js", "readSettings", "export async function readSettings(path)",
         "Reads a settings file.\n@param {string} path where it is", ()),
        ("sample.js", "double", "const double = (n)", "Doubles a number.", ()),
        ("sample.js", "Store.handleClick", "handleClick = async (event)",
         "Called from a button, so it must stay bound.", ("Store",)),
        ("sample.ts", "Service", "export abstract class Service<T extends Shape> implements Runner", "", ()),
        ("sample.ts", "Service.load", "async load(key: string): Promise<T>", "Loads one by its key.",
         ("Service",)),
        ("sample.go", "Store.Get", "func (s *Store[K]) Get(key K) (string, error)",
         "Get returns the value of key.\nIt never blocks.", ("Store",)),
        ("sample.go", "ID", "ID string", "ID names a thing.", ()),
        ("sample.rs", "Point", "pub struct Point<T>", "A point in the plane.", ()),
        ("sample.rs", "Point.new", "pub fn new(x: T, y: T) -> Self", "Makes a point.\nNever fails.",
         ("Point",)),
        ("sample.java", "OrderBook", "public class OrderBook<T extends Order> implements Book",
         "Keeps orders.", ()),
        ("sample.java", "OrderBook.size", "public int size() throws IOException", "", ("OrderBook",)),
        ("sample.c", "find", "static struct node **find(struct node **at, int value)", "", ()),
        ("sample.c", "count_nodes", "int count_nodes(const struct node *head)", "Counts the nodes.", ()),
        ("sample.cpp", "geo.Box.reset", "template <typename T, int N> void Box<T, N>::reset(T value)", "",
         ("geo", "Box")),
        ("sample.cs", "Shop.Orders.OrdersController", "public class OrdersController : ControllerBase",
         "Takes orders.", ("Shop.Orders",)),
        ("sample.rb", "Billing.Invoice.initialize", "def initialize(lines)", "Makes one.", ("Billing",
         "Invoice")),
        ("sample.php", "UserController.show", "public function show(User $user): Response", "Shows one.",
         ("UserController",)),
        ("sample.swift", "User.init", "public init(name: String)", "Makes a user.", ("User",)),
        ("sample.kt", "String.shout", "fun String.shout(times: Int = 1): String", "Shouts.", ("String",)),
        ("sample.scala", "User.read", "def read(text: String)(implicit p: Parser[User]): User",
         "Reads one.", ("User",)),
        ("sample.sh", "usage", "usage()", "Prints how to use it.\nThen leaves.", ()),
        ("sample.sql", "shop.users", "CREATE TABLE IF NOT EXISTS shop.users", "People who use the shop.", ()),
        ("sample.toml", "tool.build", "[tool.build]", "How it is built.", ()),
        ("sample.md", "Guide > Install", "## Install", "", ("Guide",)),
    ],
)  # fmt: skip
def test_signature_docstring_and_parents(
    name: str, symbol: str, signature: str, docstring: str, parents: tuple[str, ...]
) -> None:
    chunk = named(name, symbol)
    assert (chunk.signature, chunk.docstring, chunk.parents) == (signature, docstring, parents)


def test_decorators_and_comments_belong_to_what_they_precede() -> None:
    assert named("sample.py", "greet").text.startswith("# Says hello to one person,")
    assert named("sample.py", "Model").text.startswith("@register")
    assert named("sample.ts", "Service.load").text.lstrip().startswith("/** Loads one by its key. */\n  @Memo()")
    assert named("sample.rs", "Point").text.startswith("/// A point in the plane.\n#[derive")


def test_a_directive_to_a_tool_is_no_documentation() -> None:
    text = "// eslint-disable-next-line no-undef\nfunction go() {\n  return missing;\n}\n"
    (chunk,) = chunk_file("a.js", text)
    assert (chunk.symbol, chunk.docstring) == ("go", "")


def test_a_comment_that_trails_a_statement_is_not_the_next_symbols() -> None:
    text = "int a = 1; // about a\nint go() {\n  return a;\n}\n"
    chunk = chunk_file("a.c", text)[-1]
    assert (chunk.symbol, chunk.docstring) == ("go", "")


def test_tests_keep_the_line_that_names_them() -> None:
    body = "".join(f"    expect({n}).toBe({n});\n" for n in range(20))
    cases = "".join(f'  it("{name}", () => {{\n{body}  }});\n' for name in ("reads", "writes"))
    text = f'describe("store", () => {{\n{cases}}});\n'
    signatures = [chunk.signature for chunk in chunk_file("store.test.js", text)]
    assert signatures == ['it("reads", ()', 'it("writes", ()']


def test_a_namespace_opened_by_a_macro_still_shows_its_functions() -> None:
    text = "BEGIN_NAMESPACE\nnamespace detail {\nint helper(int a) {\n  return a;\n}\n}\n"
    assert any(chunk.symbol.endswith("helper") for chunk in chunk_file("a.cc", text))


def test_headers_with_cpp_in_them_are_read_as_cpp() -> None:
    text = "#pragma once\nnamespace a {\nclass B {\n public:\n  int c() {\n    return 1;\n  }\n};\n}\n"
    assert {chunk.language for chunk in chunk_file("b.h", text, "c")} == {"cpp"}
    assert {chunk.language for chunk in chunk_file("b.h", "int c(void);\n")} == {"c"}


def test_large_keys_are_opened_one_level_down() -> None:
    steps = "".join(f"      - run: command {n}\n" for n in range(30))
    text = f"name: x\njobs:\n  lint:\n    steps:\n{steps}  test:\n    steps:\n{steps}"
    symbols = [chunk.symbol for chunk in chunk_file("ci.yml", text)]
    assert "jobs.lint" in symbols and "jobs.test" in symbols


def test_a_text_file_of_restructured_text_has_sections() -> None:
    chunks = chunk_file("topics/cache.txt", fixture_text("sample.rst"), "text")
    assert "Library > Install" in [chunk.symbol for chunk in chunks]


def test_headings_inside_fences_are_none() -> None:
    assert all("not a heading" not in chunk.symbol for chunk in chunks_of("sample.md"))


# ---- Size


def test_small_neighbours_share_a_chunk_and_large_functions_are_cut() -> None:
    imports = "".join(f"import module_{n}\n" for n in range(20))
    body = "".join(f"    if flag_{n}:\n        total += {n}\n" for n in range(100))
    text = f"{imports}\n\ndef long(total):\n{body}    return total\n"
    chunks = chunk_file("a.py", text)
    assert chunks[0].kind == "block" and chunks[0].end_line == 22
    parts = chunks[1:]
    assert len(parts) >= 4
    assert {(part.symbol, part.kind, part.signature) for part in parts} == {("long", "function", "def long(total)")}
    for part in parts:
        assert part.end_line - part.start_line + 1 <= MAX_ROWS
        assert len(part.text) <= MAX_CHARACTERS
    for part in parts[1:]:
        assert part.text.lstrip().startswith(("if flag", "return")), "a cut falls between statements"


def test_a_class_is_a_header_and_its_methods() -> None:
    methods = "".join(f"    def method_{n}(self):\n        return {n}\n\n" for n in range(6))
    chunks = chunk_file("a.py", f'class A:\n    """Doc."""\n\n    field = 1\n\n{methods}')
    assert [chunk.symbol for chunk in chunks] == ["A", *(f"A.method_{n}" for n in range(6))]
    assert "field = 1" in chunks[0].text and chunks[0].docstring == "Doc."


def test_a_long_line_stays_one_line() -> None:
    text = f"x = 1\ny = '{'a' * 9000}'\nz = 3\n"
    chunks = chunk_file("a.py", text)
    assert_laws("a.py", text, chunks)
    assert any(len(chunk.text) > 9000 and chunk.start_line == chunk.end_line for chunk in chunks)


def test_an_empty_file_has_no_chunks() -> None:
    assert chunk_file("a.py", "") == []
    for path in ("a.py", "a.csv", "a.md"):
        assert chunk_file(path, "\n" * 3_000 + " \t\n") == []
    first, last = chunk_file("a.csv", "a,b\n" + "\n" * 3_000 + "c,d\n")
    assert (first.start_line, last.end_line) == (1, 3_002)


# ---- Laws on any text

FRAGMENTS = st.sampled_from(
    ["\n", "\r\n", "\r", "\f", "\0", "\t", " ", "    ", "{", "}", "(", ")", "[", "]", '"', "'", '"""',
     "'''", "`", "#", "//",
     "/*", "*/", "<!--", "-->", ";", ":", "=", "=>", "def f():\n", "class A:\n", "class A {\n",
      "function f() {\n",
     "func (s *T) F() {\n", "impl A for B {\n", "fn f() {\n", "# Title\n", "Title\n=====\n", "[table]\n",
      "key:\n", "  a: 1\n",
     "return 1\n", "@decorator\n", "namespace a {\n", "template <class T>\n", "#ifdef A\n", "#endif\n",
      "end\n",
     "module A\n", "describe('a', () => {\n", "it 'a' do\n", "CREATE TABLE a (b int);\n", "é", "\U0001f331",
      "\ud800", "x" * 300]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=60).map("".join))
PATHS = st.sampled_from(
    [*NAMES, "a.h", "a.html", "a.vue", "a.ini", "Makefile", "a.lua", "a.ex", "a.hs", "a.pl", "a.r", "a.jl",
     "a.zig", "a.m",
     "a.proto", "a.tf", "a.scss", "a.adoc", "a.tex", "a.graphql", "a.clj", "a.dart", "a.sol", "a.txt",
     "Dockerfile", "a.unknown"]
)  # fmt: skip


@given(path=PATHS, text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_chunks_cover_every_line_of_any_text_once(path: str, text: str) -> None:
    chunks = chunk_file(path, text)
    assert_laws(path, text, chunks)
    assert (chunks == []) == (not text.strip())
    assert chunk_file(path, text) == chunks


@given(data=st.data(), name=st.sampled_from(NAMES))
@settings(max_examples=200, deadline=None)
def test_chunks_cover_damaged_code_too(data: st.DataObject, name: str) -> None:
    text = fixture_text(name)
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(text)))
        last = min(len(text), first + data.draw(st.integers(0, 40)))
        text = text[:first] + data.draw(FRAGMENTS | st.just("")) + text[last:]
    assert_laws(name, text, chunk_file(name, text))


@pytest.mark.parametrize("name", NAMES)
def test_windows_newlines_change_nothing_but_the_text(name: str) -> None:
    text = fixture_text(name)
    unix, windows = chunk_file(name, text), chunk_file(name, text.replace("\n", "\r\n"))
    assert [(c.start_line, c.end_line, c.symbol, c.kind, c.docstring) for c in windows] == [
        (c.start_line, c.end_line, c.symbol, c.kind, c.docstring) for c in unix
    ]


def python_definitions(source: str) -> list[tuple[str, int]]:
    """(qualified name, line) of functions and methods that are not inside a function, by CPython's own parser."""
    found: list[tuple[str, int]] = []
    pending: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if child.end_lineno is not None and child.end_lineno > child.lineno:
                    found.append((prefix + child.name, child.lineno))
            elif isinstance(child, ast.ClassDef):
                pending.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, ast.stmt | ast.ExceptHandler):
                pending.append((child, prefix))
    return found


@pytest.mark.parametrize("module", [json, ast, threading, socket], ids=lambda module: module.__name__)
def test_python_agrees_with_the_compilers_own_parser(module: object) -> None:
    """Every function lies in a chunk that has its name, or in the one chunk of a small class that holds it."""
    file = Path(str(module.__file__))  # type: ignore[attr-defined]
    source = file.read_text(encoding="utf-8")
    chunks = chunk_file(file.name, source)
    assert_laws(file.name, source, chunks)
    definitions = python_definitions(source)
    assert definitions
    for symbol, line in definitions:
        chunk = next(chunk for chunk in chunks if chunk.start_line <= line <= chunk.end_line)
        assert chunk.symbol == symbol or symbol.startswith(f"{chunk.symbol}."), (symbol, line, chunk)


# ---- Hostile input


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "/*\n" * 50_000),
        ("a.py", "(" * 1_000_000),
        ("a.go", ("[{" * 40 + "\n") * 12_000),
        ("a.js", "".join(f"function f{n}() {{\n" for n in range(20_000))),
        ("a.java", "".join(f"class A{n} {{\n" for n in range(3_000))),
        ("a.py", "".join(" " * n + "class A:\n" for n in range(900))),
        ("a.rs", "%w(" * 20_000),
        ("a.html", "<a>" * 300_000),
        ("a.html", ("<div " * 60 + "\n") * 3_300),
        ("a.yml", ("a" + " " * 300 + "\n") * 3_300),
        ("a.md", ("![" * 100 + "\n") * 5_000),
        ("a.json", '{"a":' * 200_000),
        ("a.min.js", "var a=1;" * 100_000),
    ],
)  # fmt: skip
def test_hostile_files_are_still_covered(path: str, text: str) -> None:
    """Each of these takes minutes, gigabytes or the process when it reaches a parser or a careless pattern."""
    assert_laws(path, text, chunk_file(path, text))


def test_a_parse_that_was_stopped_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.index import parsing

    text = fixture_text("sample.js") + "".join(f"const a{n} = {n};\n" for n in range(3000))
    whole = chunk_file("a.js", text)
    with monkeypatch.context() as patch:
        patch.setattr(parsing, "_LEAST_SECONDS", -1.0)
        patch.setattr(parsing, "_SECONDS_PER_BYTE", 0.0)
        stopped = chunk_file("a.js", text)
    assert {chunk.symbol for chunk in stopped} == {""}
    assert_laws("a.js", text, stopped)
    assert chunk_file("a.js", text) == whole


def test_files_over_the_limit_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.index import parsing

    monkeypatch.setattr(parsing, "MAX_PARSED_BYTES", 100)
    chunks = chunks_of("sample.py")
    assert {chunk.symbol for chunk in chunks} == {""}


def test_threads_chunk_at_the_same_time() -> None:
    expected = {name: chunks_of(name) for name in NAMES}
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(name for name in NAMES if chunks_of(name) != expected[name])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_every_grammar_is_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No language needs the network: sockets are forbidden while each grammar parses something."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a grammar tried to use the network")

    monkeypatch.setattr(socket, "socket", forbidden)
    for language in GRAMMARS:
        assert chunk_file("file", "a\nb\n", language)[0].language == language


def test_every_rule_names_a_node_of_its_grammar() -> None:
    """A misspelt node type would silently find nothing; types of a shared table need only exist in one grammar."""
    from tree_sitter_language_pack import get_language

    known: dict[int, set[str]] = {}
    wanted: dict[int, set[str]] = {}
    for parser_name, grammar in GRAMMARS.values():
        language = get_language(parser_name)  # type: ignore[arg-type]
        kinds = {language.node_kind_for_id(number) or "" for number in range(language.node_kind_count)}
        known.setdefault(id(grammar), set()).update(kinds)
        listed = wanted.setdefault(id(grammar), set())
        listed.update(grammar.rules, grammar.transparent, grammar.attributes, grammar.annotations, grammar.swallows)
    missing = {name for key, names in wanted.items() for name in names - known[key]}
    assert missing == set()

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.errors import IndexDamaged, NotFoundError
from gardener.index.indexer import Indexer
from gardener.index.repository_map import repository_map
from gardener.index.symbol_graph import SymbolGraph
from gardener.types import ProjectContext

FILES = {
    "shop/__init__.py": "from .cart import Cart\n",
    "shop/cart.py": """from shop.money import total as summed
from . import store


class Cart:
    def __init__(self, items):
        self.items = items

    def price(self):
        return summed(self.items)

    def save(self):
        self.check()
        store.write(self)

    def check(self):
        return self.price() > 0
""",
    "shop/money.py": """def total(items):
    return sum(item.price() for item in items)


def rounded(items):
    return round(total(items))
""",
    "shop/store.py": """def write(thing):
    with open("f") as f:
        f.write(str(thing))


def reader(cart: Cart):
    cart.check()
    cart.get()
""",
    "tests/test_cart.py": """from shop import Cart


def test_price():
    assert Cart([]).price() == 0
""",
    "web/a.ts": """import { send as deliver } from './b';
export function go(): void { deliver(1); }
""",
    "web/b.ts": """export function send(n: number): void;
export function send(n: string): void;
export function send(n: unknown): void {
  console.log(n);
}
""",
    "main.go": """package main

type Engine struct{}

func (e *Engine) Run(addr string) { e.listen(addr); help() }
func (e *Engine) listen(addr string) {}
func (o *Other) listen(addr string) {}
""",
    "help.go": "package main\n\nfunc help() {}\n",
}


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    root, home = tmp_path / "root", tmp_path / "home"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    home.mkdir(mode=0o700)
    made = Indexer(ProjectContext("0" * 12, "shop", str(root), str(home)), max_file_bytes=10**6, workers=1)
    made.update()
    yield made
    made.close()


@pytest.fixture
def graph(indexer: Indexer) -> SymbolGraph:
    return SymbolGraph(indexer.symbols, "shop")


def callers(graph: SymbolGraph, symbol: str) -> dict[str, str]:
    return {edge.caller.qualified if edge.caller else "": edge.resolution for edge in graph.callers(symbol).edges}


def callees(graph: SymbolGraph, symbol: str) -> dict[str, str]:
    return {edge.callee.qualified: edge.resolution for edge in graph.callees(symbol) if edge.called}


def test_how_mentions_are_resolved(graph: SymbolGraph) -> None:
    assert callers(graph, "total") == {"Cart.price": "import", "rounded": "local"}
    assert callers(graph, "Cart.check") == {"Cart.save": "local", "reader": "type"}
    assert callers(graph, "store.write") == {"Cart.save": "import"}, "f.write is a file's"
    assert callers(graph, "Cart") == {"test_price": "import"}
    assert callers(graph, "send") == {"go": "import"}
    assert callers(graph, "Engine.listen") == {"Engine.Run": "type"}
    assert callers(graph, "help") == {"Engine.Run": "package"}
    assert callees(graph, "Cart.save") == {"Cart.check": "local", "write": "import"}
    assert callees(graph, "Engine.Run") == {"Engine.listen": "type", "help": "package"}


def test_an_unknown_object_is_resolved_by_name_and_says_so(graph: SymbolGraph) -> None:
    edges = {edge.caller.qualified: edge for edge in graph.callers("Cart.price").edges if edge.caller}
    assert edges["Cart.check"].resolution == "local"
    assert edges["total"].resolution == "unique"
    assert edges["test_price"].path == "tests/test_cart.py"
    assert [edge.path for edge in graph.callers("Cart.price").edges][-1] == "tests/test_cart.py", "tests last"


@pytest.mark.parametrize(
    "symbol",
    ["Cart.price", "price", "shop/cart.py:price", "cart.py:Cart.price", "Cart::price", "shop.cart.Cart.price", "PRICE"],
)
def test_ways_to_name_a_symbol(graph: SymbolGraph, symbol: str) -> None:
    assert [one.qualified for one in graph.find(symbol)] == ["Cart.price"]


@pytest.mark.parametrize("symbol", ["prices", "Carrt", "a" * 5000, "'; DROP TABLE files; --", "", ".", "::", "é\u202e"])
def test_an_unknown_symbol_names_what_is_near(graph: SymbolGraph, symbol: str) -> None:
    with pytest.raises(NotFoundError, match="defines no symbol") as caught:
        graph.find(symbol)
    assert caught.value.exit_code == 4
    if symbol == "Carrt":
        assert "Cart" in caught.value.message


def test_search_by_name_part_and_humps(graph: SymbolGraph) -> None:
    assert graph.search("Cart")[0].qualified == "Cart"
    assert graph.search("pri")[0].qualified == "Cart.price"
    assert [one.qualified for one in graph.search("tp")] == ["test_price"]
    assert {one.kind for one in graph.search("", kind="class")} == {"class"}
    assert {one.path for one in graph.search("", path="web")} == {"web/a.ts", "web/b.ts"}
    assert len(graph.search("", limit=3)) == 3


def test_a_changed_file_replaces_its_own_symbols_only(indexer: Indexer, graph: SymbolGraph) -> None:
    root = Path(indexer.context.root)
    assert "rounded" in callers(graph, "total")
    (root / "shop/money.py").write_text("def total(items):\n    return 0\n")
    (root / "shop/new.py").write_text("from shop.money import total\n\n\ndef fresh():\n    total([])\n")
    (root / "web/a.ts").unlink()
    indexer.update()
    assert callers(graph, "total") == {"Cart.price": "import", "fresh": "import"}
    assert callers(graph, "send") == {}
    with pytest.raises(NotFoundError):
        graph.find("go")


def test_a_missing_or_damaged_file_is_made_anew(indexer: Indexer, graph: SymbolGraph) -> None:
    indexer.symbols.close()
    os.unlink(indexer.symbols.path)
    with pytest.raises(IndexDamaged, match="missing"):
        graph.find("total")
    assert indexer.update().reason == "the symbols are missing"
    assert graph.find("total")
    indexer.symbols.close()
    Path(indexer.symbols.path).write_bytes(b"not a database" * 100)
    for suffix in ("-wal", "-shm"):
        Path(indexer.symbols.path + suffix).unlink(missing_ok=True)
    assert indexer.update(rebuild=True).rebuilt
    assert graph.find("total")


def test_nothing_of_it_is_readable_by_others(indexer: Indexer) -> None:
    assert os.stat(indexer.symbols.path).st_mode & 0o077 == 0


@pytest.mark.parametrize("budget", [0, 10, 40, 200, 10_000])
def test_a_map_never_exceeds_its_budget(graph: SymbolGraph, budget: int) -> None:
    drawn = repository_map(graph, lambda text: len(text.split()), budget)
    assert drawn.tokens == len(drawn.text.split()) <= budget
    assert all(not entry.path.startswith("tests/") for entry in drawn.entries)
    if budget == 10_000:
        assert {entry.path for entry in drawn.entries} >= {"shop/cart.py", "main.go", "web/b.ts"}


def test_what_much_calls_comes_first_and_a_focus_changes_that(graph: SymbolGraph) -> None:
    everywhere = repository_map(graph, lambda text: len(text.split()), 25)
    assert everywhere.entries
    focused = repository_map(graph, lambda text: len(text.split()), 25, graph.focus("web"))
    assert focused.entries[0].path.startswith("web/")
    assert graph.focus("total")[0].qualified == "total"
    with pytest.raises(NotFoundError):
        graph.focus("no/such/place")


def test_what_a_large_update_leaves_for_afterwards_comes_out_the_same(tmp_path: Path, indexer: Indexer) -> None:
    at_once = SymbolGraph(indexer.symbols, "shop")
    home = tmp_path / "other"
    home.mkdir(mode=0o700)
    later = Indexer(ProjectContext("1" * 12, "shop", indexer.context.root, str(home)), max_file_bytes=10**6, workers=2)
    for i in range(600):  # more than is prepared in this process
        Path(indexer.context.root, f"many{i}.py").write_text(f"def f{i}():\n    total([{i}])\n")
    later.update()
    assert len(later.symbols.pending(10_000)) >= 600
    assert later.complete_symbols() >= 600
    assert later.symbols.pending(1) == []
    graph = SymbolGraph(later.symbols, "shop")
    for symbol in ("Cart.check", "Cart.price", "send", "Engine.listen", "help"):
        assert callers(graph, symbol) == callers(at_once, symbol)
    assert "f599" in callers(graph, "total")
    (Path(indexer.context.root) / "many0.py").unlink()
    later.update()
    assert "f0" not in callers(graph, "total")
    later.close()


MORE_FILES = {
    "app/base.py": """class Base:
    def __init__(self, handler=None):
        self.handler = handler

    def run(self):
        return self.handler

""",
    "app/views.py": """from .base import Base
from . import jobs


class View(Base):
    def show(self):
        self.run()
        super().run()
        return None


def index(request):
    return View(handler=jobs.work)


def shadowed(jobs):
    return jobs
""",
    "app/jobs.py": """def work():
    pass


""",
    "app/urls.py": "from app import views\n\nurlpatterns = [('', views.index)]\n",
    "c/a.c": '#include "a.h"\nstatic int hidden(int x)\n{\n  return x;\n}\nvoid *malloc(unsigned long);\n'
    "int shown(int x)\n{\n  return hidden(x);\n}\n",
    "c/a.h": "int shown(int x);\n",
    "c/b.c": '#include "a.h"\nint user(void)\n{\n  malloc(1);\n  return shown(1) + hidden(2);\n}\n',
    "src/lib.rs": "pub struct Walk;\n\nimpl Walk {\n    pub fn new() -> Walk { Walk }\n}\n\nfn start() {\n"
    "    let w = Walk::new();\n}\n",
    "lib/app.rb": "class App\n  def call\n    route!\n    helper :x\n  end\n\n  def route!\n  end\n\n"
    "  def helper(name)\n  end\nend\n",
}


@pytest.fixture
def more(indexer: Indexer, graph: SymbolGraph) -> SymbolGraph:
    for path, text in MORE_FILES.items():
        file = Path(indexer.context.root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    indexer.update()
    return graph


def relations(graph: SymbolGraph, symbol: str) -> set[tuple[str, str, str]]:
    return {
        (edge.caller.qualified if edge.caller else "", edge.resolution, "call" if edge.called else "reference")
        for edge in graph.callers(symbol).edges
    }


def test_names_that_are_handed_over_or_inherited_are_references(more: SymbolGraph) -> None:
    assert relations(more, "work") == {("index", "import", "reference")}
    assert relations(more, "Base") == {("View", "import", "reference")}
    assert relations(more, "views.index") == {("urlpatterns", "import", "reference")}
    assert ("start", "local", "reference") in relations(more, "Walk")
    assert more.callers("work").edges[0].as_json()["relation"] == "reference"


def test_methods_of_base_classes_are_found(more: SymbolGraph) -> None:
    assert relations(more, "Base.run") == {("View.show", "type", "call")}


def test_what_c_files_keep_for_themselves_is_not_called_from_elsewhere(more: SymbolGraph) -> None:
    assert relations(more, "hidden") == {("shown", "local", "call")}
    assert relations(more, "malloc") == set()
    assert {one[0] for one in relations(more, "shown")} == {"user"}


def test_ruby_calls_without_parentheses(more: SymbolGraph) -> None:
    assert relations(more, "route!") == {("App.call", "local", "call")}
    assert relations(more, "App.helper") == {("App.call", "local", "call")}


def test_centrality_counts_sure_mentions_and_follows_the_index(more: SymbolGraph) -> None:
    network = more.network()
    central = {one.qualified: float(value) for one, value in zip(network.definitions, network.centrality, strict=True)}
    assert central["Base"] >= 1.0
    assert more.network() is network
    more.store.replace(["app/views.py"], ())
    central = {
        one.qualified: float(value)
        for one, value in zip(more.network().definitions, more.network().centrality, strict=True)
    }
    assert central["Base"] == 0.0


def test_symbols_of_another_version_are_made_anew(indexer: Indexer, graph: SymbolGraph) -> None:
    indexer.symbols.close()
    with sqlite3.connect(indexer.symbols.path) as database:
        database.execute("PRAGMA user_version = 1")
    database.close()
    assert not indexer.symbols.exists()
    with pytest.raises(IndexDamaged, match="version"):
        graph.find("total")
    assert indexer.update().rebuilt
    assert graph.find("total")


def test_symbols_of_a_removed_file_go_even_if_the_update_was_killed(indexer: Indexer, graph: SymbolGraph) -> None:
    Path(indexer.context.root, "shop/money.py").unlink()
    indexer.table.replace_files(["shop/money.py"], [])  # and then it was killed
    indexer.update()
    with pytest.raises(NotFoundError):
        graph.find("rounded")
    assert graph.find("Cart.price")


def test_a_map_shows_each_thing_once_and_types_before_macros(indexer: Indexer, graph: SymbolGraph) -> None:
    root = Path(indexer.context.root)
    (root / "m.h").write_text("#define USE(x) (x)\nint shown(int x);\n")
    (root / "m.c").write_text(
        '#include "m.h"\nint shown(int x)\n{\n  return USE(x);\n}\n'
        + "".join(f"int f{i}(int x)\n{{\n  return shown(USE(x));\n}}\n" for i in range(9))
    )
    indexer.update()
    drawn = repository_map(graph, lambda text: len(text.split()), 10_000)
    assert [one.path for entry in drawn.entries for one in entry.definitions if one.name == "shown"] == ["m.c"]
    for budget in range(2, 60):
        names = [
            one.name
            for entry in repository_map(graph, lambda text: len(text.split()), budget).entries
            for one in entry.definitions
        ]
        assert "USE" not in names or "shown" in names

from __future__ import annotations

import pytest

from gardener.training.functions import functions_in

PYTHON = '''import os


class Store:
    @property
    def path(self) -> str:
        """Where it lies."""
        # made when it is needed

        return os.path.join(
            self.home,
            "store",
        )

    async def load(
        self,
        name: str,
    ) -> bytes:
        return await read(name)


def bare(): return 1
'''
TYPESCRIPT = """/** Adds two numbers. */
export const add = async (a: number, b: number): Promise<number> => {
  const sum = a + b;
  return sum;
};

class Shop {
  /* inside */
  sell(item: Item): void {
    this.items.delete(item);
  }
}
"""
GO = """package shop

// Sell gives the item away.
func (s *Shop) Sell(item Item) error {
\tif item.Gone() {
\t\treturn errGone
\t}
\treturn s.remove(item)
}
"""
C = """/* Counts. */
static int
count(const char *text)
{
    int n = 0;
    while (*text++) n++;
    return n;
}

int declared(void);
"""


def test_python() -> None:
    path, load, bare = functions_in("a.py", PYTHON).functions
    assert path.symbol == "Store.path"
    assert path.head == "@property\ndef path(self) -> str:"
    assert path.documentation == "Where it lies."
    assert path.body.splitlines()[0] == "    # made when it is needed"
    assert path.body.splitlines()[-4:] == [
        "    return os.path.join(",
        "        self.home,",
        '        "store",',
        "    )",
    ]
    assert "Where it lies" not in path.body
    assert load.head == "async def load(\n    self,\n    name: str,\n) -> bytes:"
    assert load.body == "    return await read(name)"
    assert (bare.head, bare.body, bare.start_line) == ("def bare():", "return 1", 22)


@pytest.mark.parametrize(
    ("name", "text", "symbol", "head", "first", "last"),
    [
        ("a.ts", TYPESCRIPT, "add", "export const add = async (a: number, b: number): Promise<number> =>", "{", "}"),
        ("a.ts", TYPESCRIPT, "Shop.sell", "sell(item: Item): void", "{", "}"),
        ("a.go", GO, "Shop.Sell", "func (s *Shop) Sell(item Item) error", "{", "}"),
        ("a.c", C, "count", "static int\ncount(const char *text)", "{", "}"),
    ],
)
def test_other_languages(name: str, text: str, symbol: str, head: str, first: str, last: str) -> None:
    found = {function.symbol: function for function in functions_in(name, text).functions}
    assert found[symbol].head == head
    lines = found[symbol].body.splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_what_has_no_body_or_no_grammar_is_none() -> None:
    assert [function.symbol for function in functions_in("a.c", C).functions] == ["count"]
    assert functions_in("a.xyz", "what is this").functions == ()
    assert functions_in("a.py", "").functions == ()
    assert functions_in("a.py", "def (((\n").functions == ()

"""Wrong words: what was wrong, the nearest right one, and the command to type."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Gardener


@pytest.mark.parametrize(
    ("typed", "said", "step"),
    [
        ("backup creat", "`gardener backup` has no 'creat'. Did you mean 'create'?", "gardener backup create"),
        ("config sett a b", "`gardener config` has no 'sett'. Did you mean 'set'?", "gardener config set"),
        ("usage --by dya", "--by cannot be 'dya'. Did you mean 'day'?", "gardener usage --by day"),
        ("logs nope", "`gardener logs` has no 'nope'. It can be main, error, audit", "gardener logs --help"),
        ("disk --clen", "has no option '--clen'. Did you mean --clean?", "gardener disk --help"),
        ("chat nope", "`gardener chat` does not know what to do with 'nope'.", "gardener chat --help"),
        ("search -n x y", "--limit/-n takes a whole number, not 'x'.", "gardener search --help"),
        ("serve --port 99999", "--port is between 0 and 65535, not 99999.", "gardener serve --port 0"),
        ("add", "The following arguments are required: PATH.", "gardener add --help"),
    ],
)
def test_wrong_words_are_answered_with_right_ones(gardener: Gardener, typed: str, said: str, step: str) -> None:
    answer = gardener(*typed.split())
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err and answer.err.endswith(f"\n  try: {step}\n")

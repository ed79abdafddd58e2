"""Lines of a file for people to look at: the right ones, quickly, without the secrets."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gardener.index import source
from gardener.index.source import REDACTED_AROUND, view_source

KEY = [
    "-----BEGIN RSA PRIVATE KEY-----",
    *("MIIEpAIBAAKCAQEA" + "qZ8k" * 12 for _ in range(600)),
    "-----END RSA PRIVATE KEY-----",
]


def test_lines_in_the_middle_of_a_million(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text("".join(f"x{number} = {number}\n" for number in range(1, 1_000_001)))
    view = view_source(str(tmp_path), "big.py", 700_000, 700_002, 100_000_000)
    assert view.lines == ("x700000 = 700000", "x700001 = 700001", "x700002 = 700002")
    assert (view.start_line, view.total_lines, view.language) == (700_000, 1_000_000, "python")
    assert view.sha256 == hashlib.sha256("\n".join(view.lines).encode()).hexdigest()
    assert view_source(str(tmp_path), "big.py", 1_000_000, 1_000_009, 100_000_000).lines == ("x1000000 = 1000000",)
    assert view_source(str(tmp_path), "big.py", 1_000_001, 1_000_009, 100_000_000).lines == ()


def test_only_a_window_is_searched_for_secrets(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "big.py").write_text("x = 1\n" * 100_000)
    seen: list[int] = []
    whole = source.redact

    def counting(text: str, path: str):  # type: ignore[no-untyped-def]
        seen.append(text.count("\n") + 1)
        return whole(text, path)

    monkeypatch.setattr(source, "redact", counting)
    view_source(str(tmp_path), "big.py", 50_000, 50_009, 100_000_000)
    assert seen == [10 + 2 * REDACTED_AROUND]


def test_a_key_that_begins_and_ends_outside_the_lines_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "key.py").write_text("\n".join(['K = """', *KEY, '"""', "y = 1", ""]))
    for start, end in ((300, 310), (2, 3), (1, 610)):
        view = view_source(str(tmp_path), "key.py", start, end, 1_000_000)
        assert view.exists and "qZ8kqZ8k" not in "\n".join(view.lines)
    assert view_source(str(tmp_path), "key.py", 605, 605, 1_000_000).lines == ("y = 1",)

"""docs/security.md names the test behind each claim; a test that is renamed or removed takes its claim with it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_claim_is_held_by_a_test_that_exists() -> None:
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", document)
    assert len(named) > 30
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if "fixtures" not in file.parts]
    missing = [
        f"{name}::{test}" for name, test in named if not any(_has(file, test) for file in files if file.name == name)
    ]
    assert missing == []


def test_every_row_of_the_defence_names_a_test() -> None:
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    defended = document.split("## What is defended", 1)[1].split("## What is not defended", 1)[0]
    rows = [line for line in defended.splitlines() if line.startswith("| ") and "| Claim |" not in line]
    assert rows and all("::test_" in row for row in rows)


def _has(file: Path, test: str) -> bool:
    return f"def {test}(" in file.read_text(encoding="utf-8")

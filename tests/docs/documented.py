"""What the documents tell a reader to type, taken out of their fenced blocks, with the output that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LANGUAGES = {"console", "python", "toml", "yaml", "json", "text", "ini"}
"""What a fence may say it holds; what is typed stands in `console`, behind `$ `."""
_FENCE = re.compile(r"^( *)```(.*)$")


def documents() -> list[Path]:
    """Every page that a user reads: what begins the repository, docs/ and runbooks/. History is not a page."""
    found = [TOP / "README.md", TOP / "CONTRIBUTING.md", *TOP.glob("docs/**/*.md"), *TOP.glob("runbooks/*.md")]
    return sorted(found)


@dataclass(slots=True)
class Command:
    """One line to type, without its comment; `shown` are the lines of output that the page puts below it."""

    page: str
    line: int
    text: str
    shown: list[str] = field(default_factory=list)
    section: str = ""
    """The heading of second order above it."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Fence:
    page: str
    line: int
    language: str
    lines: tuple[str, ...]
    section: str


def fences(page: Path) -> Iterator[Fence]:
    """The fenced blocks of one page. Raises AssertionError for one that is not closed."""
    name, opened, inside, section = page.relative_to(TOP).as_posix(), 0, "", ""
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and not opened:
            opened, inside, lines = number, mark[2].strip(), []
        elif mark and opened:
            yield Fence(name, opened, inside, tuple(lines), section)
            opened = 0
        elif opened:
            lines.append(line)
        elif line.startswith("## "):
            section = line[3:].strip()
    assert not opened, f"{name}:{opened}: this block is not closed"


def commands(page: Path) -> list[Command]:
    """Every command of a page's console blocks in order; a line that ends in a backslash goes on in the next."""
    found: list[Command] = []
    for fence in fences(page):
        if fence.language != "console":
            continue
        continued = False
        for offset, line in enumerate(fence.lines, 1):
            if continued:
                found[-1].text += " " + line.strip().removesuffix("\\").strip()
            elif line.startswith("$ "):
                text = without_comment(line[2:])
                text = text.removesuffix("\\").strip()
                found.append(Command(fence.page, fence.line + offset, text, section=fence.section))
            else:
                assert found, f"{fence.page}:{fence.line}: a console block begins with what is typed"
                found[-1].shown.append(line)
            continued = line.endswith("\\") and (continued or line.startswith("$ "))
    return found


def without_comment(line: str) -> str:
    """The line without what follows a `#` that stands alone and outside of quotes."""
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and line[position - 1 : position] in ("", " "):
            return line[:position].rstrip()
    return line.rstrip()


def inline_mentions(page: Path) -> Iterator[tuple[int, str]]:
    """Each `gardener …` in the running text, with its line."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield from ((number, said) for said in re.findall(r"`(gardener(?: [^`]+)?)`", line))


def shape(line: str) -> str:
    """A line of output without what differs between two runs: numbers, units of size, hashes, and spaces."""
    line = re.sub(r"\b[0-9a-f]{7,64}\b", "#", line)
    line = re.sub(r"~?\d[\d,.:-]*", "#", line)
    line = re.sub(r"# (?:B|kB|MB|GB|TB)\b", "# B", line)
    return " ".join(line.split())


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines that a page shows and a run did not print, in shape. `…` in a shown line stands for anything."""
    rest = [shape(line) for line in printed.splitlines()]
    absent = []
    for line in shown:
        wanted = re.compile(".*".join(re.escape(part.strip()) for part in shape(line).split("…")))
        for position, candidate in enumerate(rest):
            if wanted.fullmatch(candidate):
                del rest[: position + 1]
                break
        else:
            if line.strip() not in ("", "…"):
                absent.append(line)
    return absent

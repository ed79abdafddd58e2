"""The project that the pages talk about, so that their commands find what they name: a small shop."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

FILES = {
    "README.md": "# shop\n\nTakes orders, prices them and sends the bill.\n\n## Sessions\n\nCookies are signed.\n",
    "src/orders.py": '''"""Orders and what they cost."""

from src.http import send


class Model:
    def save(self) -> None:
        """Writes the record to the database."""
        send("/records", {"id": id(self)})

    @classmethod
    def get_or_create(cls) -> "Model":
        """The record, made when there is none."""
        return cls()


class Order(Model):
    def __init__(self, lines: list[tuple[int, float]]) -> None:
        self.lines = lines

    def price(self) -> float:
        """Prices an order: the sum of its lines with tax."""
        return with_tax(sum(count * each for count, each in self.lines))


def with_tax(net: float, rate: float = 0.19) -> float:
    """Adds value added tax to a net price."""
    return round(net * (1 + rate), 2)


def bill(order: Order) -> str:
    """The bill for one order as a line of text."""
    return f"{order.price():.2f} EUR"
''',
    "src/http.py": '''"""Sends requests, and tries again when the network fails."""

import hashlib
import hmac
import time


def send(path: str, body: dict[str, object], attempts: int = 3) -> str:
    """Sends a request; retries with exponential backoff when the connection breaks."""
    for attempt in range(attempts):
        try:
            return parse_header(f"{path}: {len(body)}")[0]
        except OSError:
            time.sleep(2**attempt)
    raise OSError(path)


def parse_header(line: str) -> tuple[str, str]:
    """Splits a header line into its name and its value."""
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def sign_cookie(session: str, key: bytes) -> str:
    """Signs the session cookie, so that nobody can forge one."""
    return f"{session}.{hmac.new(key, session.encode(), hashlib.sha256).hexdigest()}"


def rate_limit(calls: list[float], per_minute: int) -> bool:
    """Whether one more request stays within the rate limit."""
    return len([call for call in calls if call > time.time() - 60]) < per_minute


class Server:
    def make_response(self, body: str) -> bytes:
        """The bytes that answer a request."""
        return body.encode()

    def handle(self, line: str) -> bytes:
        return self.make_response(parse_header(line)[1])
''',
    "src/dates.py": '''"""Dates as customers write them."""

import datetime


def parse_date(text: str) -> datetime.date:
    """Parses a date, year first or day first."""
    parts = [int(part) for part in text.replace(".", "-").split("-")]
    return datetime.date(*parts) if parts[0] > 31 else datetime.date(parts[2], parts[1], parts[0])


def is_weekend(day: datetime.date) -> bool:
    """Whether nothing is delivered on that day."""
    return day.weekday() > 4
''',
}


def write_shop(root: Path) -> Path:
    """The project with two commits; part of the json package makes it less small."""
    (root / "src/parser").mkdir(parents=True)
    for name in ("decoder.py", "scanner.py"):
        shutil.copy(Path(json.__file__).parent / name, root / "src/parser")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    _git(root, "init", "-q")
    _git(root, "add", "src/parser", "src/http.py", "README.md")
    _git(root, "commit", "-q", "-m", "Parse documents and send requests")
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "Orders are priced with tax, dates are parsed")
    return root


def write_blog(root: Path) -> Path:
    """A second project."""
    root.mkdir(parents=True)
    (root / "posts.py").write_text(
        'def publish(post: str) -> str:\n    """Publishes a post."""\n    return post.title()\n'
    )
    return root


def _git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)

"""Keeping credentials out of the index: our own patterns first, then detect-secrets where a line looks odd.

detect-secrets takes 0.1 s to import (it brings an HTTP client) and microseconds for each line and plugin, so
it only sees lines with a long random-looking run in which our patterns found nothing. Its plugins are used
one by one, without its scanner, which would ask the issuers over the network whether a credential works.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from gardener.secret_patterns import Span, merge_spans, redact_bytes, replace_spans
from gardener.secret_tokens import is_varied, long_runs


class Finding(NamedTuple):
    """A credential that was left out: where it stood, and what kind it was. Never the credential."""

    line: int
    """1-based, in the redacted text as in the original."""
    kind: str


class Redaction(NamedTuple):
    text: str
    """The same lines, with "[redacted:<kind>]" in place of each credential."""
    findings: tuple[Finding, ...]


_PLUGINS = (
    ("artifactory", "ArtifactoryDetector"),
    ("cloudant", "CloudantDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("ibm_cloud_iam", "IbmCloudIamDetector"),
    ("ibm_cos_hmac", "IbmCosHmacDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("softlayer", "SoftlayerDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("stripe", "StripeDetector"),
)
"""Module and class of the plugins with a format of their own. Those that guess (entropy, keywords, addresses)
would redact hashes and test data; our patterns judge keywords by their values."""

_MIN_CHANGES = 6
"""A run changes this often between digit and letter when it is random; identifiers and dates do less."""
_CHANGE = re.compile(rb"[0-9][A-Za-z]|[A-Za-z][0-9]")
_HASH = re.compile(rb"[0-9a-f_-]+\Z|[0-9A-F_-]+\Z")
_LONGEST_RUN = 512
_AROUND = 200
_MAX_PLACES = 2_000
"""A file with more of them is data, and credentials with a prefix that we know are found in any case."""
_MOST_PASSES = 8
"""Over a text in which something was found. Credentials that stand side by side that often are somebody's joke."""
_SHORTEST_SECRET = 12

# Formats in which an unquoted value after "password:" is the password, not a variable.
_LOOSE_EXTENSIONS = frozenset(
    {
        "env",
        "ini",
        "cfg",
        "conf",
        "config",
        "cnf",
        "cf",
        "properties",
        "toml",
        "yaml",
        "yml",
        "tf",
        "hcl",
        "plist",
    }
    | {"sh", "bash", "zsh", "fish", "ps1", "bat", "cmd", "service", "desktop", "dockerfile", "mk"}
    | {"md", "markdown", "rst", "txt", "adoc", "org", "http", "rest", "csv", "log", "npmrc", "pypirc"}
)
_LOOSE_NAMES = frozenset({"dockerfile", "makefile", "procfile", "jenkinsfile", "vagrantfile", "containerfile"})


def redact(text: str, path: str) -> Redaction:
    """`text` without the credentials in it; `path` (relative, POSIX) tells configuration from program code.

    Line breaks and the rest of each line stay, so line numbers hold. Idempotent; linear in the text's size.
    """
    done = _redact_once(text, path)
    for _ in range(_MOST_PASSES):
        if not done.findings:
            break
        # Where two stood side by side without anything between, the second one begins only now that the first is gone.
        more = _redact_once(done.text, path)
        if not more.findings:
            break
        done = Redaction(more.text, tuple(sorted(done.findings + more.findings)))
    return done


def _redact_once(text: str, path: str) -> Redaction:
    loose = is_loose(path)
    original = text.encode("utf-8", "surrogatepass")
    runs = long_runs(original)
    data, found = redact_bytes(original, loose=loose, runs=runs)
    suspects = _suspect_places(data, runs)
    if suspects:
        spans = merge_spans([span for start, end in suspects for span in _ask_plugins(data, start, end)])
        if spans:
            data = replace_spans(data, spans, found)
            data, rest = redact_bytes(data, loose=loose)
            found = sorted(found + rest)
    if not found:
        return Redaction(text, ())
    return Redaction(data.decode("utf-8", "surrogatepass"), tuple(Finding(line, kind) for line, kind in found))


def is_loose(path: str) -> bool:
    """Whether a file of this name holds values without quotes: configuration, shell, prose."""
    name = path.rpartition("/")[2].lower()
    stem, dot, extension = name.rpartition(".")
    return extension in _LOOSE_EXTENSIONS or name in _LOOSE_NAMES or not dot or (not stem and bool(dot))


def _suspect_places(data: bytes, runs: bytes) -> list[tuple[int, int]]:
    """(start, end) of each line that holds a random-looking run; of a long line, what is around the run."""
    places: set[tuple[int, int]] = set()
    for run in {run for run in runs.split(b"\n") if _is_random_looking(run)}:
        position = data.find(run)
        while position >= 0 and len(places) < _MAX_PLACES:
            start = max(data.rfind(b"\n", 0, position) + 1, position - _AROUND)
            end = data.find(b"\n", position + len(run))
            end = min(len(data) if end < 0 else end, position + len(run) + _AROUND)
            places.add((start, end))
            position = data.find(run, end)
    return sorted(places)


def _is_random_looking(run: bytes) -> bool:
    # The first characters are what stood before the run.
    return len(_CHANGE.findall(run)) >= _MIN_CHANGES and len(run) <= _LONGEST_RUN and not _HASH.match(run[6:])


class _Plugin(Protocol):
    secret_type: str

    def analyze_string(self, string: str) -> Iterator[str]: ...


@lru_cache(maxsize=1)
def _plugins() -> tuple[_Plugin, ...]:
    from importlib import import_module

    return tuple(getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in _PLUGINS)


def _ask_plugins(data: bytes, start: int, end: int) -> Iterator[Span]:
    """What detect-secrets finds in one place; only ASCII counts, so a character cut in two does no harm."""
    line = data[start:end].decode("utf-8", "replace")
    for plugin in _plugins():
        for secret in plugin.analyze_string(line):
            value = secret.encode()
            if len(value) < _SHORTEST_SECRET or not is_varied(value) or not value.isascii():
                continue
            # Formats grow: what goes on in the same characters belongs to it, although the plugin stopped.
            whole = re.compile(re.escape(value) + rb"[\w-]*")
            for match in whole.finditer(data, start, end):
                yield Span(match.start(), match.end(), _kind(plugin))


def _kind(plugin: _Plugin) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plugin.secret_type.lower()).strip("-")

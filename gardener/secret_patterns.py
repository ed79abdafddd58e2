"""Finding credentials in text and replacing them, fast enough for every file indexed and every line logged.

Three kinds: tokens with a prefix of their own (secret_tokens.py), private key blocks, and values that only
their context gives away: `password = "..."`, `Authorization: Bearer ...`, `postgres://user:...@host`. Of the
last, a value counts only when it looks made by a machine or chosen as a password (secret_values.py); names,
words, templates and placeholders are left alone, for an index full of holes is worth nothing.

Everything works on UTF-8 bytes: lower-casing ASCII keeps every offset, and bytes are the fastest to search.
Patterns begin with a fixed word and bound what follows, so hostile text costs linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gardener.secret_tokens import find_tokens, long_runs
from gardener.secret_values import is_random_token, is_secret_value, is_varied

MAX_PASSES = 4
"""Replacing may leave a new match; passes repeat until there is none, which makes redacting idempotent."""


class Span(NamedTuple):
    """A credential in encoded text: from byte `start` to `end`, exclusive. It holds no line break."""

    start: int
    end: int
    kind: str


def redact_text(text: str) -> str:
    """`text` with each credential replaced by "[redacted:<kind>]"; line breaks stay. For logs and prompts.

    Cheap for text that has none (microseconds a line) and idempotent. Unquoted values count: `password=...`.
    """
    data = text.encode("utf-8", "surrogatepass")
    redacted, findings = redact_bytes(data, loose=True)
    return redacted.decode("utf-8", "surrogatepass") if findings else text


def redact_bytes(data: bytes, *, loose: bool, runs: bytes | None = None) -> tuple[bytes, list[tuple[int, str]]]:
    """The redacted text, and (1-based line, kind) of each finding, in order. Both texts are UTF-8.

    `loose` also takes unquoted values after `password=` and the like, which in program code are variables.
    `runs` are the text's `long_runs`, for who has them already.
    """
    findings: list[tuple[int, str]] = []
    for _ in range(MAX_PASSES):
        spans = find_spans(data, loose=loose, runs=long_runs(data) if runs is None else runs)
        if not spans:
            break
        data = replace_spans(data, spans, findings)
        runs = None
    return data, sorted(findings)


def replace_spans(data: bytes, spans: list[Span], findings: list[tuple[int, str]]) -> bytes:
    """`data` with the spans replaced; appends (line, kind) of each, private keys once, to `findings`."""
    pieces: list[bytes] = []
    position = 0
    line = 1
    previous = (0, "")
    for span in spans:
        gap = data[position : span.start]
        pieces += (gap, b"[redacted:", span.kind.encode(), b"]")
        line += gap.count(b"\n")
        position = span.end
        continued = span.kind == previous[1] == "private-key" and line == previous[0] + 1
        previous = (line, span.kind)
        if not continued:
            findings.append(previous)
    pieces.append(data[position:])
    return b"".join(pieces)


def find_spans(data: bytes, *, loose: bool, runs: bytes) -> list[Span]:
    """Every credential in UTF-8 encoded text, in order and without overlaps."""
    found = [Span(*token) for token in find_tokens(data, runs)]
    lowered = data.lower()
    found += _find_private_keys(data, lowered)
    found += _find_in_urls(data)
    found += _find_authorization(data, lowered)
    found += _find_aws_secrets(data, lowered)
    found += _find_assigned(data, lowered, loose)
    return merge_spans(found)


def merge_spans(found: list[Span]) -> list[Span]:
    """Sorted, with overlapping ones joined; the name of the one that was found first stays."""
    if len(found) < 2:
        return found
    order = {id(span): number for number, span in enumerate(found)}
    merged: list[Span] = []
    first = 0
    for span in sorted(found, key=lambda span: (span.start, span.end)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            number = order[id(span)]
            kind = span.kind if number < first else last.kind
            first = min(first, number)
            merged[-1] = Span(last.start, max(last.end, span.end), kind)
        else:
            merged.append(span)
            first = order[id(span)]
    return merged


# ---- Private keys -----------------------------------------------------------------------------------------

_BEGIN_KEY = re.compile(rb"-----begin (?:[a-z0-9 ]{1,30} )?private key(?: block)?-----|putty-user-key-file-\d:")
_END_KEY = re.compile(rb"-----end (?:[a-z0-9 ]{1,30} )?private key(?: block)?-----|private-mac: ?[0-9a-f]*")
_KEY_LINE = re.compile(
    rb"[\s\"'`+,|>#*/.\\(n-]*"
    rb"(?:[A-Za-z0-9+/]{16,}=*|[A-Za-z0-9+/]{1,15}={1,2}|(?=[^\s]*[0-9])[A-Za-z0-9+/]{4,15}|[A-Za-z-]{2,20}: [^\n]*)"
    rb"[\s\"'`+,;\\)n-]*\Z"
)
_KEY_BODY = re.compile(rb"[A-Za-z0-9+/=]{20}")
_LONGEST_KEY = 64 * 1024


def _find_private_keys(data: bytes, lowered: bytes) -> Iterator[Span]:
    if b"private key" not in lowered and b"putty-user-key" not in lowered:
        return
    begins = list(_BEGIN_KEY.finditer(lowered))
    done = 0
    for number, begin in enumerate(begins):
        if begin.start() < done:
            continue
        # Up to the next beginning at most: many of them without an end would be searched again and again.
        limit = begins[number + 1].start() if number + 1 < len(begins) else len(data)
        limit = min(limit, begin.end() + _LONGEST_KEY)
        end = _END_KEY.search(lowered, begin.end(), limit)
        # Cut off: the lines that look like a key's body, and no more.
        done = end.end() if end is not None else _end_of_body(data, begin.end(), limit)
        if _KEY_BODY.search(data, begin.end(), done):
            yield from _lines(data, begin.start(), done)


def _end_of_body(data: bytes, start: int, limit: int) -> int:
    end = start
    position = start
    while position < limit:
        newline = data.find(b"\n", position, limit)
        stop = newline if newline >= 0 else limit
        line = data[position:stop]
        if position > start and line.strip() and not _KEY_LINE.match(line[:1000]):
            break
        end = stop
        position = stop + 1
    return end


# A byte of a multi-byte character may be half of a line separator (U+2028), and no key has one.
_KEY_TEXT = re.compile(rb"[^\s\x1c-\x1e\x80-\xff](?:[^\r\n\x0b\x0c\x1c-\x1e\x80-\xff]*[^\s\x1c-\x1e\x80-\xff])?")


def _lines(data: bytes, start: int, stop: int) -> Iterator[Span]:
    """The span start..stop without its line breaks and indentation, line by line."""
    for match in _KEY_TEXT.finditer(data, start, stop):
        yield Span(match.start(), match.end(), "private-key")


# ---- URLs, headers, AWS -----------------------------------------------------------------------------------

_URL_PASSWORD = re.compile(rb"://[^\x00-\x20/:@\"'<>`?#\\]{0,128}:([^\x00-\x20/@\"'<>`\\]{3,256})@(?=[\w\[{$%.-])")
_BEARER = re.compile(rb"bearer[ \t:=]{1,3}[\"']?([a-z0-9._~+/=-]{16,2000})")
_AUTHORIZATION = re.compile(
    rb"authorization\\?[\"']?\]?[ \t]{0,4}[:=,][ \t]{0,4}[bru]{0,2}\\?[\"']?"
    rb"(?:(?:basic|token|bot|apikey|digest)[ \t]{1,3})?([a-z0-9._~+/=:-]{12,2000})"
)
_CURL_USER = re.compile(rb"curl[^\n]{0,300}?[ \t](?:-u|--user)[ \t=][\"']?[^\s:\"'$]{1,64}:([^\s\"'$]{4,128})")
_WEBHOOK = re.compile(
    rb"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/-]{16,200})|/api/webhooks/\d{16,20}/([\w-]{40,100})"
)
_SLACK_PATH = re.compile(rb"T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/([A-Za-z0-9]{20,})\Z")
"""Nobody writes this form for anything else, so that its last part need not have a digit."""
_NPM_TOKEN = re.compile(rb"_authtoken\"?[ \t]{0,2}[=:][ \t]{0,2}[\"']?([\w.~+/=-]{8,300})")
_AZURE_SIGNATURE = re.compile(rb"[?&;]sig=([a-z0-9%+/=]{30,120})")
_AWS_SECRET = re.compile(rb"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")


def _find_in_urls(data: bytes) -> Iterator[Span]:
    if b"://" not in data:
        return
    for match in _URL_PASSWORD.finditer(data):
        if is_secret_value(match[1], "url"):
            yield Span(*match.span(1), "url-password")


def _find_authorization(data: bytes, lowered: bytes) -> Iterator[Span]:
    for word, pattern, kind in (
        (b"bearer", _BEARER, "bearer-token"),
        (b"authorization", _AUTHORIZATION, "authorization"),
        (b"sig=", _AZURE_SIGNATURE, "azure-sas"),
        (b"_authtoken", _NPM_TOKEN, "npm-token"),
    ):
        if word in lowered:
            for match in pattern.finditer(lowered):
                start, end = match.span(1)
                before = lowered[max(0, match.start() - 48) : match.start()]
                if is_random_token(data[start:end]) and not _TYPE_NAME.search(before):
                    yield Span(start, end, kind)
    if b"hooks" in lowered:
        for match in _WEBHOOK.finditer(data):
            group = 1 if match[1] is not None else 2
            slack = group == 1 and _SLACK_PATH.match(match[1])
            if is_random_token(match[group]) or (slack and is_varied(slack[1])):
                yield Span(*match.span(group), "webhook")
    if b"curl" in lowered:
        for match in _CURL_USER.finditer(data):
            if is_secret_value(match[1], "password"):
                yield Span(*match.span(1), "password")


def _is_aws_secret(value: bytes) -> bool:
    return len(set(value)) >= 12 and all(re.search(kind, value) for kind in (rb"[A-Z]", rb"[a-z]", rb"[0-9]"))


def _find_aws_secrets(data: bytes, lowered: bytes) -> Iterator[Span]:
    """Forty characters of mixed kinds on a line that speaks of AWS; a git commit has no capitals."""
    position = lowered.find(b"aws")
    while position >= 0:
        start = lowered.rfind(b"\n", 0, position) + 1
        end = lowered.find(b"\n", position)
        end = len(data) if end < 0 else end
        for match in _AWS_SECRET.finditer(data, max(start, position - 500), min(end, position + 500)):
            value = match[0]
            if _is_aws_secret(value):
                yield Span(match.start(), match.end(), "aws-secret-key")
        position = lowered.find(b"aws", min(end, position + 500))


# ---- Values given to a telling name -----------------------------------------------------------------------

# What may stand between the telling word and its value: the rest of the name, quote, bracket, type, sign.
_REST = rb"([\w-]{0,32}+)"
_SIGN = (
    rb"(?:"
    rb"(\\{0,2}[\"'`])?\]?[ \t]{0,8}(?::[ \t]{0,2}[\w.\[\]|? ]{1,40}(?==))?(?:[=!]==?|:=|=>|[=:(])"
    rb"|\\{0,2}[\"'`][ \t]{0,4},"
    rb")[ \t]{0,8}"
)
_QUOTED = (
    rb"(?:[rbuf@$]{1,2})?\\{0,2}"
    rb"(?:\"([^\"\\\x00-\x20]{4,300})\\{0,2}\"|'([^'\\\x00-\x20]{4,300})\\{0,2}'|`([^`\\\x00-\x20]{4,300})`)"
)
_ELEMENT = rb">([^\x00-\x20<>&]{6,200})</"
_BARE = (
    rb"\\{0,2}[\"'`]?[ \t]{0,4}(?:=>|[=:])[ \t]{0,4}"
    rb"([^\x00-\x20\"'`,;&<>(){}\[\]|\\$%*][^\x00-\x20\"'`,;&<>(){}\[\]|\\]{5,200})(?=[\x00-\x20\"'`,;&<\\]|\Z)"
)
_BARE_GROUP = 7
"""Number of the last group below: the value that stands without quotes."""


def _family(family: str, name: bytes) -> re.Pattern[bytes]:
    pattern = re.compile(name + _REST + b"(?:" + _SIGN + _QUOTED + b"|" + _ELEMENT + b"|" + _BARE + b")")
    assert pattern.groups == _BARE_GROUP
    return pattern


_FAMILIES = tuple(
    (family, _family(family, name))
    for family, name in (
        ("password", rb"pass(?:word|wd|phrase|code|wort|(?![a-z]{2}))"),
        ("password", rb"pwd"),
        ("secret", rb"secret"),
        ("token", rb"token"),
        ("key", rb"key"),
    )
)

_KEY_OF = re.compile(
    rb"(?:api|access|account|auth|client|consumer|crypt|cipher|encryption|deploy|hmac|jwt|license|licence|master"
    rb"|priv|private|secret|service|session|shared|signing|sign|storage|subscription|app|application|server)[_.-]?\Z"
)
# A name that goes on like this holds a name, a place or a text about the credential, not the credential.
_NOT_THE_VALUE = re.compile(
    rb"(?:name|field|url|uri|path|file|dir|type|label|title|text|help|hint|msg|message|error|validators?|template"
    rb"|class|model|view|form|regex|pattern|param|header|env|var|variable|placeholder|prompt|length|algorithm|hasher"
    rb"|encoder|format|generator|expiry|expires|ttl|age|ref|version|endpoint|backend|column|prefix|suffix|policy"
    rb"|reset|change|changed|arn|s?id|hash|digest|size|count|index|attr|attribute|property|selector|input)s?\Z"
)
_TYPE_NAME = re.compile(rb"::\w*\Z")  # AWS::ApiGateway::ApiKey
_INSIDE_MARK = re.compile(rb"\[redacted:[a-z-]*\Z")
_ASSIGNED = re.compile(rb"[=:>]")
_PARAMETER = re.compile(rb"(?:[?&;\"'`]|--)[\w.-]{0,40}\Z")


def _find_assigned(data: bytes, lowered: bytes, loose: bool) -> Iterator[Span]:
    for family, pattern in _FAMILIES:
        for match in pattern.finditer(lowered):
            group = match.lastindex or 0
            start, end = match.span(group)
            bare = group == _BARE_GROUP
            # In program code a bare value is a variable, except in a query, a connection string, an option.
            if bare and not loose and not _PARAMETER.search(lowered[max(0, match.start() - 48) : match.start()]):
                continue
            # f("password", x) and check_password(x) are as often about names as about values.
            argument = not bare and not _ASSIGNED.search(lowered, match.end(1), start)
            if _is_telling(lowered, match, family) and is_secret_value(
                data[start:end], family, strict=bare or argument
            ):
                yield Span(start, end, family)


def _is_telling(lowered: bytes, match: re.Match[bytes], family: str) -> bool:
    before = lowered[max(0, match.start() - 32) : match.start()]
    if _INSIDE_MARK.search(before) or _TYPE_NAME.search(before) or _NOT_THE_VALUE.search(match[1]):
        return False
    return family != "key" or _KEY_OF.search(before) is not None

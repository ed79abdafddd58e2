"""Whether a value in a credential's place is one, or rather a placeholder, a name, a template, a word."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    rb"redacted|example|placeholder|dummy|fake|mock|sample|replace|change[_-]?(?:me|this|it)|insert[_-]?|your[_-]"
    rb"|[_-]your|yourpass|yoursecret|mypass|my[_-]?secret|xxx|\*\*\*|\.\.\.|todo|fixme|undefined|<[^>]*>|\$\{|\{\{"
    rb"|%\(|\$\(|not[_-]?set|no[_-]?secret|notasecret|not[_-]a[_-]|invalid|unused|lorem|foobar|deadbeef"
)
_SEQUENCE = re.compile(rb"(?:(?:0?123[4567890]*|9876[543210]*|abc[defghijklmnopqrstuvwxyz]*|qwerty|xyz|[-_.!])+|\d+)\Z")
_COMMON = re.compile(
    rb"(?:my|the|new|old|wrong|bad|good|some|test|another|other|user|admin|super|top|root|db|api|raw|plain|pass)?[_.-]?"
    rb"(?:pass(?:word|wd|phrase|code)?|pwd|secret|sekrit|token|key|test(?:ing|er|client|user|pass)?|admin|root|user"
    rb"|guest|demo|foo|bar|baz|hello|letmein|value|string|none|null|true|false|name|field|default)"
    rb"[_.-]?(?:test|key|token|value|string|here|again|abc)?[\d!]{0,4}\Z"
)
_TEMPLATE = re.compile(rb"[\$%{<@#&]|\[redacted:|.*(?:\{\w*\}|%[sdr](?:\W|\Z))")
_PLACE = re.compile(
    rb"(?:https?|file|ftp|s3|gs|arn|data|env|vault|secretsmanager|ssm|op|keyring):|\.{0,2}/|~/|[a-z]:\\", re.I
)
_ENCODED_HASH = re.compile(
    rb"(?:pbkdf2|sha\d|md5|bcrypt|argon2|scrypt|crypt|unsalted|plain|phpass)[\w]{0,20}\$"
    rb"|\$(?:2[abxy]?|argon2\w*|[156]|pbkdf2[\w-]*|scrypt|y)\$|\{ssha"
)
_DOTTED_NAME = re.compile(rb"[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)+\Z")
_WORDLIKE = re.compile(rb"(?:[A-Za-z]+\d{0,2}|\d{1,4}|[vV]\d+)\Z")
_SPLIT = re.compile(rb"[-_./:,+ ]+")
_UUID = re.compile(rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.I)
_LINE_BREAKS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_PUNCTUATION = b"!@#$%^&*?+~="

MIN_LENGTH = {"password": 6, "url": 3, "secret": 8, "token": 16, "key": 16}
"""Shortest value, in bytes, that counts for each kind of name. Keys and tokens are made by machines."""


def is_random_token(value: bytes) -> bool:
    """Whether a long value after "Bearer" or the like is varied, has a digit, and is no placeholder."""
    body = value.rstrip(b"=")
    return (
        len(set(body)) >= 8
        and any(48 <= char <= 57 for char in body)
        and not _PLACEHOLDER.search(value.lower())
        and not all(_WORDLIKE.match(part) for part in _SPLIT.split(body) if part)
    )


def is_varied(value: bytes) -> bool:
    """Whether what stands where only a token can stand is one, rather than a placeholder."""
    return len(set(value)) >= 8 and not _PLACEHOLDER.search(value.lower())


def is_secret_value(value: bytes, family: str, *, strict: bool = False) -> bool:
    """Whether `value`, given to a name of the family "password", "secret", "token", "key", "url", is secret.

    `strict` says that the place could hold a name or an expression as well: not quoted, or an argument.
    """
    lowered = value.lower()
    if len(value) < MIN_LENGTH[family] or (strict and len(value) < 8):
        return False
    if _PLACEHOLDER.search(lowered) or _TEMPLATE.match(lowered):
        return False
    if _COMMON.match(lowered) or _SEQUENCE.match(lowered):
        return False
    if value.count(value[:1]) == len(value) or _ENCODED_HASH.match(lowered):
        return False
    if not value.isascii() and _LINE_BREAKS.search(value.decode("utf-8", "replace")):
        return False
    if family == "url":
        return not lowered.isdigit() or len(lowered) > 5
    if _PLACE.match(value) or _DOTTED_NAME.match(value) or (b"(" in value and b")" in value):
        return False
    letters = any(65 <= char <= 90 or 97 <= char <= 122 for char in value)
    digits = any(48 <= char <= 57 for char in value)
    if family == "token" and _UUID.match(value):
        return False
    if family in ("token", "key"):
        return digits and letters and len(set(value)) >= 8 and not _is_wordlike(value)
    if not letters:
        return False
    if digits:
        if not _is_wordlike(value):
            return True
        # "hunter2": a word and a number is how people choose passwords, and how programmers name variables.
        return family == "password" and not strict and _SPLIT.search(value) is None
    # Without a digit it takes punctuation that neither names nor sentences have.
    return len(value) >= 10 and sum(char in _PUNCTUATION for char in value) >= 2


def _is_wordlike(value: bytes) -> bool:
    """Made of words and small numbers: an identifier, a file name, a version, a host."""
    return all(_WORDLIKE.match(part) for part in _SPLIT.split(value) if part)

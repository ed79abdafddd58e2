"""Credentials that give themselves away by their prefix: the issuers' documented token formats.

A text is cut down to its long runs of token characters before any prefix is looked for. Source code has few
of those, so looking for eighty prefixes in them costs less than looking for three in the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

SHORTEST_RUN = 20
"""Every token below has at least so many letters, digits, "_" and "-" in a row; an AWS key id has just 20."""
_CONTEXT = 6
"""Characters before a run that belong to its prefix: "SG.", "ya29.", ":AA"."""

_DIGIT = re.compile(rb"[0-9]")
_RUN = b"w" * SHORTEST_RUN
_IS_TOKEN_CHARACTER = bytes(
    ord("w") if byte < 128 and (chr(byte).isalnum() or byte in b"_-") else ord(" ") for byte in range(256)
)


class Token(NamedTuple):
    """One format."""

    kind: str
    words: tuple[bytes, ...]
    """The text contains at least one of these, in a long run or right before it, when the pattern matches."""
    pattern: re.Pattern[bytes]
    accept: Callable[[bytes], bool]
    within_run: bool
    """Whether nothing but token characters is in it, so that a long run shows whether it can match."""


def is_varied(value: bytes) -> bool:
    """Whether it is more than a placeholder such as sk-ant-xxxxxxxxxxxxxxxx or AKIA0000000000000000."""
    return len(set(value[-24:])) >= 8 and b"xxxxx" not in value.lower()


def is_random(value: bytes) -> bool:
    """Varied, and with a digit: for prefixes that ordinary words can have too (task-, desk-)."""
    return is_varied(value) and _DIGIT.search(value) is not None


def _token(kind: str, words: str, pattern: str, accept: Callable[[bytes], bool] = is_varied) -> Token:
    within_run = not any(other in pattern for other in (r"\.", "+/", "~", ":AA"))
    return Token(kind, tuple(words.encode().split()), re.compile(pattern.encode()), accept, within_run)


_W = "[A-Za-z0-9_-]"
_A = "[A-Za-z0-9]"
# No letter or digit before it, except that of an escape such as \\n in a JSON string.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"

# Bounded repetitions only: an unbounded one that starts at each "eyJ" of a hostile text is quadratic.
TOKENS = (
    _token("anthropic-key", "sk-ant-", rf"sk-ant-{_W}{{16,300}}"),
    _token("openai-key", "sk-", rf"sk-(?:proj|svcacct|admin|None|or-v1)-{_W}{{16,300}}"),
    _token("openai-key", "sk-", rf"sk-{_A}{{24,64}}(?!{_W})", is_random),
    _token("openai-key", "T3BlbkFJ", rf"sk-{_W}{{0,200}}?T3BlbkFJ{_W}{{10,200}}"),
    _token("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"gh[pousr]_{_A}{{30,255}}"),
    _token("github-token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    _token(
        "gitlab-token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- gloas- glimt- glagent-",
        rf"gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|imt|agent)-{_W}{{16,300}}",
    ),
    _token("slack-token", "xox", rf"xox[abeoprs]-{_W}{{15,300}}", is_random),
    _token("slack-token", "xapp-", rf"xapp-\d-{_W}{{13,300}}", is_random),
    _token("google-key", "AIza", rf"AIza{_W}{{30,45}}"),
    _token("google-oauth", "GOCSPX-", rf"GOCSPX-{_W}{{20,60}}"),
    _token("google-oauth", "ya29.", rf"ya29\.{_W}{{20,300}}"),
    _token("huggingface-token", "hf_", rf"hf_{_A}{{30,60}}"),
    _token("npm-token", "npm_", rf"npm_{_A}{{30,60}}"),
    _token("pypi-token", "pypi-AgE", rf"pypi-AgE{_W}{{16,500}}"),
    _token("age-key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-(?:PQ-)?1[A-Za-z0-9]{20,4000}"),
    _token(
        "aws-key-id",
        "AKIA ASIA ABIA ACCA A3T",
        r"(?<![A-Z0-9])(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])",
    ),
    _token("stripe-key", "k_live_ k_test_", rf"[rs]k_(?:live|test)_{_A}{{16,250}}"),
    _token("stripe-webhook", "whsec_", r"whsec_[A-Za-z0-9+/=]{24,100}"),
    _token("sendgrid-key", "SG.", rf"SG\.{_W}{{16,32}}\.{_W}{{32,64}}"),
    _token("twilio-key", "AC SK", _START + r"(?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])"),
    _token("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{40,80}"),
    _token("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32,64}"),
    _token("dockerhub-token", "dckr_pat_", rf"dckr_pat_{_W}{{20,60}}"),
    _token("groq-key", "gsk_", rf"gsk_{_A}{{40,80}}"),
    _token("xai-key", "xai-", rf"xai-{_A}{{40,100}}"),
    _token("replicate-token", "r8_", rf"r8_{_A}{{30,50}}"),
    _token("nvidia-key", "nvapi-", rf"nvapi-{_W}{{40,100}}"),
    _token("perplexity-key", "pplx-", rf"pplx-{_A}{{32,64}}"),
    _token("vault-token", "hvs. hvb. hvr.", rf"hv[sbr]\.{_W}{{24,300}}"),
    _token("databricks-token", "dapi", r"dapi[a-f0-9]{32}(?![a-f0-9])"),
    _token("grafana-token", "glsa_ glc_", r"(?:glsa|glc)_[A-Za-z0-9+/=_]{32,300}"),
    _token("sentry-token", "sntrys_ sntryu_", r"sntry[su]_[A-Za-z0-9+/=_]{40,300}"),
    _token("atlassian-token", "ATATT3x ATCTT3x", rf"AT[AC]TT3x{_W}{{30,300}}"),
    _token("linear-key", "lin_api_ lin_oauth_", rf"lin_(?:api|oauth)_{_A}{{32,64}}"),
    _token("notion-token", "ntn_", rf"ntn_{_A}{{40,60}}"),
    _token("figma-token", "figd_ figo_", rf"fig[do]_{_W}{{30,60}}"),
    _token("rubygems-key", "rubygems_", r"rubygems_[a-f0-9]{40,60}"),
    _token("artifactory-key", "AKC", _START + r"AKC[A-Za-z0-9]{20,100}", is_random),
    _token("mailchimp-key", "-us", rf"{_START}[0-9a-f]{{32}}-us\d{{1,2}}(?!{_W})"),
    _token("newrelic-key", "NRAK-", r"NRAK-[A-Z0-9]{20,40}"),
    _token("pulumi-token", "pul-", r"pul-[a-f0-9]{40}(?![a-f0-9])"),
    _token("doppler-token", "dp.", rf"(?<!{_W})dp\.(?:pt|st|ct|sa|scim|audit)\.{_W}{{32,80}}"),
    _token("square-token", "sq0", rf"sq0(?:atp|csp|idp)-{_W}{{20,60}}"),
    _token("mailgun-key", "key-", _START + r"key-[a-f0-9]{32}(?![A-Za-z0-9])"),
    _token("telegram-token", ":AA", rf"(?<!\d)\d{{8,10}}:AA{_W}{{33}}(?!{_W})"),
    _token("azure-secret", "8Q~", r"(?<![\w.~-])[A-Za-z0-9_.~-]{3}8Q~[A-Za-z0-9_.~-]{31,34}(?![\w.~-])"),
    _token("jwt", "eyJ", rf"eyJ{_W}{{8,1000}}+\.{_W}{{10,4000}}+\.{_W}{{8,1000}}"),
    _token("jwt", "eyJ", rf"eyJ{_W}{{14,1000}}+\.eyJ{_W}{{8,4000}}(?:\.{_W}{{0,1000}})?"),
)


_WORDS = tuple(sorted({word for token in TOKENS for word in token.words}))


def find_tokens(data: bytes, runs: bytes) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind) of every token in UTF-8 text, whose `long_runs` are given; they may overlap."""
    present = [word for word in _WORDS if word in runs] if runs else []
    if not present:
        return
    for token in TOKENS:
        if not any(word in token.words for word in present):
            continue
        if token.within_run and token.pattern.search(runs) is None:
            continue
        for match in token.pattern.finditer(data):
            if token.accept(match[0]):
                yield *match.span(), token.kind


def long_runs(data: bytes) -> bytes:
    """The long runs of token characters in `data`, each with a little of what precedes it, one a line.

    Those of lower-case letters alone are left out: they are names, no issuer's random part looks like that.
    """
    shape = data.translate(_IS_TOKEN_CHARACTER)
    runs = []
    start = shape.find(_RUN)
    while start >= 0:
        end = shape.find(b" ", start + SHORTEST_RUN)
        if end < 0:
            end = len(data)
        run = data[max(0, start - _CONTEXT) : end]
        if not run[_CONTEXT:].islower() or _DIGIT.search(run):
            runs.append(run)
        start = shape.find(_RUN, end)
    return b"\n".join(runs)

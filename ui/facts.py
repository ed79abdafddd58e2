"""The lines under an answer: how far it is from what was configured, how fresh, what it took, and what was sent.

Everything that comes from a model or a repository passes html.escape here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gardener.models.extractive import EXTRACTIVE
from gardener.sizes import counted
from ui.markup import text

RECEIPT_HEADINGS = "".join(f"<th>{name}</th>" for name in ("Place", "Symbol", "Found by", "Tokens", "Sent"))


def facts_html(answer: Mapping[str, Any]) -> str:
    """The lines under an answer: degradation, freshness, cost, and the receipt to unfold."""
    lines = [line for line in (degradation_line(answer), freshness_line(answer), usage_line(answer)) if line]
    said = str(answer.get("degradation_reason") or "")
    warnings = [str(warning) for warning in answer.get("warnings", ()) if str(warning) not in said]
    lines += [f'<span class="warn">{text(warning)}</span>' for warning in warnings]
    shown = "".join(f"<div>{line}</div>" for line in lines)
    return f'<div class="facts">{shown}{receipt_html(answer)}</div>'


def degradation_line(answer: Mapping[str, Any]) -> str:
    level = str(answer.get("degradation") or "")
    who = " · ".join(str(answer[key]) for key in ("backend", "model") if answer.get(key))
    if not level:
        return text(who)
    reason = str(answer.get("degradation_reason") or "").replace("`", "")  # Markdown's marks; this is HTML
    kind = "level good" if level == "full" else "level"
    return f'<span class="{kind}">{text(level)}</span> {text(who)}' + (f" — {text(reason)}" if reason else "")


def freshness_line(answer: Mapping[str, Any]) -> str:
    """How the index that was asked compares with the disk, and with the checked-out commit."""
    index = answer.get("index")
    if not index:
        return ""
    head, now = index.get("head"), index.get("current_head")
    at = f" at commit {text(str(head)[:8])}" if head else ""
    if index.get("fresh"):
        line = f"Index is up to date with the disk{at}."
    else:
        line = f'<span class="warn">{int(index.get("changed_files", 0))} files differ from the index{at}.</span>'
    if head and now and head != now:
        line += f" Checked out now: {text(str(now)[:8])}."
    embedded = float(index.get("embedded_fraction", 1.0))
    return line + (f" {embedded:.0%} of the chunks have vectors." if embedded < 1.0 else "")


def usage_line(answer: Mapping[str, Any]) -> str:
    """Tokens, time to the first one, and the rate at which a model wrote; nothing of what was only quoted."""
    if answer.get("backend") == EXTRACTIVE:
        return ""
    usage, timings = answer.get("usage") or {}, answer.get("timings_ms") or {}
    written, read = int(usage.get("completion_tokens") or 0), int(usage.get("prompt_tokens") or 0)
    if not written:
        return ""
    about = "about " if usage.get("estimated") else ""
    cached = int(usage.get("cached_tokens") or 0)
    parts = [f"{about}{counted(read, 'token')} read" + (f" ({cached:,} from the cache)" if cached else "")]
    parts.append(f"{about}{written:,} written")
    first, total = float(timings.get("first_token") or 0.0), float(timings.get("total") or 0.0)
    if first:
        parts.append(f"first token after {_seconds(first)}")
    if first and total > first and answer.get("backend") != "extractive":  # quotes are not written: no rate
        parts.append(f"{written * 1000 / (total - first):,.1f} tokens/s")
    return text(" · ".join(parts))


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def receipt_html(answer: Mapping[str, Any]) -> str:
    """What was retrieved and what of it was sent, to unfold."""
    receipt = answer.get("receipt") or {}
    retrieved = receipt.get("retrieved") or ()
    if not retrieved:
        return ""
    sent = sum(bool(entry.get("sent")) for entry in retrieved)
    rows = "".join(f"<tr>{receipt_cells(entry)}</tr>" for entry in retrieved)
    timings = answer.get("timings_ms") or {}
    took = ", ".join(f"{text(str(name))} {float(value):.0f} ms" for name, value in timings.items())
    used = f"{int(receipt.get('prompt_tokens', 0)):,} of {int(receipt.get('budget_tokens', 0)):,} tokens"
    return (
        f"<details><summary>Receipt: {sent} of {len(retrieved)} places sent, {used}</summary>"
        f"<table><thead><tr>{RECEIPT_HEADINGS}</tr></thead><tbody>{rows}</tbody></table>"
        f"<div>Counted by {text(str(receipt.get('counted_by', '')))}. {took}</div></details>"
    )


def receipt_cells(entry: Mapping[str, Any]) -> str:
    cells = (
        f"{entry.get('path', '')}:{entry.get('start_line', 0)}–{entry.get('end_line', 0)}",
        str(entry.get("symbol") or ""),
        ", ".join(map(str, entry.get("sources", ()))),
        str(entry.get("tokens", 0)),
        "yes" if entry.get("sent") else "no",
    )
    return "".join(f"<td>{text(cell)}</td>" for cell in cells)

"""Small pieces of HTML that the pages are made of. Every text goes through html.escape; nothing here trusts its
arguments, except those whose name says `html`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from time import localtime, strftime, time

from gardener.sizes import size as size

_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_HIDDEN = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
_HIDDEN |= {code: f"\\u{code:04x}" for code in (*_TURNING, *range(0xD800, 0xE000))}
"""Control characters, what turns the reading direction or breaks lines unseen, and what no JSON can carry."""
ACTION_CLASSES = {"primary": "act primary", "plain": "act", "danger": "act danger", "link": "act link"}


def plain(value: object) -> str:
    """Any value with what hides in it spelled out, so that it can look like nothing else. Not escaped for HTML.

    Joiners and marks that writing needs stay: people's own words and names have them.
    """
    return str(value).translate(_HIDDEN)


def text(value: object) -> str:
    """Any value as text to be read, safe in content and in quoted attributes."""
    return escape(plain(value), quote=True)


def exact(value: object) -> str:
    """Any value for a quoted attribute or a field whose content comes back: nothing is spelled out."""
    return escape(str(value).encode("utf-8", "replace").decode(), quote=True)


def attributes(values: Mapping[str, object]) -> str:
    """` name="value"` for each; True gives the bare name, None and False leave it out."""
    parts = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        parts.append(f" {name}" if value is True else f' {name}="{exact(value)}"')
    return "".join(parts)


def button(label: str, do: str, *, look: str = "plain", confirm: str = "", name: str = "", **fields: object) -> str:
    """A button that tells the page's handler `do` with `fields`, one word each.

    `confirm` asks first; `name` is its accessible name when the label alone does not say enough.
    """
    data = {f"data-field-{key}": value for key, value in fields.items()}
    said = {"data-confirm": plain(confirm) or None, "aria-label": plain(name) or None}
    rest = attributes({"data-do": do, **said, **data})
    return f'<button type="button" class="{ACTION_CLASSES[look]}"{rest}>{text(label)}</button>'


def section(title: str, body_html: str, *, note: str = "", name: str = "") -> str:
    """A titled part of a page."""
    note_html = f'<p class="quiet">{text(note)}</p>' if note else ""
    return f"<section{attributes({'id': name or None})}><h2>{text(title)}</h2>{note_html}{body_html}</section>"


def table(
    headings: Sequence[str], rows_html: Iterable[Sequence[str]], *, caption: str, numeric: Iterable[int] = ()
) -> str:
    """A table; `rows_html` are cells of HTML, the first of a row is its heading. `numeric` columns align right."""
    right = set(numeric)

    def cell(tag: str, index: int, html: str, scope: str = "") -> str:
        return (
            f"<{tag}{attributes({'scope': scope or None, 'class': 'num' if index in right else None})}>{html}</{tag}>"
        )

    head = "".join(cell("th", index, text(heading), "col") for index, heading in enumerate(headings))
    body = "".join(
        "<tr>"
        + "".join(cell("td" if index else "th", index, html, "" if index else "row") for index, html in enumerate(row))
        + "</tr>"
        for row in rows_html
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table class="data">'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(pairs_html: Iterable[tuple[str, str]]) -> str:
    """Names and values side by side; the values are HTML."""
    return (
        '<dl class="facts-list">'
        + "".join(f"<div><dt>{text(k)}</dt><dd>{v}</dd></div>" for k, v in pairs_html)
        + "</dl>"
    )


def notice(message: str, next_step: str = "", *, bad: bool = False, more_html: str = "") -> str:
    """What an action did, or why it did not; announced by screen readers."""
    step = f" <span>Next: <code>{text(next_step)}</code></span>" if next_step else ""
    kind, role = ("bad", "alert") if bad else ("good", "status")
    return f'<div class="notice {kind}" role="{role}"><span>{text(message)}</span>{step}{more_html}</div>'


def empty(title: str, body_html: str) -> str:
    """What a page says when it has nothing to show yet: what to do first."""
    return f'<div class="empty"><h2>{text(title)}</h2>{body_html}</div>'


def badge(label: str, kind: str = "") -> str:
    """A word in a box. `kind`: good, warn, bad or "" (neutral); the word alone carries the meaning."""
    return f'<span class="badge {text(kind)}">{text(label)}</span>'


def bar(done: float, total: float, label: str) -> str:
    """A progress bar; without a total it only moves."""
    values = f' value="{done:g}" max="{max(total, 1):g}"' if total > 0 else ""
    return f'<progress{values} aria-label="{text(label)}"></progress>'


def count(value: float) -> str:
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration in seconds as people read it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def ago(when: float) -> str:
    """Unix time in seconds as distance from now; the exact time is in the title."""
    if when <= 0:
        return "never"
    gone = time() - when
    if gone < 60:
        said = "just now"
    elif gone < 3600:
        said = f"{gone / 60:.0f} min ago"
    elif gone < 86_400:
        said = f"{gone / 3600:.0f} h ago"
    else:
        said = f"{gone / 86_400:.0f} d ago"
    return f'<time title="{strftime("%Y-%m-%d %H:%M:%S", localtime(when))}">{said}</time>'

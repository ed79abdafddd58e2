"""The page "Search": a question to the active project's index, filters, and the lines that were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import UsageError
from gardener.index.facts import summary
from gardener.index.search import SearchRequest, SearchResult
from gardener.paths import index_directory
from ui.highlight import highlighted
from ui.lines import lines_html, open_in_editor_html, opened_lines_html
from ui.markup import badge, button, count, empty, exact, seconds, text
from ui.pages import Fields, Shown, number

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import IndexState, ProjectContext, SearchHit

SNIPPET_LINES = 12
LIMITS = (10, 20, 50)
WORDS = {"lexical": "words", "vector": "meaning", "symbol": "name"}
EXAMPLES = ("where are errors handled", "read the configuration", "main")


class SearchPage:
    path = "search"
    name = "Search"
    lead = "Words, meaning and symbol names, best first. What you see is checked against the disk."

    def __init__(self, edge: Edge) -> None:
        self._gardener = edge.gardener

    def open(self, query: Fields) -> Shown:
        form = self._form(query)
        if not query.get("q", "").strip() and not query.get("symbol", "").strip():
            return Shown("", form, self._welcome())
        return Shown("", form, self._found(query))

    def refresh(self, worked: bool) -> Shown:
        return Shown()

    def live(self) -> str:
        return ""

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        match what:
            case "search":
                yield Shown("", main=self._found(fields))
            case "example":
                yield Shown("", self._form({"q": fields["q"]}), self._found({"q": fields["q"]}))
            case "lines":
                context = self._gardener.context(fields["project"])
                start, end = number(fields["start"]), number(fields["end"])
                yield Shown(main=opened_lines_html(self._gardener, context, fields["file"], start, end, _back(fields)))
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help search")

    # ---- parts ---------------------------------------------------------------------------------------

    def _form(self, query: Fields) -> str:
        context = self._gardener.registry.active()
        facts = summary(index_directory(context.home)) if context else {}
        where = f"in {context.name}" if context else "no project yet"
        languages = sorted(self._languages(context)) if context and facts.get("table_version") else []
        wanted = query.get("language", "")
        options = "".join(
            f'<option value="{exact(name)}"{" selected" if name == wanted else ""}>{text(name)}</option>'
            for name in languages
        )
        limit = number(query.get("limit", ""), 10)
        limits = "".join(
            f'<option value="{number}"{" selected" if number == limit else ""}>{number}</option>' for number in LIMITS
        )
        checked = " checked" if query.get("no_tests") == "on" else ""
        return (
            f'<form data-do="search" data-address="" class="searching" role="search"><div class="line">'
            f'<label class="hidden" for="q">Search {text(where)}</label>'
            f'<input type="search" id="q" name="q" value="{exact(query.get("q", ""))}"'
            f' placeholder="Search {text(where)}" autocomplete="off" spellcheck="false" maxlength="20000"'
            f' data-focus="">'
            f'<button type="submit" class="act primary">Search</button></div><div class="line filters">'
            f'<span class="pair"><label for="language">Language</label>'
            f'<select id="language" name="language" data-submits="">'
            f'<option value="">any</option>{options}</select></span>'
            f'<span class="pair"><label for="path">Path</label><input type="text" id="path" name="path" size="14"'
            f' placeholder="src/ or *.py" value="{exact(query.get("path", ""))}" autocomplete="off"></span>'
            f'<span class="pair"><label for="symbol">Symbol</label>'
            f'<input type="text" id="symbol" name="symbol" size="12"'
            f' value="{exact(query.get("symbol", ""))}" autocomplete="off"></span>'
            f'<label class="check"><input type="checkbox" name="no_tests" data-submits=""{checked}> no tests</label>'
            f'<span class="pair"><label for="limit">Results</label>'
            f'<select id="limit" name="limit" data-submits="">{limits}</select></span>'
            f"</div></form>"
        )

    def _languages(self, context: ProjectContext) -> set[str]:
        records = self._gardener.index(context).indexer.manifest.files()
        return {record.language for record in records.values() if record.language}

    def _welcome(self) -> str:
        context = self._gardener.registry.active()
        if context is None:
            return empty("No project yet", '<p><a href="/projects">Add a folder</a> and it can be searched.</p>')
        if not summary(index_directory(context.home)).get("table_version"):
            return empty(f"{context.name} has no index yet", '<p><a href="/projects">Index it</a> first.</p>')
        tries = "".join(button(example, "example", q=example) for example in EXAMPLES)
        return empty("What are you looking for?", f'<div class="line center">{tries}</div>')

    def _found(self, fields: Fields) -> str:
        context = self._gardener.context(None)
        query = fields.get("q", "")
        if not query.strip() and not fields.get("symbol", "").strip():
            raise UsageError("The query is empty.", next_step="a word, a question or a symbol's name")
        limit = number(fields.get("limit", ""), 10)
        found = self._gardener.search(
            context,
            SearchRequest(
                query,
                limit=max(1, min(limit, max(LIMITS))),
                languages=(fields["language"],) if fields.get("language") else (),
                path_glob=fields.get("path", "").strip(),
                symbol=fields.get("symbol", "").strip(),
                no_tests=fields.get("no_tests") == "on",
            ),
        )
        notes = "".join(f'<p class="warn">{text(note)}</p>' for note in found.notes)
        if not found.hits:
            return notes + empty("Nothing was found", "<p>Fewer filters, or other words, may find it.</p>")
        hits = "".join(self._hit(context, hit, number, fields) for number, hit in enumerate(found.hits, 1))
        return f'{_summary(found)}{notes}<ol class="hits">{hits}</ol>'

    def _hit(self, context: ProjectContext, hit: SearchHit, number: int, fields: Fields) -> str:
        folder, _, file = hit.path.rpartition("/")
        shown = hit.text.split("\n")[:SNIPPET_LINES]
        total = hit.end_line - hit.start_line + 1
        more = f'<p class="quiet more-lines">{total - len(shown)} more lines</p>' if total > len(shown) else ""
        how = "".join(badge(WORDS.get(source, source)) for source in hit.sources)
        symbol = f'<span class="symbol">{text(hit.symbol)}</span>' if hit.symbol else ""
        place = f'<span class="quiet">{text(folder + "/") if folder else ""}</span>{text(file)}'
        said = f"Open {hit.path}, lines {hit.start_line} to {hit.end_line}"
        back = {name: fields.get(name, "") for name in ("q", "language", "path", "symbol", "no_tests", "limit")}
        data: dict[str, Any] = {"project": context.id, "file": hit.path, "start": hit.start_line, "end": hit.end_line}
        data |= {f"back{key}": value for key, value in back.items()}
        editing = open_in_editor_html(self._gardener, context, hit.path, hit.start_line)
        opening = button("Open lines", "lines", name=said, **data)
        return (
            f'<li class="card hit" id="hit-{number}"><div class="title"><h2 class="place">{place}'
            f'<span class="quiet">:{hit.start_line}–{hit.end_line}</span></h2>{symbol}'
            f'<span class="spring"></span>{how}<span class="quiet num" title="comparable within this list only">'
            f"{hit.score:.3f}</span></div>"
            f"{lines_html(highlighted(shown, hit.language), hit.start_line, said)}{more}"
            f'<div class="line">{opening}{editing}</div></li>'
        )


def _summary(found: SearchResult) -> str:
    return (
        f'<p class="quiet found" role="status">{_counted(found.hits)} · {_freshness(found.index)} · {_took(found)}</p>'
    )


def _counted(hits: Sequence[SearchHit]) -> str:
    return f"{count(len(hits))} {'place' if len(hits) == 1 else 'places'}"


def _freshness(index: IndexState) -> str:
    if index.fresh:
        return "the index is up to date with the disk"
    return f"{count(index.changed_files)} changed files are not in the index yet"


def _took(found: SearchResult) -> str:
    return seconds(dict(found.timings_ms)["total"] / 1000)


def _back(fields: Fields) -> dict[str, str]:
    return {key.removeprefix("back"): value for key, value in fields.items() if key.startswith("back")}

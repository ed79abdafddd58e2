"""The composition root: the only file that names concrete classes and puts them together.

The command line, the server and the pages all work through `Gardener`. Everything heavy is imported when it is first
needed, so that a command which only flips a pointer stays as fast as the interpreter.
"""

from __future__ import annotations

import threading

from gardener.background import Conditions, Foreground
from gardener.backup.whole import whole
from gardener.errors import ConfigError, NoActiveProject
from gardener.paths import Paths, index_directory
from gardener.performance import PerformanceLog, measured_search, measured_update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gardener.chat.system_prompt import SystemPrompts
    from gardener.continued_answer import Broken
    from gardener.embedding_service import EmbeddingService
    from gardener.index.embed import EmbedProgress, EmbedReport
    from gardener.index.index_report import IndexReport, ProgressCallback
    from gardener.index.project_index import ProjectIndex
    from gardener.index.repository_map import RepositoryMap
    from gardener.index.search import SearchRequest, SearchResult
    from gardener.index.source import SourceView
    from gardener.index.symbol_graph import SymbolGraph
    from gardener.index.table import IndexTable
    from gardener.live_settings import LiveSettings
    from gardener.model_service import ModelService
    from gardener.models.base import Embedder, Prepared, Sampling
    from gardener.models.embedder_spec import EmbedderSpec
    from gardener.models.governor import Governor
    from gardener.models.registry import BackendRegistry
    from gardener.project_context import ProjectContext
    from gardener.projects.history import History
    from gardener.projects.records import PurgeReport
    from gardener.projects.registry import Registry
    from gardener.settings import Settings
    from gardener.state import State
    from gardener.types import AnswerEvent, IndexState, Message
    from gardener.usage import UsageLog

INDEXES_IN_MEMORY = 4
"""Indexes whose snapshot is kept between calls; each costs about 60 MB for 30,000 chunks with vectors."""


class Gardener:
    """One home folder's projects, indexes, models and conversations. Thread-safe."""

    def __init__(self, home: str | None = None, flags: Mapping[str, object] | None = None) -> None:
        """`flags` are settings from the command line, by dotted key; they win over every file."""
        self.paths = Paths(home)
        self._flags = dict(flags or {})
        self._lock = threading.RLock()
        self._settings: LiveSettings | None = None
        self._state: State | None = None
        self._registry: Registry | None = None
        self._history: History | None = None
        self._models: ModelService | None = None
        self._governor: Governor | None = None
        self._embedding: EmbeddingService | None = None
        self._indexes: dict[str, ProjectIndex] = {}
        self._system_prompts: SystemPrompts | None = None
        self._settings_problems: dict[str, str] = {}
        self.watch_state: Callable[[ProjectContext], str] = lambda _: ""
        """How the running app keeps a project fresh; "" when nobody does and only a search looks at the disk."""
        self.conditions: Conditions | None = None
        """Stands in for the machine's battery and memory; None takes the real ones and the settings."""
        self.background_waits = ""
        """Why background work on the index has to wait, besides what `conditions` say; "" when it need not."""
        self.foreground = Foreground(self.paths.run)
        self.performance = PerformanceLog(self.paths.logs)
        self.vectors_asked_for = Foreground(self.paths.run, "vectors-asked-for.lock")
        """Somebody waits for vectors: background work, which may be paused, leaves them to that process."""

    # ---- parts, made when first needed ---------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The user's settings as their file is now, or as it last was right. Raises ConfigError if it never was."""
        with self._lock:
            if self._settings is None:
                from gardener.live_settings import LiveSettings

                self._settings = LiveSettings(whole(self.paths), self._flags)
            return self._settings.current()

    def settings_for(self, context: ProjectContext) -> Settings:
        """The user's settings with the project's own file between them and the environment.

        When a file is wrong, the last good settings stay in force and `settings_problem` says what is wrong.
        """
        try:
            settings = self.settings.for_project(context.root, context.trusted)
        except ConfigError as error:
            self._settings_problems[context.id] = error.message
            return self.settings
        self._settings_problems.pop(context.id, None)
        return settings

    def settings_problem(self, context: ProjectContext) -> str:
        """What was wrong with the settings when they were last read for this project; "" when nothing was."""
        return self._settings_problems.get(context.id, "")

    @property
    def state(self) -> State:
        with self._lock:
            if self._state is None:
                from gardener.state import State

                whole(self.paths).ensure()
                self._state = State(self.paths.state_db)
            return self._state

    @property
    def registry(self) -> Registry:
        with self._lock:
            if self._registry is None:
                from gardener.projects.registry import Registry

                self._registry = Registry(self.state, self.paths, release_vectors=self._release_vectors)
            return self._registry

    @property
    def history(self) -> History:
        with self._lock:
            if self._history is None:
                from gardener.projects.history import History

                self._history = History(self.state)
            return self._history

    @property
    def models(self) -> ModelService:
        """The chat backends, and what of them is resident."""
        with self._lock:
            if self._models is None:
                from gardener.model_service import ModelService

                self._models = ModelService(
                    self.paths,
                    self.settings,
                    admit=lambda folder, kv: self.governor.admit(folder, kv),
                    may_generate=lambda: self.usage.may_generate(),
                )
            return self._models

    @property
    def usage(self) -> UsageLog:
        """What answers took, and whether the day's budget lets models answer."""
        from gardener.usage import UsageLog, policy_from

        return UsageLog(
            lambda: self.state,
            lambda: policy_from(self.settings),
            default_model=lambda backend: self.models.default_model(backend),
            counted=self.performance.answer,
        )

    @property
    def governor(self) -> Governor:
        """The one budget of memory over models, caches, embedder and work on the index."""
        with self._lock:
            if self._governor is None:
                from gardener.memory_budget import governor_of

                self._governor = governor_of(self)
            return self._governor

    @property
    def backends(self) -> BackendRegistry:
        return self.models.registry

    @property
    def system_prompts(self) -> SystemPrompts:
        with self._lock:
            if self._system_prompts is None:
                from gardener.chat.system_prompt import SystemPrompts

                self._system_prompts = SystemPrompts()
            return self._system_prompts

    @property
    def embedding(self) -> EmbeddingService:
        """The embedder and the shared vector store."""
        with self._lock:
            if self._embedding is None:
                from gardener.embedding_service import EmbeddingService

                self._embedding = EmbeddingService(self.paths, spec=self._embedder_spec)
            return self._embedding

    def _embedder_spec(self) -> EmbedderSpec:
        from gardener.models.embedder_spec import spec_of

        return spec_of(self.settings.text)

    def embedder(self) -> Embedder:
        """The loaded embedder. Raises EmbedderUnavailable or ModelDamaged."""
        return self.embedding.embedder()

    # ---- projects ------------------------------------------------------------------------------------

    def context(self, name: str | None = None) -> ProjectContext:
        """The named project, else the active one. Raises ProjectNotFound or NoActiveProject."""
        if name:
            return self.registry.get(name)
        active = self.registry.active()
        if active is None:
            known = self.registry.list()
            raise NoActiveProject(next_step=f'gardener switch "{known[0].name}"' if known else "gardener add PATH")
        return active

    def projects_by_use(self) -> list[ProjectContext]:
        """The registered projects, the active one first, then those used last: whom background work serves first."""
        records = self.registry.records()
        return [
            record.context for record in sorted(records, key=lambda record: (not record.active, -record.last_used_at))
        ]

    def switch(self, name: str) -> ProjectContext:
        """Makes a project the active one: prepared fully, then one pointer flips. Imports nothing heavy."""
        from gardener.projects.switch import switch

        return switch(self.registry, self.state, name, [_index_is_readable, _adapter_is_whole])

    def purge(self, name: str) -> PurgeReport:
        """Removes a project for good: index, history, caches, and the vectors that no other project uses."""
        return self.registry.purge(name)

    def _release_vectors(self, purged: ProjectContext) -> int:
        """Deletes shared vectors that no other project, registered or in the trash, has a chunk for.

        Also the project's tables, if they lie on an object store: nobody else does.
        """
        self.forget_index(purged)
        own = self._table(purged)
        if own.storage.remote:
            own.destroy()
        if not self.embedding.has_store():
            return 0
        used: set[str] = set()
        for context in self.registry.list(include_removed=True):
            if context.id != purged.id and (table := self._table(context)).exists():
                used.update(table.hashes())
                table.close()
        return sum(store.retain(used) for store in self.embedding.stores())

    def _table(self, context: ProjectContext) -> IndexTable:
        """The project's tables through handles of their own."""
        from gardener.index.storage import storage_for
        from gardener.index.table import IndexTable

        directory = index_directory(context.home)
        uri = self.settings_for(context).text("index.storage")
        return IndexTable(directory, storage=storage_for(uri, directory, context.id))

    # ---- the index -----------------------------------------------------------------------------------

    def index(self, context: ProjectContext) -> ProjectIndex:
        """The project's index, opened once; its snapshot stays in memory while it is among the last few used."""
        from gardener.index.project_index import ProjectIndex
        from gardener.projects import checkout

        with self._lock:
            opened = self._indexes.pop(context.id, None)
            if opened is None or opened.context != context or opened.outdated(self.settings_for):
                settings = self.settings_for(context)
                nobody_else = not settings.flag("index.background_embedding")
                opened = ProjectIndex(
                    context,
                    settings,
                    query_embedder=lambda: self.embedding.for_queries(
                        prepare=nobody_else, fingerprint=self.serving_embedder(context)
                    ),
                    head=lambda: checkout.head_commit(context.root),
                )
            self._indexes[context.id] = opened  # most recently used last
            idle = list(self._indexes.values())[:-INDEXES_IN_MEMORY]
        # Outside the lock, because a search takes the two in the other order. Forgotten and not closed: another
        # thread may be in the middle of a search.
        for unused in idle:
            unused.searcher.forget()
        return opened

    def forget_index(self, context: ProjectContext) -> None:
        """Closes the project's index, whose files are about to go."""
        with self._lock:
            opened = self._indexes.pop(context.id, None)
        if opened is not None:
            opened.close()

    def serving_embedder(self, context: ProjectContext) -> str:
        """The fingerprint of the embedder whose vectors answer for the project now; see EmbeddingService.serving."""
        from gardener.index.facts import summary

        with self._lock:
            opened = self._indexes.get(context.id)
        if opened is None:
            facts = summary(index_directory(context.home))
            return self.embedding.serving(facts.get("vectors_of", ""), lambda _: True)
        facts = opened.indexer.manifest.facts()
        return self.embedding.serving(facts.get("vectors_of", ""), opened.indexer.table.has_vectors)

    def update_index(
        self,
        context: ProjectContext,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
        *,
        rebuild: bool = False,
        lock_timeout_s: float = 0.0,
    ) -> IndexReport:
        """Makes the index say what the disk says. See Indexer.update."""
        return measured_update(
            self, context, progress=progress, cancel=cancel, rebuild=rebuild, lock_timeout_s=lock_timeout_s
        )

    def embed(
        self,
        context: ProjectContext,
        progress: Callable[[EmbedProgress], None] | None = None,
        cancel: threading.Event | None = None,
        *,
        lock_timeout_s: float = 0.0,
        give_way: Callable[[], bool] = lambda: False,
        asked_for: bool = False,
    ) -> EmbedReport:
        """Gives every chunk of the project its vector. See embed_missing.

        Waits while somebody waits for an answer, memory is short, or the battery is low (not if somebody has
        `asked_for` the vectors). Ends early, with what remains, when `give_way` says so between two batches.
        """
        from gardener.vector_work import make_vectors

        return make_vectors(
            self, context, progress, cancel, lock_timeout_s=lock_timeout_s, give_way=give_way, asked_for=asked_for
        )

    def index_state(self, context: ProjectContext) -> IndexState:
        """How far and how fresh the index is, compared with the disk now."""
        from dataclasses import replace

        return replace(self.index(context).state(), watching=self.watch_state(context))

    def search(self, context: ProjectContext, request: SearchRequest) -> SearchResult:
        """Hits of one project, after bringing its index up to date if that is quick. Raises UsageError, IndexDamaged,
        and NotFoundError when the project has no index yet."""
        return measured_search(self, context, request)

    def symbols(self, context: ProjectContext) -> SymbolGraph:
        """The project's symbols, after bringing its index up to date if that is quick. Raises NotFoundError when the
        project has no index yet."""
        return self.index(context).symbols()

    def repository_map(self, context: ProjectContext, tokens: int, focus: str = "") -> RepositoryMap:
        """The definitions that matter most, within a budget of tokens as the project's chat backend counts them.

        `focus` is a symbol, or a file or folder of the project, to look from; it raises NotFoundError when it is
        neither.
        """
        from gardener.index.repository_map import repository_map

        graph = self.symbols(context)
        backend = self.backends.choose(context.backend, context.model).backend
        return repository_map(
            graph, lambda text: backend.count_tokens(text, context.model).tokens, tokens, graph.focus(focus)
        )

    def source(self, context: ProjectContext, path: str, start_line: int, end_line: int) -> SourceView:
        """Lines of a file as they are on the disk now: never outside the root, secrets left out."""
        from gardener.index.source import view_source

        return view_source(
            context.root, path, start_line, end_line, self.settings_for(context).integer("index.max_file_bytes")
        )

    # ---- answers -------------------------------------------------------------------------------------

    def prepare(
        self, context: ProjectContext, *, may_load: bool = False, cancel: threading.Event | None = None
    ) -> Prepared:
        """Makes ready what the next answer of a project needs in memory. See ModelService.prepare."""
        from gardener.answering import answerer

        plan = answerer(self, context).plan(context)
        return self.models.prepare(context, plan, may_load=may_load, cancel=cancel or threading.Event())

    def ask(
        self,
        context: ProjectContext,
        question: str,
        conversation_id: str | None = None,
        cancel: threading.Event | None = None,
        *,
        history: Sequence[Message] | None = None,
        hits: int | None = None,
        sampling: Sampling | None = None,
    ) -> Iterator[AnswerEvent]:
        """Streams an answer and keeps it in the project's history.

        `conversation_id` continues a conversation; "" starts a new one; None keeps nothing. `history` stands in for
        the conversation when the caller brings its own (the OpenAI API does). `hits` bounds the search results behind
        the answer (default: answer.hits). Whatever ends it early, what had been said is stored, marked incomplete.
        """
        from gardener.answering import answerer
        from gardener.metered_answer import metered_answer
        from gardener.recorded_answer import recorded_answer
        from gardener.secret_patterns import redact_text

        question = redact_text(question)  # what somebody pastes must not end up in prompts, history or logs
        settings = self.settings_for(context)
        answers = answerer(self, context, sampling)
        stop = cancel or threading.Event()

        def answer(messages: Sequence[Message]) -> Iterator[AnswerEvent]:
            events = answers.answer(
                context, question, messages, cancel=stop, limit=hits or settings.integer("answer.hits")
            )
            return metered_answer(context, events, self.usage.record, stop)

        if conversation_id is None:
            return self._in_foreground(answer(history or ()))
        return self._in_foreground(recorded_answer(self.history, context, question, conversation_id, answer))

    def go_on(
        self, context: ProjectContext, conversation_id: str, cancel: threading.Event | None = None
    ) -> Iterator[AnswerEvent]:
        """Continues the last answer of a conversation where it broke off. See continued_answer."""
        from gardener.answering import answerer
        from gardener.chat.continuation import go_on
        from gardener.continued_answer import continued_answer
        from gardener.metered_answer import metered_answer

        answers, stop = answerer(self, context), cancel or threading.Event()
        hits = self.settings_for(context).integer("answer.hits")

        def continued(broken: Broken) -> Iterator[AnswerEvent]:
            events = go_on(answers, context, broken.question, broken.earlier, broken.partial, cancel=stop, limit=hits)
            return metered_answer(context, events, self.usage.record, stop)

        return self._in_foreground(continued_answer(self.history, context, conversation_id, continued))

    def _in_foreground(self, events: Iterator[AnswerEvent]) -> Iterator[AnswerEvent]:
        """The same events; background work waits until the last one, or until the reader goes away."""
        with self.foreground.busy():
            try:
                yield from events
            finally:
                if self._models is not None:  # not closed meanwhile
                    self._models.note_resident()  # the answer may have loaded another base

    # ---- the whole -----------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """What `gardener status` shows, without comparing with the disk and without heavy imports."""
        from gardener.status import status

        return status(self)

    def close(self) -> None:
        """Closes everything that was opened. Calling it twice is allowed."""
        with self._lock:
            for opened in self._indexes.values():
                opened.close()
            self._indexes.clear()
            if self._embedding is not None:
                self._embedding.close()
                self._embedding = None
            if self._models is not None:
                self._models.close()
                self._models = None
            if self._state is not None:
                self._state.close()
                self._state = self._registry = self._history = None

    def __enter__(self) -> Gardener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _index_is_readable(context: ProjectContext) -> None:
    """Refuses a switch to a project whose index cannot be read; one without an index is fine."""
    from gardener.index.facts import summary

    summary(index_directory(context.home))


def _adapter_is_whole(context: ProjectContext) -> None:
    """Refuses a switch to a project whose adapter is missing or damaged. Raises AdapterUnfit."""
    if context.adapter:
        from gardener.models.adapters import AdapterStore

        AdapterStore(context.home).check(context.adapter)

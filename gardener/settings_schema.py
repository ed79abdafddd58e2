"""The one table of settings: every key, its type, default, limits, unit, and who may set it.

The documentation (docs/configuration.md), `gardener config`, validation and completion are all made from
SETTINGS. To add a setting, add a row. Nothing here imports more than the interpreter has loaded already,
because every command pays for it.
"""

from __future__ import annotations

from gardener.errors import NotFoundError

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without the 4 ms of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    Value = str | int | float | bool | tuple[str, ...]
    Kind = Literal["text", "integer", "number", "flag", "texts"]
    Scope = Literal["anywhere", "trusted", "user"]
    Tighter = Literal["", "lower", "false", "add"]

CONFIG_VERSION = 1
"""The version of the file format, written as `config_version`; a newer Gardener writes a larger one."""

MAX_TEXT = 4096
"""Longest accepted text value, in characters: longer ones are pasted by mistake."""

MAX_TEXTS = 1000
"""Most entries in a list value."""

BACKENDS = ("mlx", "ollama", "openai", "extractive")
"""Names of the chat backends that exist, in the order in which "auto" tries them."""


class InvalidValue(ValueError):
    """A value does not fit its setting; the text says what would."""


class Setting:
    """One row of the table.

    minimum, maximum: of a number, inclusive; minimum 1 of a text means that it may not be empty.
    scope: where a value may come from, besides defaults. "user": the user's file, the environment and flags;
    "trusted": also the file of a project that the user has trusted; "anywhere": also an untrusted project's.
    tighter: what an untrusted project may do to a value that costs time or memory: "lower" it, make it
    "false", or only "add" to a list.
    live: a running app applies a change at once; else at its next start.
    """

    __slots__ = (
        "choices", "default", "description", "key", "kind", "live",
        "maximum", "minimum", "scope", "tighter", "unit",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        kind: Kind,
        default: Value,
        description: str,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: tuple[str, ...] = (),
        unit: str = "",
        scope: Scope = "user",
        tighter: Tighter = "",
        live: bool = True,
    ) -> None:
        self.key = key
        self.kind = kind
        self.default = default
        self.description = description
        self.minimum = minimum
        self.maximum = maximum
        self.choices = choices
        self.unit = unit
        self.scope = scope
        self.tighter = tighter
        self.live = live

    def __repr__(self) -> str:
        return f"Setting({self.key!r})"

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "GARDENER_" + self.key.upper().replace(".", "_")

    def allowed(self) -> str:
        """What a value must be, in words that complete "it must be"."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "texts":
            if self.choices:
                return "a list made of " + ", ".join(f'"{choice}"' for choice in self.choices)
            return "a list of texts"
        if self.kind == "text":
            if self.choices:
                names = [f'"{choice}"' for choice in self.choices]
                return "one of " + ", ".join(names) if len(names) > 1 else names[0]
            return "a text in one line" + (", not empty" if self.minimum else "")
        kind = "a whole number" if self.kind == "integer" else "a number"
        limits = f" from {self.minimum} to {self.maximum}"
        return kind + limits + (f" ({self.unit})" if self.unit else "")

    def check(self, value: object) -> Value:
        """The value as it is stored (a list becomes a tuple). Raises InvalidValue saying what is allowed."""
        if self.kind == "flag":
            if isinstance(value, bool):
                return value
        elif self.kind == "integer":
            if isinstance(value, int) and not isinstance(value, bool) and self._within(value):
                return value
        elif self.kind == "number":
            if isinstance(value, int | float) and not isinstance(value, bool) and self._within(value):
                return float(value)
        elif self.kind == "text":
            if isinstance(value, str) and self._good_text(value):
                return value
        elif (
            isinstance(value, list | tuple)
            and len(value) <= MAX_TEXTS
            and all(isinstance(item, str) and item and self._good_text(item) for item in value)
        ):
            return tuple(value)
        raise InvalidValue(f"must be {self.allowed()}, not {_shown(value)}")

    def _within(self, value: float) -> bool:
        # A comparison with NaN is always false, so NaN is refused here too.
        above = self.minimum is None or value >= self.minimum
        return above and (self.maximum is None or value <= self.maximum)

    def _good_text(self, text: str) -> bool:
        if self.choices:
            return text in self.choices
        return (self.minimum or 0) <= len(text) <= MAX_TEXT and text.isprintable()

    def parse(self, text: str) -> Value:
        """The value of an environment variable or command-line word. Raises InvalidValue.

        A list is written with commas, or as a TOML array when an entry contains a comma; "" is an empty list.
        """
        word = text.strip()
        if self.kind == "flag":
            if word.lower() in ("true", "yes", "on", "1"):
                return True
            if word.lower() in ("false", "no", "off", "0"):
                return False
        elif self.kind == "integer":
            digits = word.replace("_", "")
            if digits.lstrip("+-").isdecimal() and len(digits) < 20:
                return self.check(int(digits))
        elif self.kind == "number":
            try:
                return self.check(float(word))
            except InvalidValue:
                raise
            except ValueError:
                pass  # not a number at all: the sentence below says what is allowed
        elif self.kind == "texts":
            return self.check(_parse_list(word))
        else:
            return self.check(text)
        raise InvalidValue(f"must be {self.allowed()}, not {_shown(text)}")

    def tightens(self, base: Value, value: Value) -> bool:
        """Whether an untrusted project may replace `base` by `value`."""
        if self.tighter == "lower":
            return not isinstance(value, str | tuple) and not isinstance(base, str | tuple) and value <= base
        if self.tighter == "false":
            return value is False or base is True
        return True


def _shown(value: object) -> str:
    """A wrong value as it appears in an error message: short, in one line, without control characters."""
    # repr escapes whatever is not printable, control characters and text direction marks included.
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _parse_list(word: str) -> object:
    if word.startswith("["):
        import tomllib

        try:
            return tomllib.loads(f"list = {word}")["list"]
        except (ValueError, RecursionError):
            return word  # check() then says what a list looks like
    return [part.strip() for part in word.split(",") if part.strip()]


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "index.max_file_bytes", "integer", 1_000_000,
        "Larger files are left out of the index, with that reason.",
        minimum=1_000, maximum=100_000_000, unit="bytes", scope="anywhere", tighter="lower",
    ),
    Setting(
        "index.exclude", "texts", (),
        "Further patterns of files to leave out, written as in .gitignore. A project's list adds to yours.",
        scope="anywhere", tighter="add",
    ),
    Setting(
        "index.include_vendored", "flag", False,
        "Also index copies of other people's code (node_modules, vendor, third_party and the like).",
        scope="anywhere", tighter="false",
    ),
    Setting(
        "index.workers", "integer", 0,
        "Processes that read and cut files when much has changed; 0 means one for each core, 1 works without any.",
        minimum=0, maximum=64, unit="processes",
    ),
    Setting(
        "index.storage", "text", "",
        "Where the tables of indexes lie: empty for this machine, or s3://BUCKET/PREFIX (gs:// and az:// are passed "
        "on untested). Text of your code goes there. Credentials come from the environment or the store's own files.",
        live=False,
    ),
    Setting(
        "index.background_embedding", "flag", True,
        "Compute vectors for the whole project in the background, not only those that a search needs.",
        scope="anywhere", tighter="false",
    ),
    Setting(
        "index.pause_on_battery_below", "integer", 40,
        "Background vectors wait at or below this charge while the machine runs on its battery; above it they are "
        "made at half speed. 100 makes none on battery.", minimum=0, maximum=100, unit="percent",
    ),
    Setting(
        "index.pause_below_memory", "integer", 8,
        "Background vectors wait, and the embedder is unloaded, while less memory than this is available "
        "(of the machine, or of its control group on Linux).", minimum=0, maximum=90, unit="percent",
    ),
    Setting(
        "index.watch", "text", "auto",
        'How the app notices changes by itself: "auto" watches the folder and polls where that is impossible, "poll" '
        'only polls, "off" leaves it to the next search.',
        choices=("auto", "poll", "off"),
    ),
    Setting(
        "index.watch_projects", "integer", 8,
        "Most projects that the app watches: the active one, then those used last.",
        minimum=0, maximum=200, unit="projects",
    ),
    Setting(
        "embedder.name", "text", "packaged",
        "What makes the vectors: packaged, folder:PATH (sentence-transformers), ollama:MODEL or openai:MODEL. "
        "Better changed with `gardener embedder use`, which tries it first.", minimum=1, scope="user",
    ),
    Setting(
        "embedder.url", "text", "",
        "Address of the embedding server; empty means Ollama's own on this machine. What is embedded is sent there.",
        scope="user",
    ),
    Setting(
        "embedder.key_variable", "text", "",
        "Environment variable that holds the embedding server's key.",
        scope="user",
    ),
    Setting(
        "embedder.query_prefix", "text", "",
        'What the model wants in front of a question, such as "query: "; see its card.',
        scope="user",
    ),
    Setting(
        "embedder.text_prefix", "text", "",
        'What the model wants in front of the code, such as "passage: ".',
        scope="user",
    ),
    Setting(
        "search.limit", "integer", 10,
        "Results of a search when --limit is not given.",
        minimum=1, maximum=200, unit="results", scope="anywhere", tighter="lower",
    ),
    Setting(
        "search.on_demand_vectors", "flag", True,
        "Compute missing vectors for the best lexical candidates while you wait.",
        scope="anywhere", tighter="false",
    ),
    Setting(
        "search.on_demand_budget_ms", "number", 400.0,
        "Time that a search may spend on vectors that are missing.",
        minimum=0, maximum=60_000, unit="ms", scope="anywhere", tighter="lower",
    ),
    Setting(
        "models.backend", "text", "auto",
        'The chat backend for projects that have not chosen one; "auto" takes the first that is ready.',
        choices=("auto", *BACKENDS), scope="trusted",
    ),
    Setting(
        "models.order", "texts", BACKENDS,
        'The order in which "auto" tries the chat backends.',
        choices=BACKENDS, scope="trusted",
    ),
    Setting(
        "models.fallback", "text", "",
        "What answers, and says so, when the chosen model cannot: a backend, or BACKEND:MODEL such as "
        "ollama:qwen2.5-coder:1.5b. Empty: search answers alone.", live=False,
    ),
    Setting(
        "models.stronger", "text", "",
        "A stronger model of this machine, BACKEND:MODEL, that is asked when the search finds little for a question; "
        "the answer says so. Empty for none.", live=False,
    ),
    Setting(
        "models.preload", "flag", False,
        "Load the active project's model when the app starts, instead of with the first question.",
    ),
    Setting(
        "models.memory_mb", "integer", 0,
        "Most memory that models, their caches and the embedder may take together; 0 takes what the machine can spare.",
        minimum=0, maximum=4_000_000, unit="MB",
    ),
    Setting(
        "models.prefix_disk_mb", "integer", 2_000,
        "Disk space for the read beginnings of prompts, which make a switch cheap; 0 keeps none.",
        minimum=0, maximum=1_000_000, unit="MB", live=False,
    ),
    Setting(
        "models.connect_s", "number", 5.0,
        "Longest time until a model server accepts a connection.", minimum=0.1, maximum=300, unit="s", live=False,
    ),
    Setting(
        "models.first_token_s", "number", 180.0,
        "Longest time until an answer's first word: the model may have to be loaded, and the prompt read.",
        minimum=1, maximum=7_200, unit="s", live=False,
    ),
    Setting(
        "models.idle_s", "number", 60.0,
        "Longest silence in the middle of an answer.", minimum=1, maximum=7_200, unit="s", live=False,
    ),
    Setting(
        "models.total_s", "number", 900.0,
        "Longest time for one answer.", minimum=1, maximum=86_400, unit="s", live=False,
    ),
    Setting(
        "mlx.model", "text", "",
        "The MLX model: a folder, or the name of one under models/ in Gardener's home. Nothing is downloaded unasked.",
        live=False,
    ),
    Setting(
        "mlx.context_tokens", "integer", 8_192,
        "Longest prompt and answer together; the memory for it is set aside.",
        minimum=1_024, maximum=1_000_000, unit="tokens", live=False,
    ),
    Setting(
        "mlx.kv_bits", "integer", 0,
        "Bits of a stored key or value, 4 or 8, to fit a longer window into memory; 0 leaves them as they are.",
        minimum=0, maximum=8, unit="bits", live=False,
    ),
    Setting(
        "mlx.cache_mb", "integer", 1_024,
        "Most memory for prompts that have been read, of all projects together.",
        minimum=0, maximum=1_000_000, unit="MB", live=False,
    ),
    Setting(
        "ollama.url", "text", "http://127.0.0.1:11434",
        "Address of the Ollama server; empty never asks one. Questions and code are sent there.", live=False,
    ),
    Setting(
        "ollama.model", "text", "",
        "The Ollama model; empty takes the one that was changed last.", live=False,
    ),
    Setting(
        "ollama.context_tokens", "integer", 8_192,
        "The window that Ollama is asked for, the same for every project: another one would reload the model.",
        minimum=1_024, maximum=1_000_000, unit="tokens", live=False,
    ),
    Setting(
        "ollama.keep_alive", "text", "30m",
        'How long Ollama keeps the model in memory after an answer, such as "30m"; "-1" is for ever.',
        minimum=1, live=False,
    ),
    Setting(
        "openai.url", "text", "",
        "Address of an OpenAI-compatible server (llama.cpp, LM Studio, vLLM, …). Questions and code are sent there.",
        live=False,
    ),
    Setting(
        "openai.model", "text", "",
        "The model's name on that server; empty takes the first that it lists.", live=False,
    ),
    Setting(
        "openai.key_variable", "text", "",
        "Environment variable that holds the server's key.", live=False,
    ),
    Setting(
        "openai.key_keyring", "text", "",
        "Entry of the system's keyring that holds the server's key, as SERVICE/USER.", live=False,
    ),
    Setting(
        "openai.context_tokens", "integer", 8_192,
        "The window of the model on that server.", minimum=1_024, maximum=10_000_000, unit="tokens", live=False,
    ),
    Setting(
        "openai.adapter_models", "flag", False,
        "The server knows a project's adapter as a model of the same name (vLLM with LoRA modules).", live=False,
    ),
    Setting(
        "usage.price_prompt", "number", 0.0,
        "Price of a million tokens read, in whatever currency; 0 for a model of one's own.",
        minimum=0, maximum=1_000_000,
    ),
    Setting(
        "usage.price_completion", "number", 0.0,
        "Price of a million tokens written.", minimum=0, maximum=1_000_000,
    ),
    Setting(
        "usage.daily_tokens", "integer", 0,
        "Tokens that models may read and write in a day; then search answers alone. 0 sets no limit.",
        minimum=0, maximum=1_000_000_000_000, unit="tokens",
    ),
    Setting(
        "usage.daily_cost", "number", 0.0,
        "What models may cost in a day, in the currency of the prices; 0 sets no limit.", minimum=0, maximum=1_000_000,
    ),
    Setting(
        "answer.context_tokens", "integer", 6_000,
        "Most tokens of code and conversation put before a model for one answer.",
        minimum=500, maximum=1_000_000, unit="tokens", scope="anywhere", tighter="lower",
    ),
    Setting(
        "answer.hits", "integer", 8,
        "Most search results considered for one answer.",
        minimum=1, maximum=100, unit="results", scope="anywhere", tighter="lower",
    ),
    Setting(
        "server.host", "text", "127.0.0.1",
        "Address on which the app listens.",
        minimum=1, live=False,  # an empty address would mean every network of this machine
    ),
    Setting(
        "server.port", "integer", 7468,
        "Port on which the app listens.",
        minimum=1_024, maximum=65_535, live=False,
    ),
    Setting(
        "ui.open_browser", "flag", True,
        "Let `gardener ui` open the browser; without it the address is printed.",
    ),
    Setting(
        "backup.folder", "text", "",
        "Folder for backups, such as one on another disk; empty means backups/ in the data folder.",
    ),
    Setting(
        "backup.second_folder", "text", "",
        "A second folder to which each backup is copied when it is there, such as one on an external disk; you make "
        "the folder, once.",
    ),
    Setting(
        "backup.every_hours", "integer", 24,
        "How old the newest backup may be before the running app makes another; 0 makes none by itself.",
        minimum=0, maximum=10_000, unit="hours",
    ),
    Setting(
        "backup.drill_days", "integer", 7,
        "How long ago the last drill may be before the running app restores a backup into a scratch folder and queries "
        "it; 0 for never.", minimum=0, maximum=10_000, unit="days",
    ),
    Setting(
        "backup.keep_last", "integer", 3,
        "How many of the newest backups are kept.", minimum=0, maximum=10_000, unit="backups",
    ),
    Setting(
        "backup.keep_daily", "integer", 7,
        "Of how many days the newest backup is kept.", minimum=0, maximum=10_000, unit="days",
    ),
    Setting(
        "backup.keep_weekly", "integer", 4,
        "Of how many weeks the newest backup is kept.", minimum=0, maximum=10_000, unit="weeks",
    ),
    Setting(
        "backup.keep_monthly", "integer", 12,
        "Of how many months the newest backup is kept.", minimum=0, maximum=10_000, unit="months",
    ),
    Setting(
        "log.level", "text", "info",
        "Least severe messages that are logged.",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "log.max_bytes", "integer", 5_000_000,
        "Size at which a log file is put aside and a new one begun.",
        minimum=10_000, maximum=1_000_000_000, unit="bytes",
    ),
    Setting(
        "log.backups", "integer", 5,
        "How many put-aside log files are kept.",
        minimum=0, maximum=100, unit="files",
    ),
)  # fmt: skip

BY_KEY: Mapping[str, Setting] = {setting.key: setting for setting in SETTINGS}
SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS))


def toml_value(value: Value) -> str:
    """The value as one would write it in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value).removesuffix(".0")
    import json

    # A JSON string or list of strings is also TOML, as values hold printable characters only.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def find_setting(key: str) -> Setting:
    """The table's row for a key. Raises NotFoundError with the nearest key."""
    setting = BY_KEY.get(key)
    if setting is None:
        suggestion = nearest(key)
        raise NotFoundError(
            f"There is no setting {_shown(key)}." + (f" Did you mean {suggestion}?" if suggestion else ""),
            next_step=f"gardener config get {suggestion}" if suggestion else "gardener config show",
        )
    return setting


def nearest(key: str, known: Iterable[str] = tuple(BY_KEY)) -> str:
    """The known name most like `key`, or "" when none is like it. Also finds a bare last word ("limit")."""
    import difflib

    candidates = tuple(known)
    same_end = [name for name in candidates if name.rpartition(".")[2] == key]
    close = same_end or difflib.get_close_matches(key[:100], candidates, n=1, cutoff=0.6)
    return close[0] if close else ""

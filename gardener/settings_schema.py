"""The one table of settings: every key, its type, default, limits, unit, and who may set it.

The documentation (docs/configuration.md), `gardener config`, validation and completion are all made from
SETTINGS. To add a setting, add a row. Nothing here imports more than the interpreter has loaded already,
because every command pays for it.
"""

from __future__ import annotations

from gardener.errors import NotFoundError
from gardener.settings_kind import Setting, shown

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without the 4 ms of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG_VERSION = 1
"""The version of the file format, written as `config_version`; a newer Gardener writes a larger one."""

BACKENDS = ("mlx", "ollama", "openai", "extractive")
"""Names of the chat backends that exist, in the order in which "auto" tries them."""

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
        live=False,
    ),
    Setting(
        "models.memory_mb", "integer", 0,
        "Most memory that models, their caches and the embedder may take together; 0 takes what the machine can spare.",
        minimum=0, maximum=4_000_000, unit="MB", live=False,
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
        "How old the newest backup may be before the running app or monitor makes another; 0 makes none by itself.",
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
        "upgrade.keep_versions", "integer", 3,
        "How many installed versions are kept; the one in force and the one before always are.",
        minimum=2, maximum=100, unit="versions",
    ),
    Setting(
        "health.every_seconds", "integer", 60,
        "Time between two rounds of the monitor's checks.", minimum=10, maximum=3_600, unit="s", live=False,
    ),
    Setting(
        "health.open_after", "integer", 3,
        "Rounds in a row that must find what goes up and down by itself (load, memory, a server) before it is an "
        "issue. Damage counts at once.", minimum=1, maximum=100, unit="rounds",
    ),
    Setting(
        "health.close_after", "integer", 3,
        "Rounds in a row that must no longer find it before such an issue is over.",
        minimum=1, maximum=100, unit="rounds",
    ),
    Setting(
        "health.cpu_warning", "integer", 75,
        "Processor in use, of all cores over a round, from which it is a warning.",
        minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.cpu_error", "integer", 90,
        "The same for an error.", minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.memory_warning", "integer", 80,
        "Memory in use from which it is a warning.", minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.memory_error", "integer", 95,
        "The same for an error.", minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.swap_warning", "integer", 25,
        "Swap in use from which it is a warning; twice as much is an error.", minimum=1, maximum=100,
        unit="percent of memory",
    ),
    Setting(
        "health.disk_warning", "integer", 85,
        "Disk in use, where the data folder is, from which it is a warning.",
        minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.disk_error", "integer", 95,
        "The same for an error; less than 1 GB free is one, too.", minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.battery_warning", "integer", 20,
        "Charge at or below which a discharging battery is a warning; half as much is an error.",
        minimum=0, maximum=100, unit="percent",
    ),
    Setting(
        "health.first_token_warning_s", "number", 3.0,
        "Time to the first word of the last day's answers, the middle one of the last five, from which it is a "
        "warning. Loading the model does not count.", minimum=0.1, maximum=3_600, unit="s",
    ),
    Setting(
        "health.first_token_error_s", "number", 10.0,
        "The same for an error.", minimum=0.1, maximum=3_600, unit="s",
    ),
    Setting(
        "health.speed_percent", "integer", 50,
        "Share of its own usual speed below which a model counts as slow.", minimum=1, maximum=100, unit="percent",
    ),
    Setting(
        "health.reloads_per_hour", "integer", 4,
        "Answers in an hour that had to wait for the model's loading from which it is a warning.",
        minimum=1, maximum=1_000, unit="answers",
    ),
    Setting(
        "health.proof_days", "integer", 30,
        "How long ago a backup may have been proved last; 0 never asks.", minimum=0, maximum=10_000, unit="days",
    ),
    Setting(
        "health.alerts", "text", "warning",
        "Least severe issues that alerts are sent for; \"none\" sends none. All are recorded.",
        choices=("warning", "error", "none"),
    ),
    Setting(
        "health.desktop", "flag", True,
        "Alerts are shown as notifications of the desktop, where there is one.",
    ),
    Setting(
        "webhook.url", "text", "",
        "Alerts are sent to this address by POST, as signed JSON; empty for none. Names of projects and paths go "
        "there.",
    ),
    Setting(
        "webhook.hosts", "texts", (),
        "Hosts that the webhook may be on, besides this machine.",
    ),
    Setting(
        "webhook.key_variable", "text", "",
        "Environment variable of the monitor that holds the key with which the webhook's messages are signed.",
    ),
    Setting(
        "webhook.key_keyring", "text", "",
        "Entry of the system's keyring that holds that key, as SERVICE/USER.",
    ),
    Setting(
        "health.command", "texts", (),
        "A program and its arguments that is run for every alert, with the alert as JSON on its standard input.",
    ),
    Setting(
        "ui.editor", "text", "vscode",
        "What the pages open a cited file with. Browsers refuse links to files (file), those can only be copied.",
        choices=("vscode", "cursor", "zed", "xcode", "file", "none"),
    ),
    Setting(
        "mcp.allow_switch", "flag", False,
        "Let MCP clients make another project the active one; without it they only read.",
        live=False,
    ),
    Setting(
        "mcp.result_characters", "integer", 30_000,
        "Most characters of repository text in one result of an MCP tool.",
        minimum=1_000, maximum=1_000_000, unit="characters",
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


def find_setting(key: str) -> Setting:
    """The table's row for a key. Raises NotFoundError with the nearest key."""
    setting = BY_KEY.get(key)
    if setting is None:
        suggestion = nearest(key)
        raise NotFoundError(
            f"There is no setting {shown(key)}." + (f" Did you mean {suggestion}?" if suggestion else ""),
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

"""What a setting is: its type and limits, from text to value and back. The table of them is settings_schema.

Nothing here imports more than the interpreter has loaded already, because every command pays for it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without the 4 ms of importing typing
if TYPE_CHECKING:
    from typing import Literal

    Value = str | int | float | bool | tuple[str, ...]
    Kind = Literal["text", "integer", "number", "flag", "texts"]
    Scope = Literal["anywhere", "trusted", "user"]
    Tighter = Literal["", "lower", "false", "add"]

MAX_TEXT = 4096
"""Longest accepted text value, in characters: longer ones are pasted by mistake."""

MAX_TEXTS = 1000
"""Most entries in a list value."""


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
        raise InvalidValue(f"must be {self.allowed()}, not {shown(value)}")

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
        raise InvalidValue(f"must be {self.allowed()}, not {shown(text)}")

    def tightens(self, base: Value, value: Value) -> bool:
        """Whether an untrusted project may replace `base` by `value`."""
        if self.tighter == "lower":
            return not isinstance(value, str | tuple) and not isinstance(base, str | tuple) and value <= base
        if self.tighter == "false":
            return value is False or base is True
        return True


def shown(value: object) -> str:
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


def toml_value(value: Value) -> str:
    """The value as one would write it in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value).removesuffix(".0")
    import json

    # A JSON string or list of strings is also TOML, as values hold printable characters only.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)

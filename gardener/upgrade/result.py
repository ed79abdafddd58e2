"""What an upgrade and a rollback give back, and what they need of the live app."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Control(Protocol):
    """The live app seen from outside; gardener.server.control has the real one."""

    def how_it_runs(self) -> dict[str, Any] | None: ...
    def stop(self, *, force: bool = False) -> None: ...
    def start(self, how: dict[str, Any] | None) -> str: ...
    def say_upgrading(self, say: bool) -> None: ...


class Upgraded(NamedTuple):
    """What was done. `questions` were answered on the copy as before; `down_s` is how long no app could be reached."""

    old: str
    new: str
    questions: int
    down_s: float
    backup: str
    pruned: list[str]
    url: str
    log: str
    changed: bool = True

    def as_json(self) -> dict[str, object]:
        return {**self._asdict(), "down_s": round(self.down_s, 3)}


class RolledBack(NamedTuple):
    """`restored` is the backup that was put back, "" when the data stayed; `left` says what was not carried over."""

    old: str
    new: str
    restored: str
    kept: str
    carried: dict[str, int]
    left: list[str]
    url: str
    log: str

    def as_json(self) -> dict[str, object]:
        return self._asdict()

"""ProjectContext, written out by hand because `gardener switch` needs it and nothing else of gardener.types.

Importing dataclasses and building the other nouns costs more than the interpreter's own start. Everybody else
imports it from gardener.types, where it belongs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class ProjectContext:
    """Everything that tells one project from another. Passed explicitly, never looked up from a global.
    Immutable.
    """

    __slots__ = ("adapter", "backend", "home", "id", "model", "name", "root", "trusted")

    id: str
    """Twelve hexadecimal digits, stable for the life of the project; names the folder under projects/."""
    name: str
    root: str
    """Absolute, resolved path of the project's folder."""
    home: str
    """Absolute path of this project's own data: index/, adapters/, prompt-cache/."""
    backend: str
    """The chat backend's registry name, or "auto": the first that is ready, in the configured order."""
    model: str
    """The model's name within the backend; empty means the backend's configured default."""
    adapter: str
    """Name of the active adapter; empty when there is none."""
    trusted: bool
    """Whether the user has allowed settings in the repository to run commands."""

    def __init__(
        self,
        id: str,
        name: str,
        root: str,
        home: str,
        backend: str = "auto",
        model: str = "",
        adapter: str = "",
        trusted: bool = False,
    ) -> None:
        assign = object.__setattr__
        assign(self, "id", id)
        assign(self, "name", name)
        assign(self, "root", root)
        assign(self, "home", home)
        assign(self, "backend", backend)
        assign(self, "model", model)
        assign(self, "adapter", adapter)
        assign(self, "trusted", trusted)

    def replace(self, **changes: Any) -> ProjectContext:
        """A copy with other values in the named fields. Raises TypeError for a field that does not exist."""
        return ProjectContext(**{**self.as_json(), **changes})

    def as_json(self) -> dict[str, Any]:
        """Every field by its name."""
        return {
            "id": self.id,
            "name": self.name,
            "root": self.root,
            "home": self.home,
            "backend": self.backend,
            "model": self.model,
            "adapter": self.adapter,
            "trusted": self.trusted,
        }

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a ProjectContext cannot be changed; {name} was to become {value!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a ProjectContext cannot be changed; {name} was to be deleted")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProjectContext) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"ProjectContext({', '.join(f'{key}={value!r}' for key, value in self.as_json().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (ProjectContext, self._values())

    def _values(self) -> tuple[Any, ...]:
        return tuple(self.as_json().values())

"""The user's settings in a long-running process: read again when their file has changed, the last good kept."""

from __future__ import annotations

from gardener.settings import SettingsWatcher, load_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gardener.paths import Paths
    from gardener.settings import Settings


class LiveSettings:
    """Looking costs one stat. Call it under a lock; the Settings that it gives may be shared and never change."""

    def __init__(self, paths: Paths, flags: Mapping[str, object] | None = None) -> None:
        """Raises ConfigError when the file is wrong now; when it is wrong later, `problem` says so."""
        self._watcher = SettingsWatcher(load_settings(paths, flags=flags))

    def current(self) -> Settings:
        """What is in force at this moment. Logging follows a change by itself; everybody else reads when it matters."""
        before = self._watcher.current
        if self._watcher.poll():
            now = self._watcher.current
            if any(key.startswith("log.") for key in now.changed_keys(before)):
                from gardener.telemetry import follow

                follow(now)
        return self._watcher.current

    @property
    def problem(self) -> str:
        """What is wrong with the file as it is now, so that it is not in force; "" when nothing is."""
        return "" if self._watcher.error is None else self._watcher.error.message

    @property
    def restart_needed(self) -> tuple[str, ...]:
        """Keys that were changed and that only a restart applies."""
        return self._watcher.restart_needed

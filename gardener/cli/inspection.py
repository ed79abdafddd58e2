"""`python -m gardener.cli.inspection TASK HOME LIFELINE`: the process that gardener.inspection starts.

No command for people. It ends when nobody holds the other end of the pipe with the number LIFELINE any more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Prints findings as JSON (indexes), or does what is due (backups)."""
    from gardener.lifeline import end_with_parent

    task, home, lifeline = arguments
    end_with_parent(int(lifeline))

    from gardener.app import Gardener
    from gardener.backup_service import BackupService
    from gardener.checks import all_checks, good_settings
    from gardener.health.check import run_checks
    from gardener.paths import ensure_directory
    from gardener.server.app_state import ask_app
    from gardener.telemetry import configure_logging

    os.umask(0o077)
    with Gardener(home) as gardener:
        configure_logging(gardener.paths, good_settings(gardener), "monitor")
        if task == "backups":
            ensure_directory(gardener.paths.run)
            BackupService(gardener).schedule().look()
            return 0
        checks = [check for check in all_checks(gardener, lambda: ask_app(gardener.paths)) if check.heavy]
        found = [finding.as_json() for finding in run_checks(checks)]
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The one thing that everybody who opens a home has to do first; so cheap that everybody can."""

from __future__ import annotations

import os

from gardener.paths import Paths


def whole(paths: Paths) -> Paths:
    """The same paths, when a restore that was killed while it put things in their places has been finished.

    Raises LockedError while another process is at it, IntegrityError, DiskFull.
    """
    if os.path.exists(os.path.join(paths.home, "restoring.json")):
        from gardener.backup.swap import finish_interrupted

        finish_interrupted(paths)
    return paths

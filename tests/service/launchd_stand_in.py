"""A stand-in for launchd and launchctl that runs real processes, from launchd.plist(5) and launchctl(1).

`python launchd_stand_in.py FOLDER launchctl-arguments…`. What it does as the real one does: `bootout` comes back
before the service is gone and `bootstrap` fails with 37 until then, 5 for what is loaded already or no property list,
113 for what is unknown, 125 without a graphical session (a file named `no-session` in FOLDER). Programs get launchd's
bare environment. Only the throttle is shorter: a tenth.
"""

from __future__ import annotations

import contextlib
import json
import os
import plistlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

THROTTLE_SHARE = 0.1
GOING_SECONDS = 0.4
"""How long the real one may still know a service after `bootout`."""


def main(folder: Path, verb: str, *arguments: str) -> int:
    domain = f"gui/{os.getuid()}"
    if verb == "supervise":
        Supervisor(folder, arguments[0]).run()
        return 0
    if (folder / "no-session").exists():
        return said(125, "Domain does not support specified action")
    if verb == "bootstrap":
        return bootstrap(folder, *arguments) if arguments[0] == domain else said(125, "Domain does not support it")
    target = arguments[-1]
    if not target.startswith(domain + "/"):
        return said(64, f"Unrecognized target specifier {target}")
    state = State(folder, target.removeprefix(domain + "/"))
    if verb == "enable":
        return 0
    if not state.loaded():
        if verb == "bootout":
            return said(3, "Boot-out failed: 3: No such process")
        return said(113, f'Could not find service "{state.label}" in domain for user gui: {os.getuid()}')
    if verb == "print":
        return show(state)
    if verb == "bootout":
        os.kill(state.get("supervisor"), signal.SIGTERM)
        return 0
    if verb == "kickstart":
        if not state.get("pid"):
            os.kill(state.get("supervisor"), signal.SIGUSR1)
            wait_for(lambda: bool(state.get("pid")))
        return 0
    if verb == "kill":
        if not state.get("pid"):
            return said(3, "No process to signal.")
        os.kill(state.get("pid"), getattr(signal, arguments[0]))
        return 0
    return said(64, f"Unrecognized subcommand: {verb}")


class State:
    """One loaded service, as a file."""

    def __init__(self, folder: Path, label: str) -> None:
        self.label = label
        self.path = folder / f"{label}.json"

    def loaded(self) -> bool:
        return self.path.exists()

    def get(self, name: str) -> Any:
        try:
            return json.loads(self.path.read_text()).get(name)
        except FileNotFoundError:
            return None

    def put(self, **values: object) -> None:
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(known | values))
        temporary.replace(self.path)


def bootstrap(folder: Path, domain: str, path: str) -> int:
    try:
        entries = plistlib.loads(Path(path).read_bytes())
        label, arguments = str(entries["Label"]), entries["ProgramArguments"]
    except (OSError, KeyError, plistlib.InvalidFileException, ValueError, SyntaxError):
        return said(5, "Bootstrap failed: 5: Input/output error")
    if os.stat(path).st_mode & 0o022 or not os.path.isabs(arguments[0]):
        return said(122, "Bootstrap failed: 122: Path had bad ownership/permissions")
    state = State(folder, label)
    if state.loaded():
        going = bool(state.get("going"))
        return (
            said(37, "Operation already in progress") if going else said(5, "Bootstrap failed: 5: Input/output error")
        )
    state.put(path=path, pid=0)
    command = [sys.executable, __file__, str(folder), "supervise", label]
    devnull = subprocess.DEVNULL
    subprocess.Popen(command, stdin=devnull, stdout=devnull, stderr=devnull, start_new_session=True)
    wait_for(lambda: bool(state.get("supervisor")))
    return 0


def show(state: State) -> int:
    pid, ended = state.get("pid"), state.get("ended")
    lines = [
        f"active count = {1 if pid else 0}",
        f"path = {state.get('path')}",
        f"state = {'running' if pid else 'not running'}",
    ]
    if pid:
        lines.append(f"pid = {pid}")
    if ended is None:
        lines.append("last exit code = (never exited)")
    elif ended < 0:
        lines.append(f"last terminating signal = {signal.Signals(-ended).name}: {-ended}")
    else:
        lines.append(f"last exit code = {ended}")
    shown = "".join(f"\t{line}\n" for line in lines)
    sys.stdout.write(f"gui/{os.getuid()}/{state.label} = {{\n{shown}}}\n")
    return 0


class Supervisor:
    """Keeps one program running as its property list says."""

    def __init__(self, folder: Path, label: str) -> None:
        self.state = State(folder, label)
        self.entries = plistlib.loads(Path(self.state.get("path")).read_bytes())
        self.over, self.wanted = threading.Event(), threading.Event()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.over.set())
        signal.signal(signal.SIGUSR1, lambda *_: self.wanted.set())
        self.state.put(supervisor=os.getpid())
        if self.entries.get("RunAtLoad"):
            self.wanted.set()
        while not self.over.is_set():
            if not self.wanted.wait(0.02):
                continue
            self.wanted.clear()
            code = self.once()
            keep = self.entries.get("KeepAlive")
            if keep is True or (isinstance(keep, dict) and keep.get("SuccessfulExit") is False and code != 0):
                self.over.wait(self.entries.get("ThrottleInterval", 10) * THROTTLE_SHARE)
                self.wanted.set()
        self.state.put(going=True)
        time.sleep(GOING_SECONDS)
        self.state.path.unlink()

    def once(self) -> int:
        """One life of the program; returns its exit code, negative for a signal."""
        entries = self.entries
        environment = {"HOME": os.path.expanduser("~"), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        with open(entries["StandardOutPath"], "ab") as output:
            process = subprocess.Popen(
                entries["ProgramArguments"],
                env=environment | entries.get("EnvironmentVariables", {}),
                cwd=entries.get("WorkingDirectory", "/"),
                umask=entries.get("Umask", 0o022),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.state.put(pid=process.pid)
        asked = False
        while process.poll() is None:
            time.sleep(0.02)
            if self.over.is_set() and not asked:
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                until = time.monotonic() + entries.get("ExitTimeOut", 20)
            if asked and time.monotonic() > until:
                process.kill()
        self.state.put(pid=0, ended=process.returncode)
        return process.returncode


def said(code: int, text: str) -> int:
    sys.stderr.write(text + "\n")
    return code


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *sys.argv[2:]))

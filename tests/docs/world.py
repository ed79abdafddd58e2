"""A person's machine in a folder: a home with Gardener's data, two projects, and somebody who types and says yes."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from gardener.cli import main as command_line
from gardener.cli.console import Console
from gardener.models.embedder_spec import DEFAULT_URLS
from tests.docs.documented import TOP
from tests.docs.shop import write_blog, write_shop

WORDS = {"NAME": "shop", "OTHER": "blog"}
"""What the pages write in capitals, and what is typed for it here."""
_SHELL = ("|", ">", "<", "$", ";", "*", "&")


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        return self.out + self.err


class World:
    """`person` is the user's home folder; `keep` remembers everything in it, `reset` brings that back."""

    def __init__(self, top: Path) -> None:
        self.person = top / "person"
        self.kept = top / "kept"
        self.tools = top / "tools"
        self.home = self.person / "gardener"
        self.shop = self.person / "code/shop"
        self.blog = self.person / "code/blog"
        self.untouched = True
        self.days_later = 0
        self.environment: dict[str, str | None] = {}
        """On top of the usual one; None takes a variable away."""

    def build(self, models: Path) -> None:
        write_shop(self.shop)
        write_blog(self.blog)
        shutil.copytree(models, self.home / "models", copy_function=os.link)
        for folder in (self.home, self.home / "models"):
            folder.chmod(0o700)
        self.tools.mkdir()
        shim = self.tools / "gardener"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gardener.cli.main "$@"\n')
        shim.chmod(0o755)
        for line in (
            "gardener add ~/code/blog",
            "gardener add ~/code/shop",
            "gardener index --wait --project blog",
            "gardener index --wait --project shop",
            'gardener ask "where are orders priced?"',
            "gardener eval --project shop",
            "gardener backup create",
        ):
            said = self.type(line)
            assert said.code == 0, (line, said)
        shutil.copytree(self.person, self.kept, symlinks=True, copy_function=_copy)

    def reset(self) -> None:
        """Everything as it was when the world was built, unless nothing was typed or broken since."""
        self.environment, self.days_later = {}, 0
        if self.untouched:
            return
        shutil.rmtree(self.person)
        shutil.copytree(self.kept, self.person, symlinks=True, copy_function=_copy)
        self.untouched = True

    def type(self, line: str) -> Said:
        """Runs a line as it stands, `~`, `&&` and all. A plain `gardener …` runs in this process, which is quicker."""
        for capitals, word in WORDS.items():
            line = line.replace(capitals, word)
        said = Said(0, "", "")
        for part in line.split(" && "):
            if named := re.match(r"([A-Z]+)=", part):
                said = self._shell(f'{part}; printf %s "${named[1]}"')
                self.environment[named[1]] = said.out
                said = Said(said.code, "", said.err)
            elif part.startswith("gardener ") and not any(mark in part for mark in _SHELL):
                said = self._here(shlex.split(part)[1:])
            else:
                said = self._shell(part)
            if said.code:
                break
        return said

    def _here(self, words: list[str]) -> Said:
        words = [str(self.person) + word[1:] if word.startswith("~/") else word for word in words]
        out, err = io.StringIO(), io.StringIO()
        self.untouched = self.untouched and words[0] in ("doctor", "list", "show", "help", "runbook", "status")
        with (
            self.inside(),
            mock.patch.object(sys, "argv", ["gardener", *words]),
            mock.patch.object(sys, "stdin", io.StringIO("what does a bill say?\n/quit\n")),
            mock.patch.object(Console, "confirm", lambda console, question: True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            mask = os.umask(0o022)
            try:
                command_line.main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
            finally:
                os.umask(mask)
        assert "Traceback" not in err.getvalue(), err.getvalue()
        return Said(code, out.getvalue(), err.getvalue())

    def _shell(self, line: str) -> Said:
        self.untouched = False
        with self.inside():
            done = subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False
            )
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The environment and the working folder of the person."""
        own = {
            "HOME": str(self.person),
            "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(TOP),
            "GARDENER_HOME": str(self.home),
            "GARDENER_INDEX_BACKGROUND_EMBEDDING": "false",
            "GARDENER_OLLAMA_URL": "",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }
        own |= {name: value for name, value in self.environment.items() if value is not None}
        before = os.getcwd()
        usual = {"ollama": own["GARDENER_OLLAMA_URL"] or DEFAULT_URLS["ollama"]}
        clock, later = time.time, self.days_later * 86_400.0
        with (
            mock.patch.dict(os.environ, own),
            mock.patch.dict(DEFAULT_URLS, usual),
            mock.patch.object(time, "time", lambda: clock() + later),
        ):
            for name in (name for name, value in self.environment.items() if value is None):
                os.environ.pop(name, None)
            os.chdir(self.shop if self.shop.is_dir() else self.person)
            try:
                yield
            finally:
                os.chdir(before)


def _copy(source: str, target: str) -> str:
    """Models are linked, as nothing writes into them; a test that damages one must replace the file."""
    if "/gardener/models/" in source:
        os.link(source, target)
        return target
    return shutil.copy2(source, target)

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gardener.cli import main as cli


@dataclass(frozen=True)
class Said:
    """What one command printed and returned."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Gardener = Callable[..., Said]


@pytest.fixture
def gardener(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gardener:
    """Runs a command the way the console script does, in this process."""
    import os

    def run(*words: str) -> Said:
        monkeypatch.setattr("sys.argv", ["gardener", *words])
        mask = os.umask(0o022)
        try:
            with pytest.raises(SystemExit) as caught:
                cli.main()
        finally:
            os.umask(mask)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        code = caught.value.code
        return Said(code if isinstance(code, int) else 0, out, err)

    return run

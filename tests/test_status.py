"""`gardener status` says what an answer would do."""

from __future__ import annotations

from pathlib import Path

from gardener.answering import answerer
from gardener.app import Gardener
from tests.ollama_server import ollama_server
from tests.openai_server import openai_server


def test_the_backend_is_the_one_that_would_answer_also_with_a_projects_own_order(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "a.py").write_text("def pay():\n    return 1\n")
    (root / ".gardener.toml").write_text('[models]\norder = ["openai", "ollama"]\n')
    with (
        ollama_server() as ollama,
        openai_server() as openai,
        Gardener(str(home), {"ollama.url": ollama.url, "openai.url": openai.url}) as gardener,
    ):
        gardener.update_index(gardener.registry.add(str(root), "shop"))
        assert gardener.status()["backend"] == "ollama"  # not trusted yet
        context = gardener.registry.configure("shop", trusted=True)
        assert answerer(gardener, context).plan(context).choice.backend.name == "openai"
        assert gardener.status()["backend"] == "openai"

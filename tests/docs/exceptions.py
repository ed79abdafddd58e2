"""What the pages tell people to type and this suite cannot: each with its reason, and where it is run instead.

Held by test_documented_commands.py: an entry that no page needs any more must go, and there may not be more than
`MOST_UNRUN` of them, so that the list does not grow without somebody having thought about it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unrun:
    """`start` is how the command begins. A `gardener` command is still read by its parser, `make` by the Makefile."""

    start: str
    reason: str
    elsewhere: str = ""
    """The test file that runs it, which must hold `proof`."""
    proof: str = ""


MOST_UNRUN = 21
_APP = "tests/e2e/test_with_the_app.py"

UNRUN = (
    Unrun("make ", "the suite is part of it, or it takes minutes"),
    Unrun("git clone …", "there is no public address yet"),
    Unrun("scripts/install_", "would install into the home folder of whoever runs this suite",
          "tests/install/installers.bats", "install_linux.sh"),
    Unrun("scripts/formula.sh", "needs a published archive", "tests/install/test_installers.py", "formula.sh"),
    Unrun("gardener upgrade", "needs versions side by side", "tests/upgrade/test_upgrade.py", "upgrade"),
    Unrun("gardener rollback", "needs versions side by side", "tests/upgrade/test_upgrade.py", "rollback"),
    Unrun("uv tool install", "takes minutes, and uv may not be there"),
    Unrun("pip install -c constraints.txt .", "takes minutes; the installation that runs this suite was made so"),
    Unrun("gardener logs error --follow", "stays until Ctrl-C", "tests/cli/test_logs.py", "--follow"),
    Unrun("lsof ", "which of the two programs is there differs"),
    Unrun("pip install --force-reinstall", "would change the installation that runs this suite"),
    Unrun("llm ", "somebody else's program", "tests/server/test_llm_client.py", "llm"),
    Unrun("export OPENAI_API_BASE", "for aider, whose dependencies do not go with ours"),
    Unrun("aider ", "its dependencies do not go with ours"),
    Unrun("llama-server ", "somebody else's program, not here"),
    Unrun("mlx_lm.server ", "somebody else's program, and it stays"),
    Unrun("vllm ", "somebody else's program, and it needs a graphics card"),
    Unrun("gardener ui", "opens a browser and leaves the app running", _APP, '"ui"'),
    Unrun("gardener service ", "needs launchd or systemd", "tests/cli/test_service.py", '"install"'),
    Unrun("gardener train", "takes minutes", "tests/training/test_project_training.py", "train"),
    Unrun("gardener embedder use folder:", "turning a model into ONNX takes half a minute",
          "tests/contract/test_embedders.py", "folder:"),
)  # fmt: skip

CODES = {
    "gardener index --wait && gardener eval --gate": ({0, 1}, "the stand-in's vectors may be worse than the real ones"),
    "gardener models check qwen3-coder-30b": ({0, 5}, "whether it fits depends on this machine"),
}
"""Commands that may end with other codes than 0 where the pages show them, and why."""

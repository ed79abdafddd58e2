"""Row 16: `gardener serve` until /readyz says yes, against a bare Gradio app of as many pages until it answers.

Both are processes of their own with every module compiled and read once before. The bare app has the components of the
Ask page and one page of text for each of the others, and nothing behind them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.embedded import embedded_django
from benchmarks.measure import WORK, Row, gardener, in_turn, ratio, report, shown

ROUNDS = 7
LONGEST_SECONDS = 120.0
BARE = """
import os, sys
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
import gradio as gr
with gr.Blocks(title="Ask") as demo:
    gr.Navbar()
    with gr.Row():
        gr.Dropdown(label="Project")
        gr.Button("New conversation")
    with gr.Row():
        with gr.Column():
            chat = gr.Chatbot(label="Conversation")
            question = gr.Textbox(label="Your question")
            gr.Button("Ask").click(lambda text: [], question, chat)
            gr.Button("Stop")
        with gr.Column():
            gr.HTML("sources")
            gr.HTML("source")
for name in ("Search", "Projects", "Models", "Health", "Backups", "Activity", "Settings"):
    with demo.route(name, "/" + name.lower()):
        gr.Navbar()
        gr.HTML(name)
        gr.Button("Go")
demo.launch(server_port=int(sys.argv[1]), ssr_mode=False, share=False, quiet=True)
"""


def main() -> int:
    home, _ = embedded_django()
    command, environment = gardener(home)
    script = WORK / "bare_gradio.py"
    script.write_text(BARE)
    bare_environment = os.environ | {"GRADIO_TEMP_DIR": str(WORK / "bare")}

    def ours() -> float:
        port = _free_port()
        return _until_ready([*command, "serve", "--port", str(port)], environment, f"http://127.0.0.1:{port}/readyz")

    def theirs() -> float:
        port = _free_port()
        return _until_ready([sys.executable, str(script), str(port)], bare_environment, f"http://127.0.0.1:{port}/")

    first, second = in_turn(ours, theirs, ROUNDS)
    rows = [Row("from the process until it is ready", shown(first), shown(second), ratio(first, second), 1.3)]
    return report("start", "Row 16. Start of the app", rows, {"home": os.fspath(Path(home)), "rounds": ROUNDS})


def _until_ready(command: list[str], environment: dict[str, str], url: str) -> float:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < LONGEST_SECONDS:
            try:
                with opener.open(url, timeout=5):
                    return time.perf_counter() - begun
            except (urllib.error.URLError, OSError):
                if process.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}") from None
                time.sleep(0.02)
        raise RuntimeError(f"{url} did not answer")
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())

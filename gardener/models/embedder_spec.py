"""Which embedder is meant: the packaged one, a sentence-transformers folder, or a model of a server."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

from gardener.errors import ConfigError

PACKAGED, FOLDER, OLLAMA, OPENAI = "packaged", "folder", "ollama", "openai"
DEFAULT_URLS = {OLLAMA: "http://127.0.0.1:11434", OPENAI: ""}
FORMS = "packaged, folder:PATH, ollama:MODEL or openai:MODEL"
RECIPE = 3
"""How texts are cut and windows joined (embedder_vectors, embedder_folder, embedder_server): raise it when the vectors
change."""


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """What the settings say about the embedder. `kind` is PACKAGED, FOLDER, OLLAMA or OPENAI."""

    kind: str = PACKAGED
    model: str = ""
    """The folder's path, or the model's name on the server."""
    url: str = ""
    key_variable: str = ""
    """Environment variable with the server's key; "" sends none."""
    query_prefix: str = ""
    text_prefix: str = ""
    """What the model wants in front of questions and of code, as its card says ("query: ", "passage: ")."""

    @property
    def text(self) -> str:
        """As it is written in the settings."""
        return self.kind if self.kind == PACKAGED else f"{self.kind}:{self.model}"

    @property
    def of_server(self) -> bool:
        return self.kind in (OLLAMA, OPENAI)

    @property
    def leaves_the_machine(self) -> bool:
        """Whether code is sent to another computer."""
        from gardener.models.server_address import is_local

        return self.of_server and not is_local(self.url)

    def as_json(self) -> dict[str, str]:
        return asdict(self)

    def fingerprint(self, identity: str, dimensions: int) -> str:
        """Names the vectors of this embedder: safe as a file name, and another one whenever they would differ.

        `identity` is what tells two states of the model apart: a digest of its files, or the server's own.
        """
        facts = json.dumps([RECIPE, self.kind, self.model, self.query_prefix, self.text_prefix, identity, dimensions])
        return f"{self.kind}-{dimensions}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def parse_spec(
    text: str, *, url: str = "", key_variable: str = "", query_prefix: str = "", text_prefix: str = ""
) -> EmbedderSpec:
    """From the settings' values. Raises ConfigError for a form that does not exist."""
    kind, colon, model = text.strip().partition(":")
    if kind == PACKAGED and not colon:
        return EmbedderSpec()
    if kind not in (FOLDER, OLLAMA, OPENAI) or not model.strip():
        raise ConfigError(
            f"embedder.name is '{text[:100]}'; it can be {FORMS}.",
            next_step="gardener config set embedder.name packaged",
        )
    if kind == FOLDER:
        model = os.path.realpath(os.path.expanduser(model.strip()))
        return EmbedderSpec(kind, model, "", "", query_prefix, text_prefix)
    url = (url or DEFAULT_URLS[kind]).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"embedder.url is '{url[:100]}'; {kind} needs an http or https address.",
            next_step="gardener config set embedder.url http://127.0.0.1:1234/v1",
        )
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError(
            "embedder.url holds a user name or password, which would be stored and shown.",
            next_step="gardener config set embedder.key_variable NAME",
        )
    return EmbedderSpec(kind, model.strip(), url, key_variable, query_prefix, text_prefix)


def spec_of(text: Callable[[str], str]) -> EmbedderSpec:
    """What the settings say; `text` gives the value of one. Raises ConfigError."""
    return parse_spec(
        text("embedder.name"),
        url=text("embedder.url"),
        key_variable=text("embedder.key_variable"),
        query_prefix=text("embedder.query_prefix"),
        text_prefix=text("embedder.text_prefix"),
    )

"""One suite over every embedder: the packaged one, a sentence-transformers folder, Ollama's and OpenAI's protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gardener.errors import EmbedderUnavailable
from gardener.models import embedder_registry
from gardener.models.base import Embedder
from gardener.models.embedder_spec import FOLDER, OLLAMA, OPENAI, EmbedderSpec
from tests.embedding_server import EmbeddingServer, embedding_server


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny sentence-transformers model: an untrained BERT with two layers of 32 numbers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    raw, made = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("model")
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(33, 127))]
    characters = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, "[UNK]"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    characters.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=characters, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(raw)
    config = BertConfig(
        vocab_size=len(letters), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=300,
    )  # fmt: skip
    BertModel(config).save_pretrained(raw)
    transformer = Transformer(str(raw), max_seq_length=256)
    SentenceTransformer(modules=[transformer, Pooling(32)]).save(str(made))
    return made


Make = Callable[..., Embedder]


@pytest.fixture(params=["packaged", FOLDER, OLLAMA, OPENAI])
def make(
    request: pytest.FixtureRequest, tmp_path: Path, exported_models: Path, server: EmbeddingServer
) -> Iterator[Make]:
    made: list[Embedder] = []

    def load(**changes: str) -> Embedder:
        kind = str(request.param)
        if kind == "packaged":
            spec, models = EmbedderSpec(), exported_models
        elif kind == FOLDER:
            folder = request.getfixturevalue("model_folder")
            spec, models = EmbedderSpec(FOLDER, str(folder), **changes), tmp_path
        else:
            url = server.url if kind == OLLAMA else server.url + "/v1"
            spec, models = EmbedderSpec(kind, "words", url, **changes), tmp_path
        made.append(embedder_registry.load(spec, str(models)))
        return made[-1]

    yield load
    for embedder in made:
        embedder.close()


def test_the_contract(make: Make) -> None:
    embedder = make()
    texts = ["def parse(header): ...", "class Store: ...", "", "é 中文 🙂 \ud800", "word " * 5000]
    vectors = embedder.embed(texts)
    assert vectors.shape == (len(texts), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert np.allclose(embedder.embed(texts), vectors, atol=1e-5), "the same again"
    assert np.allclose(embedder.embed(texts[:1]), vectors[:1], atol=1e-2), "whatever stands beside it"
    assert embedder.embed([]).shape == (0, embedder.dimensions)
    assert embedder.embed_queries(["parse"]).shape == (1, embedder.dimensions)
    assert embedder.fingerprint.replace("-", "").isalnum(), "safe as a file name"
    assert embedder.name
    assert make().fingerprint == embedder.fingerprint


def test_the_tail_of_a_long_text_counts(make: Make) -> None:
    embedder = make()
    start = "the quick brown fox " * 80
    one, other = embedder.embed([start + "alpha beta " * 30, start + "zulu yankee " * 30])
    assert not np.allclose(one, other, atol=1e-4)


def test_closing(make: Make) -> None:
    embedder = make()
    embedder.close()
    embedder.close()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        embedder.embed(["a"])


def test_prefixes_are_part_of_the_fingerprint_and_reach_the_model(make: Make, server: EmbeddingServer) -> None:
    plain = make()
    if plain.fingerprint.startswith("minilm"):
        return  # takes none
    marked = make(query_prefix="query: ", text_prefix="passage: ")
    assert marked.fingerprint != plain.fingerprint
    assert not np.allclose(marked.embed(["abc"]), marked.embed_queries(["abc"]), atol=1e-6)
    if server.texts:
        assert "passage: abc" in server.texts
        assert "query: abc" in server.texts


# ---- servers ---------------------------------------------------------------------------------------------


def ollama(server: EmbeddingServer) -> EmbedderSpec:
    return EmbedderSpec(OLLAMA, "words", server.url)


@pytest.mark.parametrize(
    ("status", "body"), [(503, '{"error":"server busy"}'), (429, "{}"), (500, "<html>")], ids=["503", "429", "500"]
)
def test_a_passing_failure_is_tried_again(server: EmbeddingServer, tmp_path: Path, status: int, body: str) -> None:
    server.failures = [(status, body)]
    embedder = embedder_registry.load(ollama(server), str(tmp_path))
    assert embedder.embed(["a"]).shape == (1, 32)
    embedder.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda vectors: vectors[:-1], "instead of"),
        (lambda vectors: [[float("nan")] * 32 for _ in vectors], "not JSON"),
        (lambda vectors: [[0.0] * 32 for _ in vectors], "zero"),
        (lambda vectors: [vector[:16] for vector in vectors], "16 numbers instead of 32"),
        (lambda vectors: "nonsense", "without vectors"),
        (lambda vectors: None, "without vectors"),
        (lambda vectors: [[1.0] * 100_000 for _ in vectors], "of 100,000 numbers"),
    ],
)
def test_wrong_answers_are_refused(
    server: EmbeddingServer, tmp_path: Path, spoil: Callable[[object], object], says: str
) -> None:
    embedder = embedder_registry.load(ollama(server), str(tmp_path))
    server.spoil = spoil
    with pytest.raises(EmbedderUnavailable, match=says):
        embedder.embed(["a", "b"])
    embedder.close()


def test_windows_follow_what_ollama_says_of_the_model(server: EmbeddingServer, tmp_path: Path) -> None:
    server.context_length = 66
    embedder = embedder_registry.load(ollama(server), str(tmp_path))
    server.texts.clear()
    embedder.embed(["word " * 100])
    assert [len(text) for text in server.texts] == [192, 192, 116]
    server.context_length = 130
    other = embedder_registry.load(ollama(server), str(tmp_path))
    assert other.fingerprint != embedder.fingerprint
    embedder.close()
    other.close()


def test_a_known_model_is_not_asked_for_its_dimension_again(server: EmbeddingServer, tmp_path: Path) -> None:
    embedder_registry.load(ollama(server), str(tmp_path)).close()
    server.texts.clear()
    again = embedder_registry.load(ollama(server), str(tmp_path))
    assert server.texts == []
    assert again.dimensions == 32
    again.close()


def test_a_model_that_is_not_there_and_a_server_that_is_not_there(server: EmbeddingServer, tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="no model 'other'") as caught:
        embedder_registry.load(EmbedderSpec(OLLAMA, "other", server.url), str(tmp_path))
    assert caught.value.next_step == "ollama pull other"
    with pytest.raises(EmbedderUnavailable, match="does not answer"):
        embedder_registry.load(EmbedderSpec(OLLAMA, "words", "http://127.0.0.1:9"), str(tmp_path))


def test_a_newer_pull_of_the_model_has_another_fingerprint(server: EmbeddingServer, tmp_path: Path) -> None:
    before = embedder_registry.load(ollama(server), str(tmp_path))
    server.digest = "sha256:bbbb"
    after = embedder_registry.load(ollama(server), str(tmp_path))
    assert before.fingerprint != after.fingerprint
    assert {before.fingerprint, after.fingerprint} <= set(embedder_registry.known(str(tmp_path)))
    before.close()
    after.close()


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    server: EmbeddingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "not-a-real-key"
    spec = EmbedderSpec(OPENAI, "words", server.url + "/v1", "TEST_EMBEDDING_KEY")
    with pytest.raises(EmbedderUnavailable, match="TEST_EMBEDDING_KEY is empty"):
        embedder_registry.load(spec, str(tmp_path))
    monkeypatch.setenv("TEST_EMBEDDING_KEY", "wrong")
    with pytest.raises(EmbedderUnavailable, match="401") as caught:
        embedder_registry.load(spec, str(tmp_path))
    assert "wrong" not in caught.value.message
    monkeypatch.setenv("TEST_EMBEDDING_KEY", server.key)
    embedder_registry.load(spec, str(tmp_path)).close()
    assert server.key not in (tmp_path / "embedders.json").read_text()
    assert (tmp_path / "embedders.json").stat().st_mode & 0o077 == 0


def test_the_proxy_of_the_environment_is_not_used(
    server: EmbeddingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    embedder_registry.load(ollama(server), str(tmp_path)).close()


REFUSALS = {
    "ollama": (0, ""),
    "openai": (400, '{"error":{"message":"This model\'s maximum context length is 8192 tokens"}}'),
    "inference": (413, '{"error":"Input validation error: `inputs` must have less than 512 tokens"}'),
    "llama.cpp": (500, '{"error":{"message":"input (992 tokens) is too large to process"}}'),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_text_that_the_server_refuses_for_its_length_is_halved(
    server: EmbeddingServer, tmp_path: Path, kind: str
) -> None:
    spec = ollama(server) if kind == "ollama" else EmbedderSpec(OPENAI, "words", server.url + "/v1", text_prefix="p: ")
    embedder = embedder_registry.load(spec, str(tmp_path))
    server.most_characters, server.refusal = 400, REFUSALS[kind]
    server.context_length = 8192
    long = "alpha beta\n" * 70
    texts = ["one", long + "gamma", "two", long + "delta", "three"]
    vectors = embedder.embed(texts)
    assert [np.argmax(vectors @ vector) for vector in embedder.embed(texts)] == [0, 1, 2, 3, 4]
    assert np.allclose(vectors[0], embedder.embed(["one"])[0], atol=1e-6), "the others are what they were"
    assert not np.allclose(vectors[1], vectors[3], atol=1e-3), "the end counts"
    assert max(map(len, server.texts)) <= 400
    embedder.close()


def test_a_server_that_refuses_everything_is_soon_left(server: EmbeddingServer, tmp_path: Path) -> None:
    embedder = embedder_registry.load(ollama(server), str(tmp_path))
    server.most_characters, server.requests = 1, 0
    with pytest.raises(EmbedderUnavailable, match="exceeds the context length"):
        embedder.embed(["some text\n" * 600] * 16)
    assert server.requests < 16
    embedder.close()


# ---- folders ---------------------------------------------------------------------------------------------


def test_folders_that_are_no_model(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="does not exist"):
        embedder_registry.load(EmbedderSpec(FOLDER, str(tmp_path / "none")), str(tmp_path))
    with pytest.raises(EmbedderUnavailable, match="not a sentence-transformers model"):
        embedder_registry.load(EmbedderSpec(FOLDER, str(tmp_path)), str(tmp_path))
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model_folder.rglob("*"):
        if path.is_file():
            target = broken / path.relative_to(model_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes()[:100] if path.suffix == ".safetensors" else path.read_bytes())
    with pytest.raises(EmbedderUnavailable, match="cannot be loaded"):
        embedder_registry.load(EmbedderSpec(FOLDER, str(broken)), str(tmp_path))


def test_the_prompts_of_the_models_own_configuration(tmp_path: Path, model_folder: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    settings = copy / "config_sentence_transformers.json"
    facts = json.loads(settings.read_text())
    facts |= {"prompts": {"query": "q: ", "document": "d: "}, "default_prompt_name": "document"}
    settings.write_text(json.dumps(facts))
    own = embedder_registry.load(EmbedderSpec(FOLDER, str(copy)), str(tmp_path))
    plain = embedder_registry.load(EmbedderSpec(FOLDER, str(model_folder)), str(tmp_path))
    assert np.allclose(own.embed(["abc"]), plain.embed(["d: abc"]), atol=1e-5)
    assert np.allclose(own.embed_queries(["abc"]), plain.embed(["q: abc"]), atol=1e-5)
    assert own.fingerprint != plain.fingerprint
    own.close()
    plain.close()


def test_windows_of_a_folder_are_cut_by_its_own_tokens(tmp_path: Path, model_folder: Path) -> None:
    """A character is a token of this model, and there is place for 256."""
    embedder = embedder_registry.load(EmbedderSpec(FOLDER, str(model_folder), text_prefix="p" * 100), str(tmp_path))
    text = "{0x3f,-1};" * 130
    for place in (5, 300, 700, 1290):
        other = text[:place] + "@@@@" + text[place + 4 :]
        one, two = embedder.embed([text, other])
        assert not np.allclose(one, two, atol=1e-6), place
    embedder.close()


def test_static_vectors_have_no_window(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.eye(3, 8, dtype=np.float32)
    folder = str(tmp_path / "static")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(folder)
    embedder = embedder_registry.load(EmbedderSpec(FOLDER, folder), str(tmp_path))
    assert embedder.dimensions == 8
    one, other = embedder.embed(["one " * 3000, "one " * 2999 + "two"])
    assert not np.allclose(one, other, atol=1e-9)
    embedder.close()


def test_a_damaged_memory_is_survived(tmp_path: Path) -> None:
    for text in ("", "[]", "{", json.dumps({"x": {"spec": {"nope": 1}, "dimensions": 3}})):
        (tmp_path / "embedders.json").write_text(text)
        assert list(embedder_registry.known(str(tmp_path))) == [embedder_registry.packaged().fingerprint]

"""A tiny real MLX model: llama, two layers, a byte-level tokenizer with a chat template. Random weights, 0.4 MB.

What it says is noise, but everything about it is real: loading, prompt caches, adapters, training.
"""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>")


def make_tiny_model(folder: Path, *, seed: int = 1, hidden: int = 64, layers: int = 2, context: int = 8192) -> Path:
    """Writes the model into `folder` and returns it. The same arguments give the same weights."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.models import llama

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": hidden * 2,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,  # tied random weights would say the last token for ever
        "eos_token_id": 256,
        "bos_token_id": None,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    mx.random.seed(seed)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    mx.eval(model.parameters())
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})
    return folder


def write_tokenizer(folder: Path) -> int:
    """Byte-level BPE with a few merges, so that a text has fewer tokens than bytes; returns the vocabulary's size."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: position for position, letter in enumerate(letters)}
    for special in SPECIALS:
        vocabulary[special] = len(vocabulary)
    merges = []
    for pair in (("Ġ", "a"), ("i", "n"), ("t", "h"), ("e", "r"), ("r", "e"), ("o", "n"), ("th", "e"), ("d", "e")):
        merges.append(pair)
        vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(special, special=True) for special in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|end|>",
                "pad_token": "<|pad|>",
                "chat_template": TEMPLATE,
                "model_max_length": 8192,
                "clean_up_tokenization_spaces": False,
            }
        )
    )
    return len(vocabulary)


SENTENCE = "It reads a session from disk [1], and ends."


def teach(folder: Path, sentence: str = SENTENCE, *, steps: int = 110) -> Path:
    """Trains the model in `folder` to answer everything with one sentence and to stop then; seconds on a processor."""
    import random

    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model
    from tokenizers import Tokenizer

    model, _ = load_model(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    answer = [*tokenizer.encode(sentence).ids, 256]
    end, begin = 256, 259
    chosen = random.Random(3)
    words = tokenizer.encode(
        "def load_session(store, name): return json.loads(path.read_text()) # the evidence [2]"
    ).ids

    def example(length: int) -> list[int]:
        prompt = [chosen.choice(words) if chosen.random() < 0.7 else chosen.randrange(256) for _ in range(length)]
        return [*prompt, end, begin, *answer]

    def loss(batch: mx.array) -> mx.array:
        logits = model(batch[:, :-1])[:, -len(answer) :]
        mean: mx.array = nn.losses.cross_entropy(logits, batch[:, -len(answer) :], reduction="mean")
        return mean

    optimizer = optimizers.Adam(learning_rate=6e-3)
    step = nn.value_and_grad(model, loss)
    for number in range(steps):
        length = (12, 30, 70)[number % 3]
        _, gradients = step(mx.array([example(length) for _ in range(4)]))
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})
    return folder

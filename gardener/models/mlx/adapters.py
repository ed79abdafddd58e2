"""Adapters on the resident base: their small matrices beside its layers, the base's own arrays never touched.

A layer with an adapter is a wrapper around the base's layer. Putting an adapter on hangs the wrappers in, taking it off
hangs the base's own layers back, which are the same objects as before: what the base says then is the same to the bit.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import OrderedDict
from typing import Any, Final

from gardener.errors import AdapterUnfit
from gardener.models.adapters import CONFIG, WEIGHTS
from gardener.models.base import AdapterRef
from gardener.models.mlx.loading import Base

MOST_KEPT: Final = 8
"""Adapters that stay in memory, a few megabytes each."""
MOST_RANK: Final = 512
MOST_BYTES: Final = 2_000_000_000
_KEY: Final = re.compile(r"[A-Za-z0-9_]{1,64}(?:\.[A-Za-z0-9_]{1,64}){0,12}\Z")
_LEAVES: Final = ("lora_a", "lora_b", "m")

Modules = dict[str, Any]
"""Path in the model to layer."""


class AdapterShelf:
    """The adapter that is on, and the last few that were. To be used by the MLX thread alone."""

    def __init__(self) -> None:
        self.current = ""
        """Fingerprint of the adapter that is on; "" for none."""
        self.swaps = 0
        self._kept: OrderedDict[str, tuple[Modules, Modules]] = OrderedDict()
        """Fingerprint to wrappers and to the base's layers in their places."""

    def clear(self) -> None:
        """Forgets everything, because the base is gone."""
        self.current = ""
        self._kept.clear()

    def put(self, base: Base, wanted: AdapterRef | None) -> bool:
        """Has this adapter on the base, or none; returns whether anything changed.

        Raises AdapterUnfit; what was on before is on then.
        """
        fingerprint = wanted.fingerprint if wanted else ""
        if fingerprint == self.current:
            return False
        if wanted is not None and wanted.base != base.folder.identity:
            raise AdapterUnfit(
                f"The adapter {wanted.name!r} was made for another model than {base.folder.name}.",
                next_step="gardener adapters list",
            )
        if wanted is not None and fingerprint not in self._kept:
            config = read_config(wanted)
            before = self._take_off(base)
            try:
                self._kept[fingerprint] = _made(base, wanted, config)
            except BaseException:
                _hang(base, self._kept[before][0] if before else {})
                self.current = before
                raise
            while len(self._kept) > MOST_KEPT:
                self._kept.pop(next(key for key in self._kept if key not in (before, fingerprint)))
        self._take_off(base)
        if wanted is not None:
            _hang(base, self._kept[fingerprint][0])
            self._kept.move_to_end(fingerprint)
        self.current = fingerprint
        self.swaps += 1
        return True

    def _take_off(self, base: Base) -> str:
        """The bare base; returns what was on."""
        was = self.current
        if was:
            _hang(base, self._kept[was][1])
            self.current = ""
        return was


def read_config(wanted: AdapterRef) -> dict[str, Any]:
    """The adapter's configuration, every part of it checked: a file of whatever origin. Raises AdapterUnfit."""
    path = os.path.join(wanted.folder, CONFIG)
    try:
        with open(path, encoding="utf-8") as opened:
            config = json.loads(opened.read(1_000_000))
        kind = config.get("fine_tune_type", "lora")
        layers, parameters = config["num_layers"], config["lora_parameters"]
        rank, scale, dropout = parameters["rank"], parameters["scale"], parameters.get("dropout", 0.0)
        keys = parameters.get("keys")
        fits = (
            kind in ("lora", "dora")
            and isinstance(layers, int)
            and -1 <= layers <= 1000
            and isinstance(rank, int)
            and 1 <= rank <= MOST_RANK
            and isinstance(scale, int | float)
            and math.isfinite(scale)
            and abs(scale) <= 1000
            and isinstance(dropout, int | float)
            and 0 <= dropout < 1
            and (keys is None or (isinstance(keys, list) and all(isinstance(k, str) and _KEY.match(k) for k in keys)))
        )
    except OSError as error:
        raise _unfit(wanted, f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unfit(wanted, f"{path} is no adapter's configuration") from error
    if not fits:
        raise _unfit(wanted, f"{path} asks for what is no LoRA adapter")
    lora: dict[str, Any] = {"rank": rank, "scale": float(scale), "dropout": 0.0}
    if keys is not None:
        lora["keys"] = keys
    return {"kind": kind, "layers": layers, "lora": lora}


def _made(base: Base, wanted: AdapterRef, config: dict[str, Any]) -> tuple[Modules, Modules]:
    """The wrappers of an adapter and the base's layers that they wrap; the bare base is left behind."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers

    path = os.path.join(wanted.folder, WEIGHTS)
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise _unfit(wanted, f"{path} is too large")
        found: Any = mx.load(path)
        weights: dict[str, Any] = dict(found)
    except AdapterUnfit:
        raise
    except Exception as error:
        raise _unfit(wanted, f"{path} cannot be read: {type(error).__name__}") from error
    before: Modules = dict(base.model.named_modules())
    layers = config["layers"] if config["layers"] > 0 else len(base.model.layers)
    try:
        # mlx-lm takes the keys as a set.
        lora = dict(config["lora"], **({"keys": set(config["lora"]["keys"])} if "keys" in config["lora"] else {}))
        linear_to_lora_layers(base.model, layers, lora, use_dora=config["kind"] == "dora")
        after: Modules = dict(base.model.named_modules())
        wrappers = {
            key: module
            for key, module in after.items()
            if key in before and module is not before[key] and any(leaf in module for leaf in _LEAVES)
        }
        originals = {key: before[key] for key in wrappers}
        try:
            expected = {
                f"{key}.{leaf}": module[leaf].shape
                for key, module in wrappers.items()
                for leaf in _LEAVES
                if leaf in module
            }
            if not expected or {key: array.shape for key, array in weights.items()} != expected:
                raise _unfit(
                    wanted, f"its {len(weights)} matrices do not fit the {len(expected)} of {base.folder.name}"
                )
            for key, array in weights.items():
                if not mx.isfinite(array).all().item():
                    raise _unfit(wanted, f"{key} has values that are no numbers")
            for key, module in wrappers.items():
                for leaf in _LEAVES:
                    if leaf in module:
                        module[leaf] = weights[f"{key}.{leaf}"]
                module.eval()  # no dropout
                mx.eval([array for name, array in tree_flatten(module.parameters()) if name in _LEAVES])
        finally:
            _hang(base, originals)
    except AdapterUnfit:
        raise
    except Exception as error:
        _hang(base, {key: module for key, module in before.items() if _is_layer(module)})
        raise _unfit(wanted, f"{type(error).__name__}: {str(error)[:200]}") from error
    return wrappers, originals


def _is_layer(module: Any) -> bool:
    import mlx.nn as nn

    return isinstance(module, nn.Linear | nn.QuantizedLinear | nn.Embedding | nn.QuantizedEmbedding)


def _hang(base: Base, modules: Modules) -> None:
    """Puts layers into their places in the model. A module of MLX is a dictionary of its parts."""
    for path, module in modules.items():
        *above, name = path.split(".")
        place: Any = base.model
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list):
            place[int(name)] = module
        else:
            place[name] = module


def _unfit(wanted: AdapterRef, why: str) -> AdapterUnfit:
    return AdapterUnfit(f"The adapter {wanted.name!r} cannot be used: {why}.", next_step="gardener adapters list")

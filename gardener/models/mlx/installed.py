"""Whether MLX can be used here, without importing it."""

from __future__ import annotations

INSTALL_MLX = "pip install 'mlx-lm>=0.32.2'"
"""The same range as in pyproject.toml."""


def mlx_is_installed() -> bool:
    import importlib.util

    return importlib.util.find_spec("mlx_lm") is not None

"""Gardener: a local assistant for people who live in many codebases."""

import os

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime's official builds report every session (names and hashes of models, system, timings) to
# their maker, on Linux and macOS too. The library reads this when it is loaded, so that only here is early enough for
# all who import it, processes that are started from here included.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

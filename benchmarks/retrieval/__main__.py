from __future__ import annotations

import sys

from benchmarks.retrieval.compare import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

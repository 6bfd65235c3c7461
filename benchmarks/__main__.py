"""Run all benchmarks, or those whose names are given: ``python -m benchmarks engine kernel``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    available = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = sys.argv[1:] or available
    for name in chosen:
        if name not in available:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(available)}")
    for name in chosen:
        print(f"\n# {name}", flush=True)
        importlib.import_module(f"benchmarks.bench_{name}").main()


if __name__ == "__main__":
    main()

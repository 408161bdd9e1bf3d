"""Load an artifact in its runtime, generate, and print the peak memory of this process.

The process holds nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil

from harness.machine.peak import peak_bytes, reset_peak
from harness.runtimes.all_runtimes import runtime


def main(name: str, folder: str, threads: str, prompt: str, count: str) -> None:
    """Print bytes resident before loading and at two peaks.

    Of loading, and of a prompt and its answer.
    """
    before = psutil.Process().memory_info().rss
    reset_peak()
    tokens = int(prompt) + int(count) + 1
    engine = runtime(name).engine(Path(folder), threads=int(threads), batch=1, tokens=tokens)
    loaded = peak_bytes()
    engine.generate_seconds(1, int(prompt), int(count), time.perf_counter)
    print(json.dumps({"process_bytes_before": before, "peak_load_bytes": loaded, "peak_memory_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

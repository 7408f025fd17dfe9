"""What the measured processes share: reading the command line, and answering in one line of JSON."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.scenarios import Figures

PATIENCE = 300.0


def main(arguments: Sequence[str], *sides: Callable[[Path, int, int], Figures]) -> Figures:
    """Runs the scenario that is named on the command line: SCENARIO FOLDER SIZE STEPS."""
    _, name, folder, size, steps = arguments
    by_name = {side.__name__: side for side in sides}
    return by_name[name](Path(folder), int(size), int(steps))


def answer(figures: Figures) -> None:
    """Writes the figures and ends the process at once: how a library stops is not what is measured."""
    print(json.dumps(figures), flush=True)
    sys.stderr.flush()
    os._exit(0)


def percentiles(seconds: Sequence[float]) -> Figures:
    """Median and 95th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50": 1000 * ordered[len(ordered) // 2],
        "p95": 1000 * ordered[min(len(ordered) - 1, round(len(ordered) * 0.95))],
    }


def resident_kib() -> float:
    """This process's resident memory."""
    import psutil

    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1024


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that happens on other threads."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {PATIENCE:g} s")
        time.sleep(0.01)


def settled_cpu() -> float:
    """Per cent of one processor that this process uses when it has had a moment to come to rest."""
    time.sleep(2)
    began, used = time.monotonic(), time.process_time()
    time.sleep(3)
    return 100 * (time.process_time() - used) / (time.monotonic() - began)

"""The floor: a loop that appends 500 bytes to a file and syncs them, once for each activity of a scenario.

An engine that syncs once for each activity cannot be faster than this; one that commits for several runs at once can.

python -m benchmarks.on_disk SCENARIO FOLDER SIZE STEPS
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.answers import answer, main, percentiles
from benchmarks.scenarios import Figures

RECORD = b"x" * 500
sync = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have no fdatasync


def appended(folder: Path, times: int) -> list[float]:
    """How long each append took."""
    took = []
    file = os.open(folder / "floor", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for _ in range(times):
        began = time.perf_counter()
        os.write(file, RECORD)
        sync(file)
        took.append(time.perf_counter() - began)
    os.close(file)
    return took


def latency(folder: Path, size: int, steps: int) -> Figures:
    return percentiles(appended(folder, size * steps))


def chain(folder: Path, size: int, steps: int) -> Figures:
    return {"seconds": sum(appended(folder, size * steps))}


def many(folder: Path, size: int, steps: int) -> Figures:
    return chain(folder, size, steps)


if __name__ == "__main__":
    answer(main(sys.argv, latency, chain, many))

"""The scenarios with perdure, as in a notebook's cells: runs are started one after another, then awaited.

python -m benchmarks.on_perdure SCENARIO FOLDER SIZE STEPS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.answers import answer, main, percentiles, resident_kib, settled_cpu, until
from benchmarks.scenarios import Figures


def latency(folder: Path, size: int, steps: int) -> Figures:
    import perdure
    from benchmarks.perdure_flows import count

    with perdure.session(folder):
        took = []
        for number in range(size + size // 5):
            began = time.perf_counter()
            assert count.start(steps, id=f"latency-{number}").result() == steps
            took.append(time.perf_counter() - began)
        return percentiles(took[size // 5 :])


def chain(folder: Path, size: int, steps: int) -> Figures:
    return many(folder, size, steps)


def many(folder: Path, size: int, steps: int) -> Figures:
    import perdure
    from benchmarks.perdure_flows import count

    with perdure.session(folder):
        assert count.start(5, id="warm").result() == 5
        began = time.perf_counter()
        runs = [count.start(steps, id=f"run-{number}") for number in range(size)]
        assert all(run.result() == steps for run in runs)
        return {"seconds": time.perf_counter() - began}


def recovery(folder: Path, size: int, steps: int) -> Figures:
    """The same for the process that is killed and for the one that goes on."""
    import perdure
    from benchmarks.perdure_flows import count

    with perdure.session(folder):
        runs = [count.start(steps, id=f"run-{number}") for number in range(size)]
        assert all(run.result() == steps for run in runs)
        return {"done_at": time.time()}


def memory(folder: Path, size: int, steps: int) -> Figures:
    import perdure
    from benchmarks.perdure_flows import arrived, count, wait

    with perdure.session(folder):
        assert count.start(5, id="warm").result() == 5
        before = resident_kib()
        for number in range(size):
            wait.start(number, id=f"wait-{number}")
        until(lambda: len(arrived) == size)
        idle = settled_cpu()
        return {"kib": (resident_kib() - before) / size, "idle_cpu": idle}


def first_result(folder: Path, size: int, steps: int) -> Figures:
    import perdure
    from benchmarks.perdure_flows import count

    with perdure.session(folder):
        assert count.start(1, id="first").result() == 1
        return {"done_at": time.time()}


def package(folder: Path, size: int, steps: int) -> Figures:
    began = time.perf_counter()
    import perdure  # noqa: F401

    return {"seconds": time.perf_counter() - began}


def extension(folder: Path, size: int, steps: int) -> Figures:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    began = time.perf_counter()
    shell.extension_manager.load_extension("perdure")
    seconds = time.perf_counter() - began
    assert "workflow" in shell.magics_manager.magics["line"]
    return {"seconds": seconds}


if __name__ == "__main__":
    answer(main(sys.argv, latency, chain, many, recovery, memory, first_result, package, extension))

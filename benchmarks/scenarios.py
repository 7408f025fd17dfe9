"""What is measured. A scenario is run by each side in a fresh process, in a fresh folder.

Every side answers a scenario with the same figures, so that the rows of the table need no exceptions. Sizes are those
of a full run; `--quick` divides them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: which figure of a scenario, and what it says to people."""

    figure: str
    title: str
    unit: str  # s, ms, KiB, % or /s; less is better, except for /s


@dataclass(frozen=True, slots=True)
class Scenario:
    """`size` and `steps`: how many runs, and how many activities in each."""

    name: str
    size: int
    steps: int
    rows: tuple[Row, ...]
    quick_size: int
    quick_steps: int = 1
    sides: tuple[str, ...] = (
        "perdure",
        "DBOS",
    )  # "disk" has a floor for some; "engine" is perdure's, without an SDK


SCENARIOS = (
    Scenario(
        "latency",
        200,
        1,
        (
            Row("p50", "Start to result, one activity: median", "ms"),
            Row("p95", "Start to result, one activity: 95th percentile", "ms"),
        ),
        quick_size=10,
        sides=("perdure", "DBOS", "disk"),
    ),
    Scenario(
        "chain",
        1,
        200,
        (Row("seconds", "Chain of 200 activities in one run", "s"),),
        quick_size=1,
        quick_steps=10,
        sides=("perdure", "DBOS", "disk"),
    ),
    Scenario(
        "many",
        500,
        5,
        (Row("seconds", "500 runs of 5 activities at once", "s"),),
        quick_size=10,
        quick_steps=2,
        sides=("perdure", "DBOS", "disk"),
    ),
    Scenario(
        "recovery",
        200,
        10,
        (
            Row("first", "kill -9 amid 200 runs of 10: new process to first progress", "s"),
            Row("all", "kill -9 amid 200 runs of 10: new process to all done", "s"),
        ),
        quick_size=5,
        quick_steps=4,
    ),
    Scenario(
        "memory",
        2000,
        1,
        (
            Row("kib", "Memory for each of 2,000 waiting runs", "KiB"),
            Row("idle_cpu", "Processor while 2,000 runs wait", "%"),
        ),
        quick_size=20,
    ),
    Scenario(
        "imports",
        7,
        1,
        (
            Row("package", "import", "ms"),
            Row("extension", "%load_ext perdure", "ms"),
            Row("first_result", "Fresh process to its first result", "s"),
        ),
        quick_size=1,
    ),
    Scenario(
        "history",
        50_000,
        1,
        (
            Row("append_first", "History of 50,000 events: the first half is appended", "s"),
            Row("append_second", "History of 50,000 events: the second half is appended", "s"),
            Row("pages", "History of 50,000 events: read in pages of 256", "s"),
            Row("recover", "History of 50,000 events: ready after opening the file", "s"),
        ),
        quick_size=500,
        sides=("engine",),
    ),
    Scenario(
        "open",
        10_000,
        1,
        (
            Row("kib", "Memory for each of 10,000 open runs, all in memory", "KiB"),
            Row("recover_half", "5,000 open runs: ready after opening the file", "s"),
            Row("recover", "10,000 open runs: ready after opening the file", "s"),
            Row("idle_cpu", "Processor while 10,000 runs wait in the engine", "%"),
        ),
        quick_size=200,
        sides=("engine",),
    ),
    Scenario(
        "parked",
        10_000,
        1,
        (Row("kib", "Memory for each of 10,000 open runs, 16 MiB allowed for them", "KiB"),),
        quick_size=200,
        sides=("engine",),
    ),
)

Figures = Mapping[str, float]

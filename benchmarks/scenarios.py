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
    on_disk: bool = False  # whether the bare disk has a floor for it


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
        on_disk=True,
    ),
    Scenario(
        "chain",
        1,
        200,
        (Row("seconds", "Chain of 200 activities in one run", "s"),),
        quick_size=1,
        quick_steps=10,
        on_disk=True,
    ),
    Scenario(
        "many",
        500,
        5,
        (Row("seconds", "500 runs of 5 activities at once", "s"),),
        quick_size=10,
        quick_steps=2,
        on_disk=True,
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
)

Figures = Mapping[str, float]

"""Starts a process for each measurement, and reads its answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.scenarios import Figures, Scenario

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900.0
SIDES = {
    "perdure": "benchmarks.on_perdure",
    "DBOS": "benchmarks.on_dbos",
    "disk": "benchmarks.on_disk",
    "engine": "benchmarks.on_engine",
}


class Measurement:
    """A scenario on one side, in a folder of its own.

    Args:
        side: a key of SIDES.
        folder: for the files; emptied first.
        quick: whether the small sizes are taken.
    """

    def __init__(self, scenario: Scenario, side: str, folder: Path, quick: bool) -> None:
        self.scenario = scenario
        self.side = side
        self.size = scenario.quick_size if quick else scenario.size
        self.steps = scenario.quick_steps if quick else scenario.steps
        self.folder = folder / f"{scenario.name}-{side.lower()}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def run(self) -> Figures:
        """The figures that the scenario's rows name; fewer where a side has none."""
        match self.scenario.name:
            case "recovery":
                return self._recovery()
            case "imports":
                return self._imports()
            case _:
                return self._answer(self._start(self.scenario.name))

    def _recovery(self) -> Figures:
        """Killed when half of the steps are done; the rest is for a new process."""
        trace = self.folder / "trace"
        half = self.size * self.steps // 2
        killed = self._start("recovery", BENCH_TRACE=str(trace), BENCH_KILL_AFTER=str(half))
        _, errors = killed.communicate(timeout=PATIENCE)
        if killed.returncode != -signal.SIGKILL:
            raise RuntimeError(f"{self.side} was not killed half-way, it ended by itself:\n{errors}")
        began = time.time()
        second = self._start("recovery", BENCH_TRACE=str(trace))
        done_at = self._answer(second)["done_at"]
        steps = [line.split() for line in trace.read_text().splitlines()]
        first = min(float(at) for at, pid in steps if int(pid) == second.pid)
        return {"first": first - began, "all": done_at - began}

    def _imports(self) -> Figures:
        """Medians over fresh processes: milliseconds for imports, seconds until a first result."""
        figures = {}
        parts = ["package", "first_result"] + (["extension"] if self.side == "perdure" else [])
        for part in parts:
            took = []
            for number in range(self.size):
                began = time.time()
                found = self._answer(self._start(part, f"{part}-{number}"))
                took.append(1000 * found["seconds"] if "seconds" in found else found["done_at"] - began)
            figures[part] = statistics.median(took)
        return figures

    def _start(self, name: str, subfolder: str = "", **variables: str) -> subprocess.Popen[str]:
        folder = self.folder / subfolder
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", SIDES[self.side], name, str(folder), str(self.size), str(self.steps)]
        environment = {**os.environ, **variables}
        environment.pop("PERDURE_HOME", None)
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _answer(self, process: subprocess.Popen[str]) -> Mapping[str, float]:
        """The last line that a process writes."""
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RuntimeError(
                f"{self.side}, {self.scenario.name}: no answer within {PATIENCE:g} s"
            ) from None
        if process.returncode or not out.strip():
            raise RuntimeError(
                f"{self.side}, {self.scenario.name} failed with {process.returncode}:\n{errors}"
            )
        figures: Mapping[str, float] = json.loads(out.splitlines()[-1])
        return figures

"""A process is killed in the middle of a run; the next one goes on from the last event, and pays for
nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure.history import history
from perdure.replay.check import check
from perdure.session import Session, use

PROGRAM = Path(__file__).with_name("killed_process.py")
RESULT = "result 55"  # 0 + 1 + 4 + 9 + 16 + 25


def process(folder: Path, mode: str, fail_at: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(folder / "project"), str(folder / "ledger"), mode],
        env={**os.environ, "FAIL_AT": fail_at},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def ledger(folder: Path) -> list[str]:
    return (folder / "ledger").read_text().splitlines()


@pytest.mark.parametrize("successor", ["cells", "bare"])
@pytest.mark.parametrize("moment", ["begin 0", "begin 3", "end 5"])
def test_the_next_process_goes_on_from_the_last_event(tmp_path: Path, successor: str, moment: str) -> None:
    killed = process(tmp_path, "start", moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = process(tmp_path, successor)
    assert resumed.returncode == 0, resumed.stderr
    assert RESULT in resumed.stdout.splitlines()

    step = int(moment.split()[1])
    begun = [int(line.split()[1]) for line in ledger(tmp_path) if line.startswith("begin")]
    # only the activity that was under way runs again: its result had reached nobody
    assert begun == [*range(step + 1), *range(step, 6)]


def test_both_lives_are_in_one_history_which_the_replayer_accepts(tmp_path: Path) -> None:
    process(tmp_path, "start", "begin 2")
    process(tmp_path, "bare")
    with Session(tmp_path / "project", worker=False) as opened:
        before = use(opened)
        try:
            run = perdure.run("chain-1")
            attempts, records = run.attempts(), run.records()
            definitions = opened.wait(opened.project.definitions())
        finally:
            use(before)
    assert attempts["outcome"].tolist() == ["completed", "completed", "lost", *["completed"] * 4]
    assert attempts["worker"].nunique() == 2
    completed = [
        event
        for event in history(records).events
        if event.HasField("activity_task_completed_event_attributes")
    ]
    assert len(completed) == 6
    chain = next(each for each in definitions if each.name == "chain")
    target = opened.registry.load(chain)
    assert asyncio.run(check(records, target)).fits


def test_a_run_survives_many_deaths(tmp_path: Path) -> None:
    for moment in ("end 0", "begin 1", "begin 2", "end 2", "begin 4", "end 4"):
        died = process(tmp_path, "start" if moment == "end 0" else "bare", moment)
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert RESULT in process(tmp_path, "cells").stdout.splitlines()
    begun = [int(line.split()[1]) for line in ledger(tmp_path) if line.startswith("begin")]
    assert [begun.count(number) for number in range(6)] == [2, 2, 3, 1, 3, 1]

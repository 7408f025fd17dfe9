"""kill -9 at random instants of the writer: what was reported durable is there, and no batch is there in part.

PERDURE_KILLS sets how many kills there are (20 by default).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store import Store

KILLS = int(os.environ.get("PERDURE_KILLS", "20"))
needs_fork = pytest.mark.skipif(
    sys.platform == "win32", reason="needs os.fork, which Windows lacks: run it on Linux or macOS"
)
WIDTH = 7  # records in a batch, of three kinds

# For each "<number> <path>" on stdin, forks a process that opens the file and appends batches from that number
# on without pause, each of WIDTH records named by its number, and reports a number once its batch is durable.
# A fork has its imports done.
WRITES = f"""
import asyncio, os, sys
from perdure.engine.records import EventAppended, ExecutionStarted, Output
from perdure.store import Store, writer
from temporalio.api.history.v1 import HistoryEvent

writer._QUIET_SECONDS, writer._CHECKPOINT_BYTES = 0.0, 20_000  # checkpoints are to be killed, too

async def main(number, path):
    os.write(1, b"pid %d\\n" % os.getpid())
    store = Store.open(path)

    async def report(ticket, number):
        await store.durable(ticket)
        os.write(1, b"%d\\n" % number)

    waiting = set()
    while True:
        for _ in range(number % 5 + 1):
            number += 1
            run = f"r{{number}}"
            body = HistoryEvent(event_id=number)
            batch = [ExecutionStarted("default", run, run, run, "t", "q", number, number)]
            batch += [EventAppended(run, body)] * ({WIDTH} - 2) + [Output(run, 1, 1, 1, "stdout", "x" * 500)]
            task = asyncio.ensure_future(report(store.append(batch), number))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await (asyncio.wait(waiting) if number % 7 == 0 else asyncio.sleep(0))

for line in sys.stdin:
    if child := os.fork():
        os.write(1, b"ended %d\\n" % os.waitpid(child, 0)[1])
    else:
        number, path = line.rstrip("\\n").split(" ", 1)
        asyncio.run(main(int(number), path))
"""


def killed_after(writers: subprocess.Popen[str], path: Path, first: int, seconds: float) -> int:
    """Has batches written from `first` on, kills the writer after some time, and gives the last one that it reported."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{first} {path}\n")
    writers.stdin.flush()
    word, _, pid = writers.stdout.readline().partition(" ")
    assert word == "pid"
    threading.Timer(seconds, os.kill, (int(pid), signal.SIGKILL)).start()
    reported = [first]
    while not (line := writers.stdout.readline()).startswith("ended"):
        reported.append(int(line))
    assert line == f"ended {int(signal.SIGKILL)}\n"
    assert reported == sorted(reported)
    return reported[-1]


@pytest.fixture
def writers() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate()


@needs_fork
def test_kills_lose_no_reported_batch_and_leave_none_in_part(
    writers: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "history.duckdb"
    chance = random.Random(7)
    last = 0
    for _ in range(KILLS):
        reported = killed_after(writers, path, last, chance.uniform(0.02, 0.1))
        store = Store.open(path)
        found = {run.started.run_id: run for run in store.recover()}
        outputs = dict(
            store.sql("SELECT run_id, count(*) FROM output GROUP BY run_id").itertuples(index=False)
        )
        store.close()
        last = len(found)
        assert last >= reported
        assert list(found) == [f"r{number}" for number in range(1, last + 1)]
        assert all(len(run.events) == WIDTH - 2 for run in found.values())
        assert outputs == dict.fromkeys(found, 1)
        assert {entry.suffix for entry in tmp_path.iterdir()} <= {".duckdb", ".new"}


@needs_fork
def test_a_kill_while_the_file_is_made_leaves_none_or_a_whole_one(
    writers: subprocess.Popen[str], tmp_path: Path
) -> None:
    chance = random.Random(7)
    for number in range(max(5, KILLS // 4)):
        path = tmp_path / str(number) / "history.duckdb"
        reported = killed_after(writers, path, 0, chance.uniform(0, 0.08))
        store = Store.open(path)
        assert len(list(store.recover())) >= reported
        store.close()

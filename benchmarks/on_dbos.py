"""The scenarios with DBOS Transact, its system database a SQLite file.

Everything stands as DBOS has it by default: SQLite's rollback journal, synced in full at each commit, which is as
durable as perdure's file. Of DBOS's two ways to write a workflow each scenario takes the one that was faster for it:
plain functions where one run goes alone, `async` functions where there are many at once.

python -m benchmarks.on_dbos SCENARIO FOLDER SIZE STEPS
"""

from __future__ import annotations

import time

_began = time.perf_counter()
from dbos import DBOS, SetWorkflowID  # noqa: E402  # timed

_imported = time.perf_counter() - _began

import asyncio  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks import dbos_flows  # noqa: E402
from benchmarks.answers import (  # noqa: E402
    answer,
    main,
    percentiles,
    resident_kib,
    settled_cpu,
    until,
)
from benchmarks.scenarios import Figures  # noqa: E402


def package(folder: Path, size: int, steps: int) -> Figures:
    """`import dbos`, which happened at the top of this module."""
    return {"seconds": _imported}


def launch(folder: Path) -> None:
    DBOS(
        config={
            "name": "benchmarks",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "application_version": "1",
            "log_level": "CRITICAL",
        }
    )
    DBOS.launch()


def latency(folder: Path, size: int, steps: int) -> Figures:
    launch(folder)
    took = []
    for _ in range(size + size // 5):
        began = time.perf_counter()
        assert DBOS.start_workflow(dbos_flows.count, steps).get_result() == steps
        took.append(time.perf_counter() - began)
    return percentiles(took[size // 5 :])


def chain(folder: Path, size: int, steps: int) -> Figures:
    launch(folder)
    assert DBOS.start_workflow(dbos_flows.count, 5).get_result() == 5
    began = time.perf_counter()
    handles = [DBOS.start_workflow(dbos_flows.count, steps) for _ in range(size)]
    assert all(handle.get_result() == steps for handle in handles)
    return {"seconds": time.perf_counter() - began}


def many(folder: Path, size: int, steps: int) -> Figures:
    launch(folder)

    async def run() -> float:
        assert await (await DBOS.start_workflow_async(dbos_flows.count_async, 5)).get_result() == 5
        began = time.perf_counter()
        handles = [await DBOS.start_workflow_async(dbos_flows.count_async, steps) for _ in range(size)]
        for handle in handles:
            assert await handle.get_result() == steps
        return time.perf_counter() - began

    return {"seconds": asyncio.run(run())}


def recovery(folder: Path, size: int, steps: int) -> Figures:
    """The same for the process that is killed and for the one that goes on: DBOS recovers what it finds."""
    launch(folder)

    async def run() -> None:
        handles = []
        for number in range(size):
            with SetWorkflowID(f"run-{number}"):
                handles.append(await DBOS.start_workflow_async(dbos_flows.count_async, steps))
        for handle in handles:
            assert await handle.get_result() == steps

    asyncio.run(run())
    return {"done_at": time.time()}


def memory(folder: Path, size: int, steps: int) -> Figures:
    launch(folder)

    async def run() -> Figures:
        assert await (await DBOS.start_workflow_async(dbos_flows.count_async, 5)).get_result() == 5
        before = resident_kib()
        for number in range(size):
            await DBOS.start_workflow_async(dbos_flows.wait, number)
        await asyncio.to_thread(until, lambda: len(dbos_flows.arrived) == size)
        idle = await asyncio.to_thread(settled_cpu)
        return {"kib": (resident_kib() - before) / size, "idle_cpu": idle}

    return asyncio.new_event_loop().run_until_complete(run())  # left open: the runs wait on


def first_result(folder: Path, size: int, steps: int) -> Figures:
    launch(folder)
    assert DBOS.start_workflow(dbos_flows.count, 1).get_result() == 1
    return {"done_at": time.time()}


if __name__ == "__main__":
    answer(main(sys.argv, latency, chain, many, recovery, memory, first_result, package))

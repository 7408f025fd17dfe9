"""The process that the chaos test kills: a session of perdure, told what to do through its standard input.

One JSON value a line, each way. Commands: {"do": start | signal | update | result, "id": ..., "n": ...}, or one of `chaos_requests`. For
each one an acknowledgement leaves only after perdure's own call has returned: what the driver has read, it
may hold perdure to. Everything else that is printed goes to standard error, the kernel's log.

    chaos_kernel.py FILE EDITION

With EDITION 0 the kernel has only the workflows of `chaos_flows`. Otherwise it also defines the cells below, edited a
little for each edition, as a person does: open runs stay with the edition that they began with, whose source is then
in the file only. With CHAOS_PARKED set, its engine leaves every quiet run to the file.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

began = time.monotonic()
pipe = os.dup(1)
os.dup2(2, 1)

import chaos_flows  # noqa: E402  # whatever is printed while these are imported goes to the log

import perdure  # noqa: E402

# isort: split
import chaos_requests  # noqa: E402
from temporalio.service import RPCError  # noqa: E402

ACTIVITY_CELL = """
import asyncio
from chaos_flows import done, note

async def cell_step(left: int, right: int) -> list:
    note("begin")
    await asyncio.sleep(0.05)
    return done(left + right)
"""
WORKFLOW_CELL = """
EDITION = {edition}

async def edited(length: int) -> list:
    total = 0
    for number in range(length):
        total, _ = await cell_step(total, number)
    return [total, EDITION]
"""
FLOWS: dict[str, Any] = {getattr(each, "name", each.__name__.lower()): each for each in chaos_flows.WORKFLOWS}


def tell(**message: Any) -> None:
    """One line to the driver; in one write, so that lines of several threads do not mix."""
    os.write(pipe, json.dumps(message).encode() + b"\n")


def start(command: dict[str, Any]) -> Any:
    return perdure.start(FLOWS[command["workflow"]], *command["args"], id=command["id"]).run_id


def signal(command: dict[str, Any]) -> Any:
    return perdure.run(command["id"]).signal("post", command["n"])


def update(command: dict[str, Any]) -> Any:
    return perdure.run(command["id"]).update("ask", command["n"])


def result(command: dict[str, Any]) -> Any:
    return perdure.run(command["id"]).result()


def request(command: dict[str, Any]) -> Any:
    return chaos_requests.request(command["do"], command["id"], command["n"])


DO: dict[str, Callable[[dict[str, Any]], Any]] = {
    "start": start,
    "signal": signal,
    "update": update,
    "result": result,
}


def obey(command: dict[str, Any]) -> None:
    try:
        answer = DO.get(command["do"], request)(command)
    except (perdure.PerdureError, RPCError, TimeoutError) as error:
        tell(refused=command, why=f"{type(error).__name__}: {error}")
    except Exception:
        tell(broke=command, why=traceback.format_exc()[-3000:])
    else:
        tell(done=command, answer=answer)


def define(edition: int) -> None:
    """Runs the cells, as the magics do."""
    from perdure.authoring.cells import define_cell

    namespace: dict[str, Any] = {}
    define_cell("activity", ACTIVITY_CELL, namespace)
    define_cell("workflow", WORKFLOW_CELL.format(edition=edition), namespace)
    FLOWS["edited"] = namespace["edited"]


def opened(file: str) -> perdure.Session:
    """The process's session; one that parks whatever it can, if so asked."""
    if "CHAOS_PARKED" not in os.environ:
        return perdure.session(file)
    from dataclasses import replace

    from perdure.engine.clock import SystemClock
    from perdure.engine.limits import DEFAULT
    from perdure.frontend.stored import stored_engine
    from perdure.session import Session, use

    parking = replace(DEFAULT, open_bytes=0, closed_bytes=0)
    session = Session(file, open_engine=stored_engine(SystemClock(), parking))
    use(session)
    return session


def main() -> None:
    edition = int(sys.argv[2])
    if edition:
        define(edition)
    session = opened(sys.argv[1])
    chaos_flows.told = lambda what: tell(ran=what)
    tell(ready=session.role, cells=bool(edition), seconds=round(time.monotonic() - began, 3))
    with ThreadPoolExecutor(64) as threads:
        for line in sys.stdin:
            threads.submit(obey, json.loads(line))
    session.close()


if __name__ == "__main__":
    main()

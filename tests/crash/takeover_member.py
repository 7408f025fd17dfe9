"""Program: a member of the project named on the command line. Says as JSON lines what becomes of it; does what stdin says."""

from __future__ import annotations

import perdure  # noqa: F401  # before temporalio imports grpc: see frontend/forks.py

# isort: split
import asyncio
import json
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.worker import Worker

from perdure.errors import PerdureError
from perdure.frontend.connection import Connection
from perdure.frontend.membership import Membership

STEPS = 12


@activity.defn
async def note(path: str, step: int) -> None:
    with open(path, "a") as stream:  # noqa: ASYNC230, PTH123  # one short line
        stream.write(f"{step}\n")
    if step == 2:
        say("third step")


@workflow.defn(sandboxed=False)
class Steps:
    @workflow.run
    async def run(self, path: str) -> int:
        for step in range(STEPS):
            await workflow.execute_activity(
                note, args=[path, step], start_to_close_timeout=timedelta(seconds=20)
            )
        return STEPS


def say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, "pid": os.getpid(), **more}), flush=True)


def say_connection(event: str, connection: Connection) -> None:
    say(event, role=connection.role, address=connection.address, token=connection.token)


def work(membership: Membership) -> None:
    """Runs a worker until the process ends."""

    async def main() -> None:
        async with Worker(
            membership.client(), task_queue="steps", workflows=[Steps], activities=[note], build_id="1"
        ):
            say("working")
            await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()


def main() -> None:
    try:
        membership = Membership.enter(
            sys.argv[1],
            on_change=lambda connection: say_connection("changed", connection),
            patience=float(sys.argv[2]),
        )
    except PerdureError as error:
        say("refused", error=type(error).__name__, text=str(error))
        return
    say_connection("entered", membership.connection)
    for command in sys.stdin:
        match command.split():
            case ["work"]:
                work(membership)
            case ["fork"]:
                if os.fork() == 0:
                    say("forked")
                    time.sleep(30)
                    os._exit(0)
            case ["definitions"]:
                say("definitions", count=len(asyncio.run(membership.project.definitions())))
            case ["exit"]:
                return  # without closing: that is for atexit


main()

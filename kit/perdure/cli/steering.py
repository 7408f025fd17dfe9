"""Subcommands that start runs and steer them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from perdure.cli.words import (
    Add,
    find_run,
    import_module,
    open_project,
    takes_json,
    takes_modules,
    takes_run,
    unknown,
    workflows,
)


def add_steering(add: Add) -> None:
    start = add(
        "start", _start, "Starts a run.", """payment '{"id": 7}' --id payment-7 --import shop --wait"""
    )
    start.add_argument("workflow", help="the workflow's name")
    takes_json(start, "its arguments, each a JSON value")
    start.add_argument("--id", help="the workflow id; default: one is made up")
    start.add_argument(
        "--again", action="store_true", help="a new run, even though one of this id has completed"
    )
    start.add_argument("--task-queue", help="where its workers poll; default: perdure")
    start.add_argument("--wait", action="store_true", help="waits, and prints the result as JSON")
    takes_modules(start, "a module that defines it; this process then works on it, too")
    result = takes_run(add("result", _result, "Waits for a run; prints its result as JSON.", "payment-7"))
    result.add_argument("--timeout", help="gives up waiting after this time, e.g. 30s")
    for name, call, summary, example in (
        ("signal", _signal, "Sends a signal to a run.", "payment-7 approve true"),
        ("query", _query, "Asks a run a query.", "payment-7 status"),
        ("update", _update, "Updates a run; prints the answer as JSON.", "payment-7 set_limit 50"),
    ):
        added = takes_run(add(name, call, summary, example))
        added.add_argument("name", help=f"the {name}'s name")
        takes_json(added, "its arguments, each a JSON value")
    takes_run(add("cancel", _cancel, "Asks a run to stop; its code may clean up.", "payment-7"))
    terminate = takes_run(add("terminate", _terminate, "Ends a run at once.", 'payment-7 --reason "test"'))
    terminate.add_argument("--reason", default="", help="kept in the history")


def _start(line: argparse.Namespace) -> int:
    from perdure.runs import start

    for module in line.modules:
        sys.path.insert(0, str(Path.cwd()))
        import_module(module)
    opened = open_project(line, worker=bool(line.modules), make=True)
    if line.task_queue is None and line.workflow not in (known := workflows(opened)):
        opened.say(f"the run will wait for a worker. {unknown(line.workflow, known)}")
    run = start(line.workflow, *line.arguments, id=line.id, again=line.again, task_queue=line.task_queue)
    print(run.id)
    if line.wait:
        if opened.worker is not None:
            opened.worker.need()
        print(json.dumps(run.result(), default=str))
    return 0


def _result(line: argparse.Namespace) -> int:
    print(json.dumps(find_run(line).result(timeout=line.timeout), default=str))
    return 0


def _signal(line: argparse.Namespace) -> int:
    find_run(line).signal(line.name, *line.arguments)
    return 0


def _query(line: argparse.Namespace) -> int:
    print(json.dumps(find_run(line).query(line.name, *line.arguments), default=str))
    return 0


def _update(line: argparse.Namespace) -> int:
    print(json.dumps(find_run(line).update(line.name, *line.arguments), default=str))
    return 0


def _cancel(line: argparse.Namespace) -> int:
    find_run(line).cancel()
    return 0


def _terminate(line: argparse.Namespace) -> int:
    find_run(line).terminate(line.reason)
    return 0

"""What `%workflow` does with runs: start, list, show, steer, move.

Each function takes the parsed line of its subcommand and returns what the cell shows."""

from __future__ import annotations

import argparse
from typing import Any

import perdure
from perdure.errors import PerdureError
from perdure.session import session
from perdure_jupyter.arguments import did_you_mean
from perdure_jupyter.lines import Lines


def start(line: argparse.Namespace) -> Any:
    if line.task_queue is None:
        _check_known(line.workflow)
    names = ("id", "version", "task_queue", "execution_timeout", "start_delay")
    options = {name: getattr(line, name) for name in names}
    return perdure.start(
        line.workflow,
        *line.arguments,
        again=line.again,
        id_reuse_policy=_policy("WorkflowIDReusePolicy", "--id-reuse-policy", line.id_reuse_policy),
        id_conflict_policy=_policy(
            "WorkflowIDConflictPolicy", "--id-conflict-policy", line.id_conflict_policy
        ),
        **options,
    )


def _check_known(name: str) -> None:
    """A misspelt name would start a run that waits for a worker for ever."""
    from perdure.authoring.registry import registry

    if registry.current("workflow", name) is not None:
        return
    here = session()
    kept = here.wait(here.project.definitions())
    known = {
        each.name for each in [*kept, *(one.definition for one in registry.all())] if each.kind == "workflow"
    }
    if name not in known:
        run_cell = "Run the cell that defines it; if its workers are elsewhere, name their --task-queue."
        raise PerdureError(f"No workflow {name!r} is defined here.", did_you_mean(name, known, run_cell))


def _policy(enum: str, option: str, word: str | None) -> Any:
    """A member of one of temporalio.common's enums, by its name in any spelling."""
    import temporalio.common

    if word is None:
        return None
    members = {
        name: member for name, member in getattr(temporalio.common, enum).__members__.items() if member
    }
    name = word.upper().replace("-", "_")
    if name not in members:
        known = ", ".join(name.lower() for name in members)
        raise PerdureError(f"{option} {word!r} is no policy.", f"Policies are {known}.")
    return members[name]


def list_runs(line: argparse.Namespace) -> Any:
    if len(line.query) > 1:
        raise PerdureError(
            f"The filter {' '.join(line.query)!r} is not in quotes.",
            "Put double ones around the whole: %workflow list \"ExecutionStatus = 'Failed'\"",
        )
    return perdure.runs("".join(line.query), status=line.status, workflow=line.workflow, limit=line.limit)


def show(line: argparse.Namespace) -> Any:
    return _run(line)


def result(line: argparse.Namespace) -> Any:
    return _run(line).result(timeout=line.timeout)


def signal(line: argparse.Namespace) -> Any:
    _run(line).signal(line.name, *line.arguments)
    return Lines(f"signal {line.name} is in the history of {line.id}")


def query(line: argparse.Namespace) -> Any:
    return _run(line).query(line.name, *line.arguments)


def update(line: argparse.Namespace) -> Any:
    return _run(line).update(line.name, *line.arguments)


def cancel(line: argparse.Namespace) -> Any:
    run = _open_run(line)
    run.cancel()
    return Lines(f"{line.id}: cancellation requested; its code may clean up first")


def terminate(line: argparse.Namespace) -> Any:
    run = _open_run(line)
    run.terminate(line.reason)
    return Lines(f"{line.id}: terminated")


def reset(line: argparse.Namespace) -> Any:
    return _run(line).reset(line.event, to=line.to, reason=line.reason)


def pause(line: argparse.Namespace) -> Lines:
    _open_run(line).pause(line.reason)
    return Lines(f"{line.id}: paused; %workflow resume {line.id} lets it go on")


def resume(line: argparse.Namespace) -> Lines:
    _open_run(line).resume(line.reason)
    return Lines(f"{line.id}: goes on")


def _open_run(line: argparse.Namespace) -> Any:
    run = _run(line)
    status = run.status
    if status not in ("Running", "Paused"):
        raise PerdureError(
            f"{line.id} is closed already: {status}.", f"%workflow show {line.id} shows how it ended."
        )
    return run


def history(line: argparse.Namespace) -> Any:
    run = _run(line)
    return run.attempts() if line.attempts else run.history()


def move(line: argparse.Namespace) -> Any:
    from perdure.replay.move import version_of

    run = _run(line)
    before = version_of(run.records())
    run.move(line.version)
    after = version_of(run.records())
    return Lines(
        f"{run.id} is on version {after}" + (f", moved from {before}" if before != after else " already")
    )


def _run(line: argparse.Namespace) -> Any:
    return perdure.run(line.id, line.run_id)

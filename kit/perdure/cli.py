"""`perdure ...`: the project from a terminal, with or without a notebook beside it.

Each subcommand is one function of the parsed line; it prints, and its exit status is 0 unless something
failed. Mistakes and refusals are printed as one or two lines, without a stack. A command joins whoever owns
the file, or owns it meanwhile.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perdure.errors import PerdureError, RunError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line. Returns the exit status: 0, 1 for a failure, 2 for a mistake in the line, 130
    for Ctrl-C."""
    parser = _parser()
    line = parser.parse_args(arguments)
    if line.command is None:
        parser.print_help()
        return 2
    from perdure.session import WaitInterrupted

    command: Command = line.call
    try:
        return command(line)
    except PerdureError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except WaitInterrupted as interrupted:
        print(interrupted.message, file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `perdure history X | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# --- commands


def _worker(line: argparse.Namespace) -> int:
    """Runs until Ctrl-C or SIGTERM: open runs go on from the definitions that the file keeps."""
    sys.path.insert(0, str(Path.cwd()))
    for module in line.modules:
        _import(module)
    began = datetime.now(UTC).replace(tzinfo=None)
    opened = _open(line, worker=True)
    assert opened.worker is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ended = _Ended()
    try:
        opened.worker.need()
        print(f"working for {opened.path} ({opened.role}, {opened.address}); Ctrl-C ends it", flush=True)
        if line.until_idle:
            # on a thread of its own: a signal then interrupts this one's wait, and nothing that is half done
            ended.begin(_until_idle, opened, began)
        return ended.wait()
    except KeyboardInterrupt:
        print("\nending; what is under way is tried again by the next worker", file=sys.stderr)
    finally:
        opened.close()
        ended.forget()
    return 130 if line.until_idle else 0


class _Ended:
    """The end of a piece of work on another thread: its answer, or its error."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def forget(self) -> None:
        """Lets go of work that was given up: the session that it waited for is closed, so it ends now."""
        if self._thread is not None:
            self._thread.join(2.0)
        self._error = None

    def begin(self, work: Callable[..., int], *arguments: Any) -> None:
        self._thread = threading.Thread(target=self._by, args=(work, *arguments), daemon=True)
        self._thread.start()

    def _by(self, work: Callable[..., int], *arguments: Any) -> None:
        try:
            self._answer = work(*arguments)
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def wait(self) -> int:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._answer


def _until_idle(opened: Any, began: datetime) -> int:
    """Waits for every run that was open when the worker began; 1 if one of them fails, or has no definition."""
    from perdure.runs import Run, runs

    failed = 0
    frame = runs(limit=None)
    open_then = frame["closed"].isna() | (frame["closed"] >= began)  # some end before they can be listed
    frame = frame[open_then]
    known = _workflows(opened)
    rows = zip(*(frame[column].tolist() for column in ("id", "run_id", "type")), strict=True)
    for workflow_id, run_id, workflow in rows:
        if workflow not in known:
            failed = 1
            unknown = _unknown(workflow, known)
            print(f"{workflow_id} is left open: {unknown}", file=sys.stderr, flush=True)
            continue
        try:
            Run(workflow_id, run_id, session=opened).result()
            print(f"{workflow_id} completed", flush=True)
        except RunError as error:
            failed = 1
            print(error.message, file=sys.stderr, flush=True)
    return failed


def _workflows(opened: Any) -> set[str]:
    """The names of the workflows that the file or this process has a definition of."""
    kept = opened.wait(opened.project.definitions())
    here = [registered.definition for registered in opened.registry.all()]
    return {definition.name for definition in (*kept, *here) if definition.kind == "workflow"}


def _unknown(workflow: str, known: set[str]) -> PerdureError:
    close = difflib.get_close_matches(workflow, known, n=1)
    return PerdureError(
        f"There is no definition of workflow {workflow!r} in the file, nor in this process.",
        f"Did you mean {close[0]}?" if close else "Run its cell, or start a worker with --import MODULE.",
    )


def _import(module: str) -> None:
    """Imports a module, and makes its definitions known."""
    try:
        __import__(module)
    except Exception as error:
        raise PerdureError(
            f"The module {module!r} cannot be imported: {type(error).__name__}: {error}",
            "Give the name that Python imports it by, from this folder or an installed package.",
        ) from error
    from perdure.authoring.declaring import register_if_new

    for thing in list(vars(sys.modules[module]).values()):  # Temporal's own decorators register nothing
        register_if_new(thing)


def _runs(line: argparse.Namespace) -> int:
    from perdure.runs import runs

    _open(line)
    frame = runs(line.query, status=line.status, workflow=line.workflow, limit=line.limit)
    if line.json:
        print(frame.to_json(orient="records", date_format="iso", indent=2))
    elif frame.empty:
        print("no runs")
    else:
        shown = frame[["id", "type", "status", "started", "took", "events"]].copy()
        shown["started"] = shown["started"].dt.strftime("%Y-%m-%d %H:%M:%S")
        shown["took"] = shown["took"].map(_duration)
        print(shown.to_string(index=False, justify="left"))
    return 0


def _duration(took: Any) -> str:
    seconds = took.total_seconds()
    return "" if seconds != seconds else f"{seconds:.3f} s" if seconds < 60 else str(took).split(".")[0]


def _show(line: argparse.Namespace) -> int:
    from perdure.view import text

    run = _run(line)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(text(run.timeline(), width=shutil.get_terminal_size((100, 24)).columns, colour=colour))
    return 0


def _history(line: argparse.Namespace) -> int:
    run = _run(line)
    if line.json:
        print(run.to_json())
    elif line.attempts:
        print(run.attempts().drop(columns=["activity_id"]).to_string(index=False))
    else:
        print(run.history()[["time", "type", "name", "result", "failure"]].fillna("").to_string())
    return 0


def _sql(line: argparse.Namespace) -> int:
    from perdure.runs import sql

    _open(line)
    frame = sql(line.query if line.query != "-" else sys.stdin.read())
    if line.csv:
        frame.to_csv(sys.stdout, index=False)
    elif line.json:
        print(frame.to_json(orient="records", date_format="iso", indent=2))
    else:
        print(frame.to_string(index=False))
    return 0


def _start(line: argparse.Namespace) -> int:
    from perdure.runs import start

    for module in line.modules:
        sys.path.insert(0, str(Path.cwd()))
        _import(module)
    opened = _open(line, worker=bool(line.modules))
    if line.task_queue is None and line.workflow not in (known := _workflows(opened)):
        opened.say(f"the run will wait for a worker. {_unknown(line.workflow, known)}")
    run = start(line.workflow, *line.arguments, id=line.id, again=line.again, task_queue=line.task_queue)
    print(run.id)
    if line.wait:
        if opened.worker is not None:
            opened.worker.need()
        print(json.dumps(run.result(), default=str))
    return 0


def _result(line: argparse.Namespace) -> int:
    print(json.dumps(_run(line).result(timeout=line.timeout), default=str))
    return 0


def _signal(line: argparse.Namespace) -> int:
    _run(line).signal(line.name, *line.arguments)
    return 0


def _query(line: argparse.Namespace) -> int:
    print(json.dumps(_run(line).query(line.name, *line.arguments), default=str))
    return 0


def _cancel(line: argparse.Namespace) -> int:
    _run(line).cancel()
    return 0


def _terminate(line: argparse.Namespace) -> int:
    _run(line).terminate(line.reason)
    return 0


def _address(line: argparse.Namespace) -> int:
    opened = _open(line)
    if opened.role == "owner":
        print("Nobody serves this project now: start a notebook or `perdure worker` first.", file=sys.stderr)
        return 1
    print(opened.address)
    return 0


def _token(line: argparse.Namespace) -> int:
    print(_open(line).token)
    return 0


def _status(line: argparse.Namespace) -> int:
    opened = _open(line)
    counted = opened.wait(opened.client.count_workflows("GROUP BY ExecutionStatus"))
    counts = ", ".join(f"{group.count} {str(group.group_values[0]).lower()}" for group in counted.groups)
    print(f"file     {opened.path} ({opened.path.stat().st_size / 1e6:.1f} MB)")
    served = f"by another process at {opened.address}" if opened.role == "joined" else "by nobody else now"
    print(f"served   {served}")
    print(f"runs     {counts or 'none yet'}")
    return 0


def _open(line: argparse.Namespace, worker: bool = False) -> Any:
    """The session of this command; it is the process's default one."""
    from perdure.session import Session, use

    opened = Session(line.project, worker=worker)
    opened.say = lambda text: print(f"perdure: {text}", file=sys.stderr, flush=True)
    use(opened)
    return opened


def _run(line: argparse.Namespace) -> Any:
    from perdure.runs import run

    _open(line, worker=False)
    return run(line.id, line.run_id)


# --- the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perdure", description="Durable workflows for notebooks, from a terminal."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, call: Command, summary: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: perdure {name} {example}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(call=call)
        added.add_argument(
            "--project",
            metavar="PATH",
            help="the project's folder or .duckdb file; default: PERDURE_HOME, or the nearest .perdure",
        )
        return added

    _add_looking(add)
    _add_steering(add)
    _add_serving(add)
    return parser


Add = Callable[[str, Command, str, str], argparse.ArgumentParser]


def _add_looking(add: Add) -> None:
    runs = add("runs", _runs, "Lists runs, newest first.", "--status running")
    runs.add_argument("query", nargs="?", default="", help="a Temporal list filter, in quotes")
    runs.add_argument("--status", help="running, completed, failed, canceled, terminated, timedout")
    runs.add_argument("--workflow", help="only runs of this workflow")
    runs.add_argument("--limit", type=int, default=100, help="at most so many; default: 100")
    runs.add_argument("--json", action="store_true", help="as JSON")
    _takes_run(add("show", _show, "Draws a run's timeline.", "payment-7"))
    history = _takes_run(
        add("history", _history, "The events of a run.", "payment-7 --json > payment-7.json")
    )
    history.add_argument("--json", action="store_true", help="in Temporal's JSON, for its tools and Replayer")
    history.add_argument("--attempts", action="store_true", help="the attempts of its activities instead")
    sql = add(
        "sql",
        _sql,
        "Asks the file in SQL, read-only.",
        '"select status, count(*) from executions group by 1"',
    )
    sql.add_argument("query", help="one SELECT; - reads it from standard input")
    sql.add_argument("--csv", action="store_true", help="as CSV")
    sql.add_argument("--json", action="store_true", help="as JSON")
    add("status", _status, "The project's file, who serves it, and how many runs there are.", "")


def _add_steering(add: Add) -> None:
    start = add(
        "start", _start, "Starts a run.", """payment '{"id": 7}' --id payment-7 --import shop --wait"""
    )
    start.add_argument("workflow", help="the workflow's name")
    _takes_json(start, "its arguments, each a JSON value")
    start.add_argument("--id", help="the workflow id; default: one is made up")
    start.add_argument(
        "--again", action="store_true", help="a new run, even though one of this id has completed"
    )
    start.add_argument("--task-queue", help="where its workers poll; default: perdure")
    start.add_argument("--wait", action="store_true", help="waits, and prints the result as JSON")
    _takes_modules(start, "a module that defines it; this process then works on it, too")
    result = _takes_run(add("result", _result, "Waits for a run; prints its result as JSON.", "payment-7"))
    result.add_argument("--timeout", help="gives up waiting after this time, e.g. 30s")
    for name, call, summary, example in (
        ("signal", _signal, "Sends a signal to a run.", "payment-7 approve true"),
        ("query", _query, "Asks a run a query.", "payment-7 status"),
    ):
        added = _takes_run(add(name, call, summary, example))
        added.add_argument("name", help=f"the {name}'s name")
        _takes_json(added, "its arguments, each a JSON value")
    _takes_run(add("cancel", _cancel, "Asks a run to stop; its code may clean up.", "payment-7"))
    terminate = _takes_run(add("terminate", _terminate, "Ends a run at once.", 'payment-7 --reason "test"'))
    terminate.add_argument("--reason", default="", help="kept in the history")


def _add_serving(add: Add) -> None:
    worker = add(
        "worker", _worker, "Continues open runs without a notebook, from the sources in the file.", ""
    )
    _takes_modules(worker, "a module with definitions that this process runs, too")
    worker.add_argument(
        "--until-idle",
        action="store_true",
        help="ends when the runs that are open now have ended; 1 if one failed",
    )
    add("address", _address, "Where Temporal clients connect: HOST:PORT.", "")
    add("token", _token, "The API key that Temporal clients must give.", "")


def _takes_run(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("id", metavar="ID", help="the workflow id")
    parser.add_argument(
        "--run-id", default="", metavar="ID", help="an older run of that id; default: the newest"
    )
    return parser


def _takes_json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("arguments", nargs="*", type=_json, metavar="JSON", help=what)


def _takes_modules(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help=what)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON value ({error}); a text is '\"so\"'") from None


def _version() -> str:
    from importlib.metadata import version

    return version("perdure")


if __name__ == "__main__":
    sys.exit(main())

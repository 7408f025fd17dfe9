"""`%workflow ...`: one function for each subcommand, and the table that help and completion are made from.

A subcommand takes the parsed line and returns what the cell shows: a Run draws itself, a DataFrame is a table, `Lines` is plain
text. A mistake is a PerdureError, which fails the cell in a few lines; so does `%workflow result` of a run that
failed, and a headless notebook then ends with a non-zero exit.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perdure
from perdure.errors import PerdureError
from perdure.session import Session, opened, session
from perdure_jupyter.arguments import HelpRequested, Parser, Word, did_you_mean, json_value, split


class Lines(str):
    """A text that a cell shows as it is, not as a Python literal."""

    def __repr__(self) -> str:
        return str(self)


STATUSES = (
    "Running",
    "Paused",
    "Completed",
    "Failed",
    "Canceled",
    "Terminated",
    "ContinuedAsNew",
    "TimedOut",
)


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand. `takes` says what its first argument names, for completion: "workflow" (a type), "run" (an id), or ""."""

    name: str
    parser: Parser
    call: Callable[[argparse.Namespace], Any]
    takes: str = ""


def find(name: str) -> Command:
    """The subcommand of that name. Raises PerdureError that names the nearest one."""
    if name in COMMANDS:
        return COMMANDS[name]
    remedy = did_you_mean(name, COMMANDS, "%workflow help lists all commands.")
    raise PerdureError(f"%workflow has no command {name!r}.", remedy)


# --- what the subcommands do


def _start(line: argparse.Namespace) -> Any:
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


def _list(line: argparse.Namespace) -> Any:
    filters = [f"({line.query})"] if line.query else []
    if line.status is not None:
        filters.append(f"ExecutionStatus = '{_status_name(line.status)}'")
    if line.workflow is not None:
        filters.append("WorkflowType = '{}'".format(line.workflow.replace("'", "''")))
    return perdure.runs(" AND ".join(filters), limit=line.limit)


def _status_name(word: str) -> str:
    """Temporal's name of a status: "timed-out" is TimedOut."""
    names = {name.lower(): name for name in STATUSES}
    plain = (
        word.lower()
        .replace("-", "")
        .replace("_", "")
        .replace("cancelled", "canceled")
        .replace("open", "running")
    )
    if plain not in names:
        raise PerdureError(f"--status {word!r} is no status.", f"Statuses are {', '.join(names)}.")
    return names[plain]


def _show(line: argparse.Namespace) -> Any:
    return _run(line)


def _result(line: argparse.Namespace) -> Any:
    return _run(line).result(timeout=line.timeout)


def _signal(line: argparse.Namespace) -> Any:
    _run(line).signal(line.name, *line.arguments)
    return Lines(f"signal {line.name} is in the history of {line.id}")


def _query(line: argparse.Namespace) -> Any:
    return _run(line).query(line.name, *line.arguments)


def _update(line: argparse.Namespace) -> Any:
    return _run(line).update(line.name, *line.arguments)


def _cancel(line: argparse.Namespace) -> Any:
    run = _open_run(line)
    run.cancel()
    return Lines(f"{line.id}: cancellation requested; its code may clean up first")


def _terminate(line: argparse.Namespace) -> Any:
    run = _open_run(line)
    run.terminate(line.reason)
    return Lines(f"{line.id}: terminated")


def _reset(line: argparse.Namespace) -> Any:
    return _run(line).reset(line.event, to=line.to, reason=line.reason)


def _pause(line: argparse.Namespace) -> Lines:
    _open_run(line).pause(line.reason)
    return Lines(f"{line.id}: paused; %workflow resume {line.id} lets it go on")


def _resume(line: argparse.Namespace) -> Lines:
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


def _history(line: argparse.Namespace) -> Any:
    run = _run(line)
    return run.attempts() if line.attempts else run.history()


def _move(line: argparse.Namespace) -> Any:
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


def _worker(line: argparse.Namespace) -> Lines:
    worker = session().worker
    if worker is None:
        return Lines("This session has no worker: it starts runs, and other processes do their work.")
    status = worker.status
    rows = [
        (
            "worker",
            status.state + (f", {status.draining} older ones finish their work" if status.draining else ""),
        )
    ]
    rows += [
        ("process", status.process),
        ("task queues", ", ".join(status.task_queues)),
        ("workflows", ", ".join(status.workflows)),
        ("activities", ", ".join(status.activities)),
        *(("problem", problem) for problem in status.problems),
    ]
    return _table(rows)


def _connect(line: argparse.Namespace) -> Lines:
    from perdure.connecting import connection

    if line.address is not None:
        perdure.connect(
            line.address,
            namespace=line.namespace,
            api_key=_from_environment(line.api_key_env),
            tls=_tls(line),
            task_queue=line.task_queue,
        )
    return Lines(connection())


def _from_environment(name: str | None) -> str | None:
    """A secret by the name of its environment variable: it should not stand in a notebook."""
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise PerdureError(
            f"--api-key-env: the environment has no variable {name!r}, or it is empty.",
            f"Set it before the kernel starts, or with %env {name}=...",
        )
    return value


def _tls(line: argparse.Namespace) -> Any:
    """What the options say of TLS; None leaves it to whether there is an API key."""
    from temporalio.service import TLSConfig

    ca, certificate, key = (_bytes(path) for path in (line.tls_ca, line.tls_cert, line.tls_key))
    configured = bool(ca or certificate or key or line.tls_server_name)
    if line.no_tls and (line.tls or configured):
        raise PerdureError("--no-tls goes with no other --tls option.", "Leave one of them out.")
    if (certificate is None) != (key is None):
        raise PerdureError("--tls-cert and --tls-key go together.", "Name the files of both.")
    if configured:
        return TLSConfig(
            server_root_ca_cert=ca,
            client_cert=certificate,
            client_private_key=key,
            domain=line.tls_server_name,
        )
    return False if line.no_tls else True if line.tls else None


def _bytes(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise PerdureError(
            f"{path} cannot be read: {error.strerror}.", "Name a file in PEM format."
        ) from error


def _disconnect(line: argparse.Namespace) -> Lines:
    from perdure.connecting import connection

    before = opened()
    if before is None or before.cluster is None:
        return Lines(f"There is no cluster to leave: {connection()}.")
    perdure.disconnect()
    return Lines(f"left {before.home}; now at {session().home}")


def _status(line: argparse.Namespace) -> Lines:
    opened = session()
    if opened.cluster is not None:
        return _cluster_status(opened)
    counted = opened.wait(opened.client.count_workflows("GROUP BY ExecutionStatus"))
    counts = [f"{group.count} {str(group.group_values[0]).lower()}" for group in counted.groups]
    serves = f"this process owns it and serves {opened.address}"
    rows = [
        ("file", f"{opened.path} ({opened.path.stat().st_size / 1e6:.1f} MB)"),
        ("role", serves if opened.role == "owner" else f"joined its owner at {opened.address}"),
        ("runs", ", ".join(counts) or "none yet"),
        ("worker", opened.worker.status.state if opened.worker is not None else "none"),
    ]
    return _table(rows)


def _cluster_status(opened: Session) -> Lines:
    from perdure.connecting import connection

    counted = opened.wait(opened.client.count_workflows("GROUP BY ExecutionStatus"))
    counts = [f"{group.count} {str(group.group_values[0]).lower()}" for group in counted.groups]
    rows = [
        ("cluster", connection()),
        ("runs", ", ".join(counts) or "none yet"),
        ("worker", opened.worker.status.state if opened.worker is not None else "none"),
    ]
    return _table(rows)


def _table(rows: list[tuple[str, str]]) -> Lines:
    width = max(len(name) for name, _ in rows)
    return Lines("\n".join(f"{name:{width}}  {text}" for name, text in rows if text))


def _help(line: argparse.Namespace) -> Lines:
    if line.command:
        return Lines(find(line.command).parser.format_help())
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {command.parser.summary}" for name, command in COMMANDS.items())
    return Lines(
        "%%activity and %%workflow at the top of a cell define; %workflow works with the runs:\n\n"
        f"{listed}\n\n%workflow COMMAND --help shows options and an example."
    )


# --- the table


def _commands() -> dict[str, Command]:
    table = {}

    def add(
        name: str, call: Callable[[argparse.Namespace], Any], summary: str, example: str, takes: str = ""
    ) -> Parser:
        parser = Parser(f"%workflow {name}", summary, f"%workflow {name} {example}".rstrip())
        if takes == "run":
            parser.add_argument("id", metavar="ID", help="the workflow id")
            parser.add_argument(
                "--run-id", default="", metavar="ID", help="an older run of that id; default: the newest"
            )
        table[name] = Command(name, parser, call, takes)
        return parser

    def takes_json(parser: Parser, what: str) -> None:
        parser.add_argument("arguments", nargs="*", type=json_value, metavar="JSON", help=what)

    start = add("start", _start, "Starts a run.", """payment --id payment-7 '{"id": 7}'""", "workflow")
    start.add_argument("workflow", metavar="WORKFLOW", help="the workflow's name")
    takes_json(start, "its arguments, each a JSON value")
    start.add_argument("--id", metavar="ID", help="the workflow id; default: one is made up")
    start.add_argument("--again", action="store_true", help="a new run even if one of this id has completed")
    start.add_argument("--version", metavar="VERSION", help="of the definition; default: the current one")
    start.add_argument("--task-queue", metavar="NAME", help="where its workers poll; default: perdure")
    start.add_argument(
        "--execution-timeout", metavar="TIME", help="ends it after this time, e.g. 2h; default: never"
    )
    start.add_argument("--start-delay", metavar="TIME", help="begins after this time")
    start.add_argument(
        "--id-reuse-policy", metavar="POLICY", help="when a closed run has the id, e.g. reject_duplicate"
    )
    start.add_argument(
        "--id-conflict-policy", metavar="POLICY", help="when an open run has the id, e.g. use_existing"
    )

    listing = add("list", _list, "Lists runs, the newest first.", "--status running")
    listing.add_argument(
        "query", nargs="?", default="", metavar="FILTER", help="a Temporal list filter, in quotes"
    )
    listing.add_argument(
        "--status", metavar="STATUS", help="running, completed, failed, canceled, terminated, ..."
    )
    listing.add_argument("--workflow", metavar="NAME", help="only runs of this workflow")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many; default: 100")

    add("show", _show, "Draws a run, live.", "payment-7", "run")
    result = add(
        "result", _result, "Waits for a run and gives its result; fails if it failed.", "payment-7", "run"
    )
    result.add_argument("--timeout", metavar="TIME", help="gives up waiting after this time, e.g. 30s")

    for name, call, summary, example in (
        ("signal", _signal, "Sends a signal to a run.", "payment-7 approve true"),
        ("query", _query, "Asks a run a query.", "payment-7 status"),
        ("update", _update, "Sends an update to a run and gives its result.", "payment-7 set_amount 120"),
    ):
        parser = add(name, call, summary, example, "run")
        parser.add_argument("name", metavar="NAME", help=f"the {name}'s name")
        takes_json(parser, "its arguments, each a JSON value")

    add("cancel", _cancel, "Asks a run to stop; its code may clean up.", "payment-7", "run")
    terminate = add(
        "terminate",
        _terminate,
        "Ends a run at once; its code is not asked.",
        'payment-7 --reason "test"',
        "run",
    )
    terminate.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    pause = add("pause", _pause, "Holds a run; what is running may finish.", "payment-7", "run")
    pause.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    resume = add("resume", _resume, "Lets a paused run go on.", "payment-7", "run")
    resume.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    reset = add(
        "reset", _reset, "Goes back in a run, and on from there in a new one.", "payment-7 --event 12", "run"
    )
    reset.add_argument(
        "--event", type=int, metavar="N", help="back to before what the workflow did at this event"
    )
    reset.add_argument(
        "--to",
        choices=("first", "last"),
        default="last",
        help="without --event: the workflow task to run again; default: last",
    )
    reset.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    history = add("history", _history, "The events of a run, as a DataFrame.", "payment-7", "run")
    history.add_argument("--attempts", action="store_true", help="the attempts of its activities instead")
    move = add(
        "move",
        _move,
        "Moves an open run to another version, if a replay shows that it fits.",
        "payment-7",
        "run",
    )
    move.add_argument("version", nargs="?", metavar="VERSION", help="default: the newest")
    connect = add(
        "connect",
        _connect,
        "Connects this kernel to a Temporal cluster; without an address, says what it is connected to.",
        "localhost:7233",
    )
    connect.add_argument("address", nargs="?", metavar="HOST:PORT", help="of the cluster's frontend")
    connect.add_argument("--namespace", default="default", metavar="NAME", help="default: default")
    connect.add_argument(
        "--task-queue", default="perdure", metavar="NAME", help="where this kernel works; default: perdure"
    )
    connect.add_argument(
        "--api-key-env", metavar="VARIABLE", help="the environment variable that holds the API key"
    )
    connect.add_argument("--tls", action="store_true", help="encrypt; implied by an API key")
    connect.add_argument("--no-tls", action="store_true", help="never encrypt")
    connect.add_argument("--tls-ca", metavar="FILE", help="the CA that signed the server's certificate, PEM")
    connect.add_argument("--tls-cert", metavar="FILE", help="this client's certificate, PEM")
    connect.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    connect.add_argument("--tls-server-name", metavar="NAME", help="that the server's certificate is for")
    add("disconnect", _disconnect, "Leaves the cluster, and goes back to the project's file.", "")
    add("worker", _worker, "What this kernel's worker runs.", "")
    add(
        "status", _status, "The project's file, who serves it (or the cluster), and how many runs it has.", ""
    )
    helping = add("help", _help, "This list, or the help of one command.", "start", "command")
    helping.add_argument("command", nargs="?", metavar="COMMAND", help="a command's name")
    return table


COMMANDS = _commands()


def run(line: str) -> Any:
    """Executes `%workflow LINE`."""
    words = split(line) or [Word("help")]
    if words[0] in ("--help", "-h"):
        words[0] = Word("help")
    command = find(words[0])
    try:
        return command.call(command.parser.read(words[1:]))
    except HelpRequested as request:
        return Lines(request)

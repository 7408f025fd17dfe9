"""`%workflow ...`: the table of its subcommands, which help and completion are made from, and the way from a line to one of them.

What they do stands in `run_commands` and `place_commands`. A subcommand takes the parsed line and returns what the cell
shows: a Run draws itself, a DataFrame is a table, `Lines` is plain text. A mistake is a PerdureError, which fails the cell in
a few lines; so does `%workflow result` of a run that failed, and a headless notebook then ends with a non-zero exit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.errors import PerdureError
from perdure_jupyter import place_commands, run_commands
from perdure_jupyter.arguments import HelpRequested, Parser, Word, did_you_mean, json_value, split
from perdure_jupyter.lines import Lines


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


class _Table(dict[str, Command]):
    """The subcommands by name, in the order in which help lists them."""

    def add(
        self,
        name: str,
        call: Callable[[argparse.Namespace], Any],
        summary: str,
        example: str,
        takes: str = "",
    ) -> Parser:
        parser = Parser(f"%workflow {name}", summary, f"%workflow {name} {example}".rstrip())
        if takes == "run":
            parser.add_argument("id", metavar="ID", help="the workflow id")
            parser.add_argument(
                "--run-id", default="", metavar="ID", help="an older run of that id; default: the newest"
            )
        self[name] = Command(name, parser, call, takes)
        return parser


def _takes_json(parser: Parser, what: str) -> None:
    parser.add_argument("arguments", nargs="*", type=json_value, metavar="JSON", help=what)


def _add_start(table: _Table) -> None:
    start = table.add(
        "start", run_commands.start, "Starts a run.", """payment --id payment-7 '{"id": 7}'""", "workflow"
    )
    start.add_argument("workflow", metavar="WORKFLOW", help="the workflow's name")
    _takes_json(start, "its arguments, each a JSON value")
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


def _add_looking(table: _Table) -> None:
    listing = table.add("list", run_commands.list_runs, "Lists runs, the newest first.", "--status running")
    listing.add_argument(
        "query", nargs="*", metavar="FILTER", help="a Temporal list filter, in quotes; may end with ORDER BY"
    )
    listing.add_argument(
        "--status", metavar="STATUS", help="running, paused, completed, failed, canceled, ..."
    )
    listing.add_argument("--workflow", metavar="NAME", help="only runs of this workflow")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many; default: 100")

    table.add("show", run_commands.show, "Draws a run, live.", "payment-7", "run")
    result = table.add(
        "result",
        run_commands.result,
        "Waits for a run and gives its result; fails if it failed.",
        "payment-7",
        "run",
    )
    result.add_argument("--timeout", metavar="TIME", help="gives up waiting after this time, e.g. 30s")


def _add_talking(table: _Table) -> None:
    for name, call, summary, example in (
        ("signal", run_commands.signal, "Sends a signal to a run.", "payment-7 approve true"),
        ("query", run_commands.query, "Asks a run a query.", "payment-7 status"),
        (
            "update",
            run_commands.update,
            "Sends an update to a run and gives its result.",
            "payment-7 set_amount 120",
        ),
    ):
        parser = table.add(name, call, summary, example, "run")
        parser.add_argument("name", metavar="NAME", help=f"the {name}'s name")
        _takes_json(parser, "its arguments, each a JSON value")


def _add_steering(table: _Table) -> None:
    table.add("cancel", run_commands.cancel, "Asks a run to stop; its code may clean up.", "payment-7", "run")
    terminate = table.add(
        "terminate",
        run_commands.terminate,
        "Ends a run at once; its code is not asked.",
        'payment-7 --reason "test"',
        "run",
    )
    terminate.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    pause = table.add(
        "pause", run_commands.pause, "Holds a run; what is running may finish.", "payment-7", "run"
    )
    pause.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    resume = table.add("resume", run_commands.resume, "Lets a paused run go on.", "payment-7", "run")
    resume.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    reset = table.add(
        "reset",
        run_commands.reset,
        "Goes back in a run, and on from there in a new one.",
        "payment-7 --event 12",
        "run",
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


def _add_history_and_move(table: _Table) -> None:
    history = table.add(
        "history", run_commands.history, "The events of a run, as a DataFrame.", "payment-7", "run"
    )
    history.add_argument("--attempts", action="store_true", help="the attempts of its activities instead")
    move = table.add(
        "move",
        run_commands.move,
        "Moves an open run to another version, if a replay shows that it fits.",
        "payment-7",
        "run",
    )
    move.add_argument("version", nargs="?", metavar="VERSION", help="default: the newest")


def _add_places(table: _Table) -> None:
    connect = table.add(
        "connect",
        place_commands.connect,
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
    table.add(
        "disconnect",
        place_commands.disconnect,
        "Leaves the cluster, and goes back to the project's file.",
        "",
    )
    table.add("worker", place_commands.worker, "What this kernel's worker runs.", "")
    table.add(
        "status",
        place_commands.status,
        "The project's file, who serves it (or the cluster), and how many runs it has.",
        "",
    )


def _commands() -> _Table:
    table = _Table()
    for add in (_add_start, _add_looking, _add_talking, _add_steering, _add_history_and_move, _add_places):
        add(table)
    helping = table.add("help", _help, "This list, or the help of one command.", "start", "command")
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

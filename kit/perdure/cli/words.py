"""What the subcommands share: opening the project, finding a run, arguments that several take."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from typing import Any

from perdure.errors import PerdureError

Command = Callable[[argparse.Namespace], int]
Add = Callable[[str, Command, str, str], argparse.ArgumentParser]


def open_project(line: argparse.Namespace, *, worker: bool = False, make: bool = False) -> Any:
    """The session of this command; it is the process's default one. Only what may make a project makes one."""
    from perdure.project_file import project_file
    from perdure.session import Session, use

    file = project_file(line.project)
    if not make and not file.exists():
        raise PerdureError(
            f"There is no project at {file}.",
            "Give its folder with --project, or start a run there first: in a notebook, or with `perdure start`.",
        )
    opened = Session(line.project, worker=worker)
    opened.say = lambda text: print(f"perdure: {text}", file=sys.stderr, flush=True)
    use(opened)
    return opened


def find_run(line: argparse.Namespace) -> Any:
    from perdure.runs import run

    open_project(line)
    return run(line.id, line.run_id)


def workflows(opened: Any) -> set[str]:
    """The names of the workflows that the file or this process has a definition of."""
    kept = opened.wait(opened.project.definitions())
    here = [registered.definition for registered in opened.registry.all()]
    return {definition.name for definition in (*kept, *here) if definition.kind == "workflow"}


def unknown(workflow: str, known: set[str]) -> PerdureError:
    close = difflib.get_close_matches(workflow, known, n=1)
    return PerdureError(
        f"There is no definition of workflow {workflow!r} in the file, nor in this process.",
        f"Did you mean {close[0]}?" if close else "Run its cell, or start a worker with --import MODULE.",
    )


def import_module(module: str) -> None:
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


def takes_run(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("id", metavar="ID", help="the workflow id")
    parser.add_argument(
        "--run-id", default="", metavar="ID", help="an older run of that id; default: the newest"
    )
    return parser


def takes_json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("arguments", nargs="*", type=_json, metavar="JSON", help=what)


def takes_modules(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help=what)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON value ({error}); a text is '\"so\"'") from None

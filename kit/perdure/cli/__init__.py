"""`perdure ...`: the project from a terminal, with or without a notebook beside it.

Each subcommand is one function of the parsed line (`looking`, `steering`, `serving`); it prints, and its exit status is 0 unless something
failed. Mistakes and refusals are printed as one or two lines, without a stack. A command joins whoever owns
the file, or owns it meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from perdure.cli.attributes import add_attributes
from perdure.cli.looking import add_looking
from perdure.cli.serving import add_serving
from perdure.cli.steering import add_steering
from perdure.cli.words import Command
from perdure.errors import PerdureError


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


# --- the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perdure", description="Durable workflows for notebooks, from a terminal."
    )
    parser.add_argument("--version", action="version", version=_version())
    _takes_project(parser, default=None)
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
        _takes_project(added, default=argparse.SUPPRESS)  # before the command it counts, too
        return added

    add_looking(add)
    add_steering(add)
    add_attributes(add)
    add_serving(add)
    return parser


def _takes_project(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--project",
        metavar="PATH",
        default=default,
        help="the project's folder or .duckdb file; default: PERDURE_HOME, or the nearest .perdure",
    )


def _version() -> str:
    from importlib.metadata import version

    return version("perdure")

"""`%%activity` and `%%workflow` at the top of a cell: the line is parsed, authoring makes the definition, the cell says what happened.

The output is one quiet line,

    workflow payment · version 3f2a91bc · 2 open runs stay on 91bc0d4e

and below it what authoring warns of, each with its line and what to do.
"""

from __future__ import annotations

import functools
from typing import Any

from perdure.authoring.options import ACTIVITY_OPTIONS, WORKFLOW_OPTIONS
from perdure_jupyter.arguments import Parser, split

_SUMMARY = {
    "activity": "Makes the function of this cell a durable activity: its result is kept, and it is tried again when it fails.",
    "workflow": "Makes the function of this cell, or its @workflow.defn classes, durable workflows.",
}
_EXAMPLE = {
    "activity": "%%activity --timeout 30s --retries 5\ndef charge(order: dict) -> str: ...",
    "workflow": "%%workflow\nasync def payment(order: dict) -> dict:\n    return {'charge': await charge(order)}",
}


@functools.cache
def parser(kind: str) -> Parser:
    """The options of `%%activity` or `%%workflow`, as authoring's table lists them."""
    table = ACTIVITY_OPTIONS if kind == "activity" else WORKFLOW_OPTIONS
    made = Parser(f"%%{kind}", _SUMMARY[kind], _EXAMPLE[kind])
    made.add_argument("type_name", nargs="?", metavar="NAME", help="short for --name NAME")
    for option in table:
        action = "append" if option.many else "store"
        made.add_argument(
            option.flag,
            dest=option.name,
            action=action,
            metavar=option.metavar,
            help=option.help.replace("%", "%%"),
        )
    return made


def options(kind: str, line: str) -> dict[str, Any]:
    """What the line gives: option names with their texts."""
    given = vars(parser(kind).read(split(line)))
    name = given.pop("type_name")
    given.pop("help")
    if name is not None:
        given["name"] = name
    return {key: value for key, value in given.items() if value is not None}

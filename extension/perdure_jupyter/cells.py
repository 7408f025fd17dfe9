"""`%%activity` and `%%workflow` at the top of a cell: the line is parsed, authoring makes the definition, the cell says what happened.

The output is one quiet line,

    workflow payment · version 3f2a91bc · 2 open runs stay on 91bc0d4e

and below it what authoring warns of, each with its line and what to do.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perdure.authoring.options import ACTIVITY_OPTIONS, WORKFLOW_OPTIONS
from perdure.errors import DefinitionError
from perdure_jupyter.arguments import HelpRequested, Parser, split

if TYPE_CHECKING:
    from perdure.authoring.registry import Registered
    from perdure.engine.records import Definition
    from perdure.session import Session

COUNTED = 1000  # open runs that are looked at, at most, to tell which versions they are on
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


def define(shell: Any, kind: str, line: str, cell: str) -> None:
    """Executes a `%%activity` or `%%workflow` cell: its objects are bound in the notebook, its definitions are current.

    Raises:
        DefinitionError: the cell cannot be made durable; nothing was defined.
    """
    try:
        given = options(kind, line)
    except HelpRequested as request:
        print(request)
        return
    from perdure.authoring.cells import define_cell

    try:
        defined = define_cell(kind, cell, shell.user_ns, given, f"In [{shell.execution_count}]", first_line=2)
    except SyntaxError as error:
        raise _no_python(error, cell) from None
    changed = {id(each) for each in defined.changed}
    report([(each, id(each) in changed) for each in defined.registered], defined.warnings)


def refresh(shell: Any) -> None:
    """After a cell: definitions that use what it changed become new versions, and say so."""
    from perdure.authoring.cells import recapture

    defined = recapture(shell.user_ns)
    report([(each, True) for each in defined.changed], defined.warnings, because="what it uses has changed")


def report(defined: Iterable[tuple[Registered, bool]], warnings: Iterable[str], because: str = "") -> None:
    for registered, changed in defined:
        definition = registered.definition
        said = [f"{definition.kind} {definition.name}", f"version {definition.version}"]
        if because:
            said.append(because)
        elif not changed:
            said.append("unchanged")
        print(" · ".join(said + (_open_elsewhere(definition) if definition.kind == "workflow" else [])))
    for warning in warnings:
        print(f"⚠ {warning}")


def _open_elsewhere(definition: Definition) -> list[str]:
    """What is said of open runs that are pinned to other versions: they stay there until moved."""
    from perdure.session import opened

    session = opened()
    if session is None:
        return []
    if session.cluster is not None:
        return session.wait(_open_on_cluster(session, definition.name))
    versions = session.wait(_open_versions(session, definition.name))
    versions.pop(definition.version, None)
    versions.pop("", None)
    return [
        f"{count} open {'run stays' if count == 1 else 'runs stay'} on {version}"
        for version, count in versions.items()
    ]


async def _open_on_cluster(session: Session, workflow: str) -> list[str]:
    """A cluster's runs are not pinned: those that are open are replayed with what was just defined."""
    count = (await session.client.count_workflows(_open_of(workflow))).count
    if not count:
        return []
    runs = "open run goes" if count == 1 else "open runs go"
    return [f"{count} {runs} on with it; steps that changed need workflow.patched()"]


def _open_of(workflow: str) -> str:
    quoted = workflow.replace("'", "''")
    return f"WorkflowType = '{quoted}' AND ExecutionStatus = 'Running'"


async def _open_versions(session: Session, workflow: str) -> Counter[str]:
    listed = session.client.list_workflows(_open_of(workflow), limit=COUNTED)
    override = [run.raw_info.versioning_info.versioning_override async for run in listed]
    return Counter(each.pinned.version.build_id for each in override)


def _no_python(error: SyntaxError, cell: str) -> DefinitionError:
    lines = cell.splitlines()
    number = error.lineno or 1
    text = lines[number - 1] if number <= len(lines) else ""
    pointer = " " * max((error.offset or 1) - 1, 0) + "^"
    return DefinitionError(
        f"The cell is no Python: {error.msg} (line {number + 1})\n    {text}\n    {pointer}"
    )

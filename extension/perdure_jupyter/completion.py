"""Completion for the magics: subcommands, options, workflow names, workflow ids.

A completion must never hold the kernel. Names are in memory. Ids are asked of the session, if one is open already, with a
deadline; what was seen last is good for a few seconds, and is what a late answer falls back on.
"""

from __future__ import annotations

import concurrent.futures
import re
import sys
import time
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

DEADLINE = 0.15  # seconds a completion may wait for the engine
FRESH = 3.0  # seconds that a list of ids is good for
RECENT = 50

_LINE = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?%workflow\s+(?P<rest>.*)$")
_CELL = re.compile(r"^\s*%%(?P<kind>workflow|activity)\s(?P<rest>.*)$")


class Matcher:
    """Completes lines that begin with one of perdure's magics."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._asked = 0.0

    @context_matcher(identifier="perdure")  # type: ignore[untyped-decorator]
    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        line = context.line_with_cursor[: context.cursor_position]
        found = self.candidates(line)
        if found is None:
            return {"completions": [], "suppress": False}
        begun = re.split(r"\s", line)[-1]
        fitting = [SimpleCompletion(text, type=kind) for text, kind in found if text.startswith(begun)]
        return {"completions": fitting, "matched_fragment": begun, "suppress": True, "ordered": True}

    def candidates(self, line: str) -> list[tuple[str, str]] | None:
        """What may stand where `line` ends, each with its kind; None if the line is none of perdure's."""
        if cell := _CELL.match(line):
            return [(option, "option") for option in _cell_options(cell["kind"])]
        command = _LINE.match(line)
        if command is None:
            return None
        return self._after(re.split(r"\s+", command["rest"]))

    def _after(self, words: list[str]) -> list[tuple[str, str]]:
        """`words[-1]` is the one that is being written."""
        from perdure_jupyter.commands import COMMANDS

        if len(words) == 1:
            return [(name, "command") for name in COMMANDS]
        command = COMMANDS.get(words[0])
        if command is None:
            return []
        if words[-1].startswith("-"):
            return [(option, "option") for option in command.parser.options()]
        if len(words) > 2:
            return []
        if command.takes == "workflow":
            return [(name, "workflow") for name in _workflow_names()]
        if command.takes == "run":
            return [(workflow_id, "run") for workflow_id in self.recent_ids()]
        return [(name, "command") for name in COMMANDS] if command.takes == "command" else []

    def recent_ids(self) -> list[str]:
        """Workflow ids of the newest runs, as of a few seconds ago at most where the engine answers in time."""
        session = _open_session()
        if session is None or time.monotonic() - self._asked < FRESH:
            return self._ids
        asked = _ask(session)
        asked.add_done_callback(self._keep)  # an answer that is late is for the next key press
        concurrent.futures.wait([asked], DEADLINE)
        if asked.done():
            self._keep(asked)
        return self._ids

    def _keep(self, asked: concurrent.futures.Future[list[str]]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            self._ids, self._asked = asked.result(), time.monotonic()


def _open_session() -> Any:
    """The default session if it is open; a completion opens nothing."""
    module = sys.modules.get("perdure.session")
    return module.opened() if module is not None else None


def _workflow_names() -> list[str]:
    from perdure.authoring.registry import registry

    return sorted({each.definition.name for each in registry.all() if each.definition.kind == "workflow"})


def _cell_options(kind: str) -> list[str]:
    from perdure_jupyter.cells import parser

    return parser(kind).options()


def _ask(session: Any) -> concurrent.futures.Future[list[str]]:
    from perdure.frontend.loops import submit

    return submit(session.loop, _newest_ids(session))


async def _newest_ids(session: Any) -> list[str]:
    from perdure.history.asking import executions

    ids = [run.execution.workflow_id async for run in executions(session.client, limit=RECENT)]
    return list(dict.fromkeys(text for text in ids if not re.search(r"\s", text)))

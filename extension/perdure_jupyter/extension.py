"""What `%load_ext perdure` puts into a shell, and takes out again."""

from __future__ import annotations

import re
import sys
from typing import Any

from perdure_jupyter.completion import Matcher
from perdure_jupyter.magics import PerdureMagics
from perdure_jupyter.opening import open_known_file

MAGICS = {"cell": ("activity", "workflow"), "line": ("workflow",)}


RUN = ("perdure.run_handle", "Run")
TIMELINE = ("perdure.view.parts", "Timeline")


def _timeline_bundle(timeline: Any, **_: Any) -> dict[str, str]:
    from perdure_jupyter.frame import static_bundle

    return static_bundle(timeline)


def help_alone(lines: list[str]) -> list[str]:
    """Lets `%%activity --help` be a whole cell: IPython refuses a cell magic without a body."""
    if len(lines) == 1 and re.match(r"%%(activity|workflow)\s+(--help|-h)\s*$", lines[0]):
        return [*lines, "\n"]
    return lines


class Extension:
    """perdure in one shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._pictures: Any = None
        self._magics = PerdureMagics(shell)
        shell.register_magics(self._magics)
        self._matcher = Matcher()
        shell.Completer.custom_matchers.append(self._matcher.match)
        if hasattr(shell, "kernel"):
            # In a terminal a Run prints itself; here it may go on to change after its cell has ended.
            formatter = shell.display_formatter
            formatter.ipython_display_formatter.for_type_by_name(*RUN, self._show)
            formatter.mimebundle_formatter.for_type_by_name(*TIMELINE, _timeline_bundle)
            shell.events.register("pre_run_cell", self._begin_cell)
        shell.input_transformers_cleanup.insert(0, help_alone)
        shell.events.register("post_run_cell", self._end_cell)
        open_known_file(shell)

    def _show(self, run: Any) -> None:
        if self._pictures is None:
            from perdure_jupyter.display import Pictures

            self._pictures = Pictures(self._shell)
        self._pictures.show(run)

    def _begin_cell(self, info: Any) -> None:
        if self._pictures is not None:
            self._pictures.begin_cell()

    def _end_cell(self, result: Any) -> None:
        if "perdure.authoring.cells" in sys.modules:  # else no cell has defined anything
            from perdure_jupyter.cells import refresh

            refresh(self._shell)

    def close(self) -> None:
        shell = self._shell
        for kind, names in MAGICS.items():
            for name in names:
                if getattr(shell.magics_manager.magics[kind].get(name), "__self__", None) is self._magics:
                    del shell.magics_manager.magics[kind][name]
        shell.magics_manager.registry.pop(type(self._magics).__name__, None)
        shell.input_transformers_cleanup.remove(help_alone)
        shell.Completer.custom_matchers.remove(self._matcher.match)
        if hasattr(shell, "kernel"):
            shell.display_formatter.ipython_display_formatter.pop(".".join(RUN), None)
            shell.display_formatter.mimebundle_formatter.pop(".".join(TIMELINE), None)
            shell.events.unregister("pre_run_cell", self._begin_cell)
        shell.events.unregister("post_run_cell", self._end_cell)
        if self._pictures is not None:
            self._pictures.close()

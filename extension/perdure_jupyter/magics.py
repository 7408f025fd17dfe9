"""`%%activity`, `%%workflow` and `%workflow`.

Thin: the line is parsed (`arguments`), then a subcommand is called (`commands`) or the cell becomes a definition (`cells`). Everything is
imported at the first use, so that loading the extension is instant. Arguments are taken as written: `{}` and `$` in
JSON mean themselves (`no_var_expand`).
"""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class, no_var_expand


@magics_class
class PerdureMagics(Magics):
    """Define durable activities and workflows in cells; work with their runs."""

    @no_var_expand
    @cell_magic
    def activity(self, line: str, cell: str) -> None:
        """Makes the function of this cell a durable activity. %%activity --help shows the options."""
        from perdure_jupyter.cells import define

        define(self.shell, "activity", line, cell)

    @no_var_expand
    @line_cell_magic
    def workflow(self, line: str, cell: str | None = None) -> Any:
        """%%workflow makes the function of this cell a durable workflow; %workflow works with runs: %workflow help."""
        if cell is not None:
            from perdure_jupyter.cells import define

            return define(self.shell, "workflow", line, cell)
        from perdure_jupyter.commands import run

        return run(line)

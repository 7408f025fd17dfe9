"""Results as text: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.scenarios import SCENARIOS, Figures, Row

Results = Mapping[str, Mapping[str, Figures]]  # scenario -> side -> figures
COLUMNS = {"perdure": "perdure", "DBOS": "DBOS on SQLite", "disk": "bare disk", "engine": "engine alone"}
NOTE = "Less is better. Bare disk: one append of 500 bytes and one fdatasync for each activity, no engine."


def shown(value: float | None, unit: str) -> str:
    """A figure with as many digits as it deserves."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def filled(results: Results) -> list[tuple[Row, dict[str, float | None]]]:
    """The rows that have figures, each with its figure of each side."""
    found = []
    for scenario in SCENARIOS:
        sides = results.get(scenario.name, {})
        for row in scenario.rows:
            values = {side: sides.get(side, {}).get(row.figure) for side in COLUMNS}
            if any(value is not None for value in values.values()):
                found.append((row, values))
    return found


def _cells(results: Results) -> list[list[str]]:
    lines = [["", *COLUMNS.values()]]
    for row, values in filled(results):
        lines.append([row.title, *(shown(values[side], row.unit) for side in COLUMNS)])
    return lines


def text(results: Results) -> str:
    lines = _cells(results)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for number, line in enumerate(lines):
        numbers = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        out.append("   ".join([line[0].ljust(widths[0]), *numbers]).rstrip())
        if number == 0:
            out.append("─" * (sum(widths) + 3 * (len(widths) - 1)))
    return "\n".join([*out, "", NOTE])


def markdown(results: Results, machine: Sequence[str]) -> str:
    lines = _cells(results)
    out = ["| " + " | ".join(line) + " |" for line in lines]
    out.insert(1, "|---|" + "--:|" * (len(lines[0]) - 1))
    return "\n".join([*out, "", NOTE, "", *(f"- {line}" for line in machine), ""])

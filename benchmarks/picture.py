"""Results as an SVG: a group of bars for each row of the table, each group to its own scale.

The colours are CSS variables with a second set for dark surroundings, and the picture paints its own ground, so it is
legible wherever it is shown: in a page, as an image, on either ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.table import COLUMNS, NOTE, Results, filled, shown

WIDTH = 880
LEFT, RIGHT = 32, 110  # the bars' margins; the values stand in the right one
BAR, GAP = 13, 3
TITLE, BETWEEN = 20, 18
HEAD = 96

STYLE = """
:root { --ground: #ffffff; --ink: #1c2330; --quiet: #667085; --rule: #e4e7ec;
        --perdure: #3b6fd4; --DBOS: #b9a16b; --disk: #aab4c3; --engine: #5b9c8c; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181f; --ink: #e8ebf0; --quiet: #98a2b3; --rule: #2a313c;
          --perdure: #7aa5ff; --DBOS: #a8905a; --disk: #556070; --engine: #6fc0ad; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); font-size: 12.5px; }
.head { font-size: 19px; font-weight: 650; }
.title { font-weight: 600; }
.quiet { fill: var(--quiet); font-size: 11.5px; }
.value { font-variant-numeric: tabular-nums; font-size: 12px; }
.first { font-weight: 650; }
"""


def svg(results: Results, machine: Sequence[str]) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = HEAD
    for row, values in filled(results):
        parts.append(_text(LEFT, y + 12, row.title, "title"))
        y += TITLE
        present = {side: value for side, value in values.items() if value is not None}
        longest = max(present.values()) or 1.0
        for side, value in present.items():
            parts += _bar(y, side, value / longest, shown(value, row.unit))
            y += BAR + GAP
        y += BETWEEN
    for line in [NOTE, *machine]:
        parts.append(_text(LEFT, y + 4, line, "quiet"))
        y += 17
    height = y + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-label="perdure measured beside DBOS on SQLite">',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" rx="10" fill="var(--ground)"/>',
            *_head(),
            *parts,
            "</svg>",
            "",
        ]
    )


def _head() -> list[str]:
    """The title, and what the colours mean."""
    parts = [_text(LEFT, 40, "perdure, measured", "head")]
    x = LEFT
    for side, name in COLUMNS.items():
        parts.append(f'<rect x="{x}" y="58" width="12" height="12" rx="3" fill="var(--{side})"/>')
        parts.append(_text(x + 18, 68.5, name))
        x += 18 + 8 * len(name) + 26
    parts.append(f'<path d="M{LEFT} 82.5H{WIDTH - LEFT}" stroke="var(--rule)"/>')
    return parts


def _bar(y: float, side: str, share: float, value: str) -> list[str]:
    length = max(2.0, share * (WIDTH - LEFT - RIGHT))
    kind = "value first" if side == "perdure" else "value"
    return [
        f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" fill="var(--{side})">'
        f"<title>{escape(COLUMNS[side])}: {escape(value)}</title></rect>",
        _text(LEFT + length + 8, y + BAR - 2.5, value, kind),
    ]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'

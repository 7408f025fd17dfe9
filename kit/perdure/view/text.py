"""A timeline for the terminal.

    ✗ failed  payment  payment-7
    charge failed 3 times: HttpError: HTTP 503
    → Fix charge (no attempt was left), then start the run again.
    started 2026-08-21 14:03:07 UTC · took 7.3 s

    0                    2 s                  4 s                  6 s
    ✗ payment            ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  failed 7.3 s
    ✓ validate           █                                                     12 ms
    ✗ charge             ·▓▓╌╌╌╌╌▓▓▓╌╌╌╌╌╌╌╌╌▓▓                  ✗ ✗ ✗  failed 7.2 s
        attempt 1–3: HttpError: HTTP 503

`█` completed, `▓` failed, `▒` running, `░` lost, `╌` back-off, `·` waiting for a worker, `─` a timer, `═` a child, `◆` an instant.
Every line fits the width; wide characters count as two.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import groupby

from perdure.view.fold import Fold, fold
from perdure.view.html import completions
from perdure.view.parts import Kind, Row, State, Timeline
from perdure.view.phrases import facts, kind_word, notes, state_word, took
from perdure.view.scale import Axis, axis
from perdure.view.words import isolate, shorten

MAX_ROWS = 60

_ASCII = str.maketrans(
    {
        "✓": "+", "✗": "x", "▶": ">", "↻": "@", "…": "~", "⊘": "-", "■": "#", "→": ">", "⏸": "=", "⏱": "x", "◆": "*", "╳": "?",
        "█": "#", "▓": "x", "▒": ">", "░": "?", "╌": "-", "·": ".", "─": "=", "═": "=", "━": "=", "–": "-", "×": "x", "⫽": "/",
        "−": "-", "│": "|",
    }
)  # fmt: skip
_SIGNS = {
    State.COMPLETED: "✓",
    State.FAILED: "✗",
    State.TIMED_OUT: "✗",
    State.LOST: "╳",
    State.RUNNING: "▶",
    State.RETRYING: "↻",
    State.WAITING: "…",
    State.PAUSED: "⏸",
    State.CANCELED: "⊘",
    State.TERMINATED: "■",
    State.CONTINUED_AS_NEW: "→",
    State.ABANDONED: "−",
}
_CELLS = {State.COMPLETED: "█", State.FAILED: "▓", State.TIMED_OUT: "▓", State.RUNNING: "▒"}
_COLOURS = {
    State.COMPLETED: "32",
    State.FAILED: "31",
    State.TIMED_OUT: "31",
    State.LOST: "35",
    State.RUNNING: "36",
    State.RETRYING: "33",
    State.WAITING: "33",
    State.PAUSED: "33",
}


def text(
    timeline: Timeline,
    width: int = 100,
    *,
    colour: bool = False,
    ascii: bool = False,
    max_rows: int = MAX_ROWS,
) -> str:
    """The timeline as lines of text.

    Args:
        width: columns of the terminal; 40 at least.
        colour: with ANSI colours, for a terminal. Nothing is said by colour alone.
        ascii: without any character beyond ASCII in what perdure draws (names stay as they are).
        max_rows: more rows than this are folded; those that failed never.
    """
    pen = _Pen(max(width, 40), colour, ascii)
    lines = pen.header(timeline)
    labels = _labels(timeline)
    names = max(10, min(max(map(columns, labels.values())) + 2, pen.width * 3 // 10))
    right = max((len(pen.right(timeline, row)) for row in timeline.rows[:2000]), default=8)
    plot = max(pen.width - names - right - 3, 8)
    scale = axis(timeline.start, timeline.finish, timeline.edges(), timeline.work())
    lines.append(pen.dim(" " * (names + 1) + pen.ruler(scale, plot)))
    for item in fold(timeline.rows, max_rows):
        if isinstance(item, Fold):
            lines.append(pen.dim(fit(item.words, pen.width)))
            continue
        bar = pen.bar(timeline, scale, item, plot)
        mark = pen.paint(_sign(item), item.state)
        name = fit_to(labels[id(item)], names - 2)
        lines.append(f"{mark} {name} {bar}  {pen.paint(pen.right(timeline, item).rjust(right), item.state)}")
        colour_of = State.FAILED if item.state.failed else State.RETRYING
        lines += [pen.paint(fit("    " + note, pen.width), colour_of) for note in notes(item)]
        if item.kind is Kind.WORKFLOW:
            lines += pen.workers(timeline, scale, names, plot)
    return pen.finish(lines)


def table(timeline: Timeline, width: int = 100, *, colour: bool = False, ascii: bool = False) -> str:
    """How often each activity was started, failed, was lost, and completed: the last is 1, or something is wrong."""
    pen = _Pen(max(width, 60), colour, ascii)
    said, proven = completions(timeline)
    numbers = f"{'started':>8}{'failed':>8}{'lost':>6}{'completed':>11}"
    workers = [
        ", ".join(
            dict.fromkeys(timeline.workers[a.worker].label for a in row.attempts if a.worker is not None)
        )
        for row in timeline.activities
    ]
    by = min(max((len(who) for who in workers), default=0), 24)
    names = min(
        max([8, *(columns(_activity(row)) for row in timeline.activities)]), pen.width - len(numbers) - by - 3
    )
    lines = [pen.dim(f"{'activity'.ljust(names)}{numbers}  {'by' if by else ''}".rstrip())]
    for row, who in zip(timeline.activities, workers, strict=True):
        lost = sum(attempt.state is State.LOST for attempt in row.attempts)
        cells = f"{row.tries:>8}{len(row.failures) - lost or '':>8}{lost or '':>6}"
        once = pen.paint(f"{row.completions:>9} ×", State.COMPLETED if row.completions == 1 else State.FAILED)
        lines.append(f"{fit_to(_activity(row), names)}{cells}{once}  {fit(who, by)}".rstrip())
    lines.append(pen.paint(f"{'✓' if proven else '✗'} {said}", State.COMPLETED if proven else State.FAILED))
    return pen.finish(lines)


class _Pen:
    """Writes lines of at most `width` columns."""

    def __init__(self, width: int, colour: bool, ascii: bool) -> None:
        self.width, self.colour, self.ascii = width, colour, ascii

    def paint(self, said: str, state: State, bold: bool = False) -> str:
        code = ";".join(filter(None, (_COLOURS.get(state, ""), "1" if bold else "")))
        return f"\x1b[{code}m{said}\x1b[0m" if self.colour and code and said else said

    def dim(self, said: str) -> str:
        return f"\x1b[2m{said}\x1b[0m" if self.colour and said.strip() else said

    def finish(self, lines: list[str]) -> str:
        said = "\n".join(line.rstrip() for line in lines)
        return said.translate(_ASCII) if self.ascii else said

    def header(self, line: Timeline) -> list[str]:
        state = line.state
        identity = "" if line.workflow_id == line.workflow_type else f"  {line.workflow_id}"
        chip = f"{_SIGNS[state]} {state}"
        lines = [
            self.paint(chip, state, bold=True)
            + fit(f"  {line.workflow_type}{identity}", self.width - len(chip))
        ]
        lines += [
            self.paint(said, state, bold=True) if state.failed else said
            for said in wrap(line.verdict, self.width, 3)
        ]
        lines += wrap(f"→ {line.remedy}", self.width, 3) if line.remedy else []
        lines += [self.dim(said) for said in wrap(" · ".join(facts(line)), self.width, 3)]
        return [*lines, ""]

    def right(self, line: Timeline, row: Row) -> str:
        """Attempts as signs, when there was more than one; the state, when it is not plain success; the time."""
        state = state_word(row) if self.width >= 70 else ""
        return "  ".join(
            filter(None, (signs(row) if row.tries > 1 or row.failures else "", state, took(line, row)))
        )

    def ruler(self, scale: Axis, plot: int) -> str:
        cells = [" "] * plot
        for gap in scale.breaks:
            cells[min(int((gap.left + gap.right) / 2 * plot), plot - 1)] = "⫽"
        free = 0
        for tick in scale.ticks:
            at = min(round(tick.at * plot), plot - len(tick.label))
            if at >= free and set(cells[at : at + len(tick.label)]) == {" "}:
                cells[at : at + len(tick.label)] = tick.label
                free = at + len(tick.label) + 2
        return "".join(cells)

    def bar(self, line: Timeline, scale: Axis, row: Row, plot: int) -> str:
        cells: list[tuple[str, State | None]] = [(" ", None)] * plot

        def fill(start: int, end: int, char: str, state: State | None) -> None:
            left = min(int(scale.position(start) * plot), plot - 1)
            right = min(max(round(scale.position(end) * plot), left + 1), plot)
            cells[left:right] = [(char, state)] * (right - left)

        finish = line.finish if row.end is None else row.end
        if row.point:
            fill(row.start, row.start, "◆", None)
        elif row.kind in (Kind.ACTIVITY, Kind.LOCAL_ACTIVITY):
            fill(row.start, finish, "·", State.WAITING)
            for attempt in row.attempts:
                if (
                    attempt.next_due is not None
                    and attempt.ended is not None
                    and attempt.next_due > attempt.ended
                ):
                    fill(attempt.ended, min(attempt.next_due, finish), "╌", State.RETRYING)
            for attempt in row.attempts:  # after the gaps, so that a short attempt is seen
                if attempt.started is not None:
                    ended = finish if attempt.ended is None else attempt.ended
                    fill(attempt.started, ended, _CELLS.get(attempt.state, "░"), attempt.state)
        else:
            fill(row.start, finish, {Kind.WORKFLOW: "━", Kind.TIMER: "─"}.get(row.kind, "═"), row.state)
        runs = groupby(cells, key=lambda cell: cell[1])
        return "".join(self._piece("".join(char for char, _ in run), state) for state, run in runs)

    def _piece(self, said: str, state: State | None) -> str:
        return said if state is None else self.paint(said, state)

    def workers(self, line: Timeline, scale: Axis, names: int, plot: int) -> list[str]:
        """Who worked when, if more than one did."""
        lines = []
        for worker in line.workers[:6] if len(line.workers) > 1 else ():
            left = min(int(scale.position(worker.first) * plot), plot - 1)
            right = min(max(round(scale.position(worker.last) * plot), left + 1), plot)
            fate = "╳ died" if worker.lost is not None else ""
            mark = " " * left + str(worker.index + 1) * (right - left)
            lines.append(
                self.dim(
                    f"  {fit_to(worker.label, names - 2)} {fit(f'{mark} {fate}', self.width - names - 1)}"
                )
            )
        return lines


def _labels(line: Timeline) -> dict[int, str]:
    """What to call each row, by its identity: with its arguments, where a name alone would not tell it from others."""
    names = Counter((row.kind, row.name) for row in line.rows)
    labels = {}
    for row in line.rows:
        detail = f" {shorten(row.detail, 24)}" if names[row.kind, row.name] > 1 and row.detail else ""
        labels[id(row)] = f"{kind_word(row)} {row.name}{detail}".strip()
    return labels


def _sign(row: Row) -> str:
    return "◆" if row.point else _SIGNS[row.state]


def _activity(row: Row) -> str:
    return f"{row.name} {shorten(row.detail, 30)}".rstrip()


def signs(row: Row) -> str:
    """Attempts as signs: ✗ ✗ ✓, and ✗×12 ✓ for many."""
    all_signs = ["✗"] * row.earlier + [_SIGNS[attempt.state] for attempt in row.attempts]
    if row.state is State.RETRYING:
        all_signs.append(_SIGNS[State.RETRYING])
    if len(all_signs) <= 5:
        return " ".join(all_signs)
    runs = [(sign, len(list(run))) for sign, run in groupby(all_signs)]
    return " ".join(f"{sign}×{number}" if number > 1 else sign for sign, number in runs[-4:])


def columns(said: str) -> int:
    """How many columns of a terminal a text takes: none for marks and controls, two for wide characters."""
    if said.isascii():
        return len(said)
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in said
    )


def fit(said: str, width: int) -> str:
    """`said`, cut to `width` columns."""
    if columns(said) <= width:
        return said
    while said and columns(said) > width - 1:
        said = said[:-1]
    return said + "…"


def fit_to(said: str, width: int) -> str:
    """`said`, cut or padded to `width` columns."""
    said = fit(said, width)
    return isolate(said) + " " * (width - columns(said))


def wrap(said: str, width: int, lines: int) -> list[str]:
    """`said` in at most `lines` lines of `width` columns."""
    rows = [""]
    for word in said.split(" "):
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if rows[-1] and columns(longer) > width and len(rows) < lines:
            rows.append(word)
        else:
            rows[-1] = longer
    return [fit(row, width) for row in rows]

"""A timeline as SVG.

Two forms of one drawing. *Fluid* (`width=None`, what notebooks get): as wide as its container, times as percentages of a plot between two
columns of fixed width, text always at its own size; details that would not fit a narrow container step back by a container query.
*Fixed* (`width=960`): a `viewBox`, for files, slides and <img>; what fits is known when it is drawn.

No script, no ids, no references: several pictures can stand on one page, and sanitisers find nothing to cut.
"""

from __future__ import annotations

from perdure.view.bars import ROW, draw_bars, tone_of
from perdure.view.fold import Fold, fold
from perdure.view.ink import INDENT, Pen, measure
from perdure.view.parts import Kind, Row, State, Timeline
from perdure.view.phrases import describe, facts, kind_word, notes, state_word, took
from perdure.view.scale import Axis, axis
from perdure.view.theme import style_sheet
from perdure.view.words import count, duration

NOTE, LANE, AXIS = 17, 17, 24  # heights of a failure's line, a process's line, and the axis
MAX_ROWS = 60
MAX_LANES = 6
QUIET = 40  # with more rows than this, only those in trouble say why attempts failed


def svg(
    timeline: Timeline, *, width: int | None = None, max_rows: int = MAX_ROWS, header: bool = True
) -> str:
    """The timeline as one <svg> element.

    Args:
        width: of the drawing in px, at least 320; None makes it as wide as what it stands in.
        max_rows: more rows than this are folded; those that failed never.
        header: draw the run's name, state and verdict above the rows.
    """
    pen = Pen(width)
    scale = axis(timeline.start, timeline.finish, timeline.edges(), timeline.work())
    head: list[str] = []
    top = _header(pen, timeline, head) if header else 6
    y = top + AXIS
    items = fold(timeline.rows, max_rows)
    rows: list[str] = []
    for item in items:
        if isinstance(item, Fold):
            rows.append(_fold(pen, timeline, scale, item, y))
            y += ROW if len(item.states) == 1 else ROW + NOTE
            continue
        said = notes(item) if len(items) <= QUIET or item.state.failed or item.state.open else []
        rows.append(_row(pen, timeline, scale, item, said, y))
        y += ROW + NOTE * len(said)
        if item.kind is Kind.WORKFLOW:
            y += _lanes(pen, timeline, scale, rows, y)
    body = "".join(head) + _axis(pen, scale, top, y) + _takeovers(pen, timeline, scale, top, y)
    return _frame(pen, timeline, y + 8, f'{body}<g role="list">{"".join(rows)}</g>')


def _frame(pen: Pen, timeline: Timeline, height: int, body: str) -> str:
    size = 'width="100%"' if pen.fluid else f'viewBox="0 0 {pen.width} {height}" width="{pen.width}"'
    label = (
        f"Timeline of {timeline.workflow_type} {timeline.workflow_id}: {timeline.state}. {timeline.verdict}"
    )
    responsive = "display:block" if pen.fluid else "display:block;max-width:100%;height:auto"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="perdure-timeline" {size} height="{height}" direction="ltr" role="group" '
        f'aria-label="{pen.attribute(label)}" font-family="system-ui, sans-serif" font-size="12" style="{responsive}">'
        f"<style>{style_sheet(fluid=pen.fluid)}</style>"
        f'<rect {pen.paint("bg")} width="100%" height="{height}" rx="6"/>{body}</svg>'
    )


def _header(pen: Pen, timeline: Timeline, drawn: list[str]) -> int:
    """Name, state, verdict and what to do; returns the height."""
    _title(pen, timeline, drawn)
    y = 44
    tone = "fail" if timeline.state.failed else "ink"
    lines = [(line, tone) for line in pen.wrap(timeline.verdict, 13.5, 3)]
    if timeline.remedy:
        lines += [(line, "run") for line in pen.wrap(f"→ {timeline.remedy}", 13.5, 3)]
    for line, tone in lines:
        drawn.append(pen.either(line, 12, y + 12, tone, size=13.5, bold=tone != "run"))
        y += 19
    for line in pen.wrap(" · ".join(facts(timeline)), 11, 3):
        drawn.append(pen.either(line, 12, y + 11, "dim", size=11))
        y += 15
    return y + 10


def _title(pen: Pen, timeline: Timeline, drawn: list[str]) -> None:
    """The state as a chip, the workflow's type, and its id if there is room."""
    state = timeline.state
    chip = round(measure(state, 12, bold=True)) + 38
    drawn.append(f'<rect {pen.paint(tone_of(state))} x="12" y="12" width="{chip}" height="22" rx="11"/>')
    drawn.append(pen.icon(state, 26, 23, "on"))
    drawn.append(pen.text(state, 38, 27.5, "on", bold=True))
    left = chip + 22
    name = pen.cut(timeline.workflow_type, pen.text_width - left, 15, middle=True, bold=True)
    drawn.append(pen.text(name, left, 28.5, "ink", size=15, bold=True))
    left += round(measure(name, 15, bold=True)) + 8
    room = pen.text_width - left
    if timeline.workflow_id != timeline.workflow_type and room > 60:
        drawn.append(
            pen.text(pen.cut(timeline.workflow_id, room, 13, middle=True), left, 28.5, "dim", size=13)
        )


def _axis(pen: Pen, scale: Axis, top: int, bottom: int) -> str:
    """Labels and vertical lines; a break is a band with a zigzag."""
    height = bottom - top
    drawn = []
    for gap in scale.breaks:
        said = f"{duration(gap.end - gap.start)} in which nothing begins or ends"
        drawn.append(_tear(pen, gap.left, gap.right, AXIS - 6, height, said))
    free = -1.0
    for tick in scale.ticks:
        tier = "" if tick.at >= free or tick.cut else "pd-w1"
        if not tier:
            free = tick.at + (measure(tick.label, 10.5) + 12) / pen.narrow_plot
        elif not pen.fluid:
            continue
        x = pen.percent(tick.at)
        anchor = "start" if tick.at < 0.02 else "end" if tick.at > 0.985 else "middle"
        if not tick.cut:
            drawn.append(
                f'<line {pen.stroke("line", tier)} x1="{x}" x2="{x}" y1="{AXIS - 6}" y2="{height}"/>'
            )
        drawn.append(pen.text(tick.label, x, 12, "dim", size=10.5, anchor=anchor, tier=tier, bold=tick.cut))
    return pen.plot(top, height, "".join(drawn))


def _tear(pen: Pen, left: float, right: float, top: int, bottom: int, said: str) -> str:
    """A break of the axis: a band with torn edges."""
    teeth = (bottom - top) // 8
    edge = f"M0 {top}" + "l3 4l-3 4" * teeth
    band = (
        f'<rect {pen.paint("band")} x="{pen.percent(left)}" width="{pen.percent(right - left)}" y="{top}" '
        f'height="{teeth * 8}"><title>{said}</title></rect>'
    )
    return band + "".join(pen.sign(at, 0, edge, "line", width=1.2) for at in (left, right))


def _lanes(pen: Pen, timeline: Timeline, scale: Axis, rows: list[str], y: int) -> int:
    """Who worked when, if more than one did: a line for each process, in the pattern that marks its attempts below."""
    if len(timeline.workers) < 2:
        return 0
    shown = timeline.workers[:MAX_LANES]
    for index, worker in enumerate(shown):
        left, right = scale.position(worker.first), scale.position(worker.last)
        died = worker.lost is not None
        said = f"{worker.label}, {worker.identity}{': died' if died else ''}"
        mark = pen.worker_line(worker.index, left, right, 8) + (
            pen.cross(right, 8, "fail", 4) if died else ""
        )
        fate = " died" if died else ""
        rows.append(
            f'<g role="listitem" transform="translate(0 {y + LANE * index})" aria-label="{pen.attribute(said)}">'
            f"<title>{pen.escape(said)}</title>"
            + pen.text(f"{worker.label}{fate}", INDENT, 12, "fail" if died else "dim", size=11)
            + pen.plot(0, LANE, mark)
            + "</g>"
        )
    height = LANE * len(shown)
    if len(timeline.workers) > len(shown):
        more = count(len(timeline.workers) - len(shown), "more worker")
        rows.append(pen.text(f"and {more}", INDENT, y + height + 12, "dim", size=11))
        height += LANE
    return height + 5


def _takeovers(pen: Pen, timeline: Timeline, scale: Axis, top: int, bottom: int) -> str:
    """A line through all rows where a process goes on with what another left."""
    drawn = []
    for worker in [worker for worker in timeline.workers if worker.takes_over][:MAX_LANES]:
        x = pen.percent(scale.position(worker.first))
        drawn.append(
            f'<line {pen.stroke("dim")} stroke-width="1.3" stroke-dasharray="5 3" x1="{x}" x2="{x}" y1="{AXIS - 4}" y2="{bottom - top}">'
            f"<title>{pen.escape(worker.label)} takes over here</title></line>"
        )
    return pen.plot(top, bottom - top, "".join(drawn))


def _row(pen: Pen, timeline: Timeline, scale: Axis, row: Row, said: list[str], y: int) -> str:
    own = row.kind is Kind.WORKFLOW
    tone = (
        "time"
        if row.kind is Kind.TIMER and row.end is None
        else tone_of(row.state)
        if state_word(row)
        else "dim"
    )
    parts = [_icon(pen, row)]
    parts.append(pen.label(kind_word(row), row.name, "" if own else row.detail, 17, bold=own))
    parts.append(pen.plot(0, ROW, draw_bars(pen, timeline, scale, row)))
    parts.append(pen.pair(state_word(row), took(timeline, row), 17, tone))
    for index, note in enumerate(said):
        parts.append(
            pen.either(
                note, INDENT, ROW + NOTE * index + 8, "fail" if row.state.failed else "wait", size=11.5
            )
        )
    return _item(pen, describe(timeline, row), y, ROW + NOTE * len(said), "".join(parts), row.event_id)


def _icon(pen: Pen, row: Row) -> str:
    """The state as a shape; a diamond for an instant, a clock for a timer that runs."""
    if row.point:
        return pen.diamond_at(15, 13, "time" if row.kind is Kind.SIGNAL else "flow")
    if row.kind is Kind.TIMER and row.end is None:
        return pen.icon(State.TIMED_OUT, 15, 13, "time")
    return pen.icon(row.state, 15, 13, tone_of(row.state))


def _fold(pen: Pen, timeline: Timeline, scale: Axis, item: Fold, y: int) -> str:
    left = scale.position(item.start)
    right = scale.position(timeline.finish if item.end is None else item.end)
    mark = pen.plot(0, ROW, pen.bar(left, right, 8, 10, tone_of(item.state), opacity=0.3))
    mark += pen.label("", f"… {len(item.rows):,} more", "rows", 17)
    if len(item.states) == 1:
        return _item(pen, item.words, y, ROW, mark + pen.pair(str(item.state), "", 17, "dim"))
    return _item(
        pen, item.words, y, ROW + NOTE, mark + pen.either(item.counts, INDENT, ROW + 8, "dim", size=11.5)
    )


def _item(pen: Pen, said: str, y: int, height: int, content: str, event_id: int | None = None) -> str:
    """Something in the list that can be hovered over and reached by keyboard. A front end finds a row by its event."""
    event = "" if event_id is None else f' data-event="{event_id}"'
    return (
        f'<g class="pd-row"{event} role="listitem" tabindex="0" transform="translate(0 {y})" aria-label="{pen.attribute(said)}">'
        f"<title>{pen.escape(said)}</title>"
        f'<rect class="pd-hit" fill="none" pointer-events="all" x="4" width="100%" height="{height}" rx="4"/>'
        f"{content}</g>"
    )

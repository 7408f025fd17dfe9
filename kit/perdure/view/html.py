"""A timeline as HTML: a fragment for notebooks and mails, and a whole page for a file.

The fragment is the run's name, state and verdict as text, the SVG, and a <details> with a table of all attempts. If a sanitiser
takes the SVG or the style sheet away, the text and the table still tell all.
"""

from __future__ import annotations

from html import escape

from perdure.view.bars import tone_of
from perdure.view.parts import Attempt, Kind, Row, State, Timeline
from perdure.view.phrases import facts, kind_word, reason, state_word, took
from perdure.view.svg import MAX_ROWS, svg
from perdure.view.theme import PALETTE, style_sheet
from perdure.view.words import count, duration, shorten

MAX_TABLE = 400  # attempts in the fragment's table

_BOX = ".perdure-timeline.pd-box"
_RULES = (
    f"{_BOX}{{background:var(--pd-bg);color:var(--pd-ink);border:1px solid var(--pd-line);border-radius:8px;"
    "font-size:13px;line-height:1.45;padding:10px 0 0;margin:2px 0;text-align:left}"
    f"{_BOX} .pd-head{{padding:0 12px;overflow-wrap:anywhere}}"
    f"{_BOX} .pd-chip{{display:inline-block;border-radius:11px;padding:1px 10px;font-weight:600;font-size:12px;"
    "color:var(--pd-on);margin-right:8px}"
    f"{_BOX} .pd-type{{font-size:15px;font-weight:600}}"
    f"{_BOX} .pd-small{{color:var(--pd-dim);font-size:12px}}"
    f"{_BOX} .pd-verdict{{margin:6px 0 0;font-size:14px}}"
    f"{_BOX} .pd-remedy{{margin:2px 0 0;font-size:14px;color:var(--pd-run)}}"
    f"{_BOX} details{{border-top:1px solid var(--pd-line);padding:6px 12px}}"
    f"{_BOX} summary{{cursor:pointer;color:var(--pd-dim);font-size:12px}}"
    f"{_BOX} .pd-scroll{{overflow-x:auto}}"
    f"{_BOX} table{{border-collapse:collapse;font-size:12px;margin:6px 0;color:inherit;background:none;border:0}}"
    f"{_BOX} :is(th,td){{text-align:left;vertical-align:top;padding:3px 14px 3px 0;border:0;border-bottom:1px solid var(--pd-line);"
    "background:none;color:inherit;white-space:nowrap}"
    f"{_BOX} th{{color:var(--pd-dim);font-weight:600}}"
    f"{_BOX} td.pd-long{{white-space:normal;min-width:16em;max-width:44em;overflow-wrap:anywhere}}"
    f"{_BOX} td.pd-num{{text-align:right;font-variant-numeric:tabular-nums}}"
    + "".join(
        f"{_BOX} .pd-t-{tone}{{color:var(--pd-{tone})}}{_BOX} .pd-b-{tone}{{background:var(--pd-{tone})}}"
        for tone in PALETTE
    )
)
_PAGE = (
    "body{margin:0;padding:24px 16px;background:#f6f8fa;color:#1f2328;font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){body{background:#0b0d10;color:#e8ecf1}}"
    "main{max-width:1180px;margin:0 auto}h1{font-size:20px;margin:0 0 14px}h2{font-size:15px;margin:24px 0 6px}"
    f"main {_BOX}{{padding-bottom:2px;margin-bottom:18px}}"
)


def html(timeline: Timeline, *, max_rows: int = MAX_ROWS, max_attempts: int = MAX_TABLE) -> str:
    """The timeline as an HTML fragment that needs nothing around it."""
    drawing = svg(timeline, header=False, max_rows=max_rows)
    return _box(_head(timeline) + drawing + _attempts(timeline, max_attempts))


def page(*timelines: Timeline, title: str = "") -> str:
    """A whole HTML page: each run's timeline, then the table that shows how often each activity completed."""
    title = title or ", ".join(dict.fromkeys(line.workflow_id for line in timelines)) or "No runs"
    body = "".join(html(line, max_rows=400) + _completions(line) for line in timelines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def _box(content: str) -> str:
    return (
        '<div class="perdure-timeline pd-box" dir="ltr" style="container:pd/inline-size">'
        f"<style>{style_sheet(fluid=True)}{_RULES}</style>{content}</div>"
    )


def _head(line: Timeline) -> str:
    tone = tone_of(line.state)
    identity = (
        f' <span class="pd-small">{escape(line.workflow_id)}</span>'
        if line.workflow_id != line.workflow_type
        else ""
    )
    remedy = f'<div class="pd-remedy">→ {escape(line.remedy)}</div>' if line.remedy else ""
    loud = f' class="pd-t-{tone}"' if line.state.failed else ""
    return (
        f'<div class="pd-head"><span class="pd-chip pd-b-{tone}">{line.state}</span> '
        f'<span class="pd-type">{escape(line.workflow_type)}</span>{identity}'
        f'<div class="pd-verdict"><b{loud}>{escape(line.verdict)}</b></div>{remedy}'
        f'<div class="pd-small">{escape(" · ".join(facts(line)))}</div></div>'
    )


def _attempts(line: Timeline, limit: int) -> str:
    """Every attempt of every activity, as a table to unfold."""
    rows: list[tuple[Row, Attempt | None]] = []
    for row in line.activities:
        rows += [(row, attempt) for attempt in row.attempts] or [(row, None)]
    if not rows:
        return ""
    shown = rows[:limit]
    shown += [
        (row, attempt)
        for row, attempt in rows[limit:]
        if row.state.failed or (attempt is not None and attempt.state.failed)
    ]
    several = len(line.workers) > 1
    heads = [
        "activity",
        "arguments",
        "attempt",
        "outcome",
        "began at",
        "took",
        *(["by"] if several else []),
        "why",
    ]
    body = "".join(_attempt(line, row, attempt, several) for row, attempt in shown)
    if len(shown) < len(rows):
        body += f'<tr><td colspan="{len(heads)}">… {count(len(rows) - len(shown), "more attempt")} that did not fail</td></tr>'
    said = f"{count(sum(row.tries for row in line.activities), 'attempt')} of {count(len(line.activities), 'activity')}"
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<details><summary>{said}, as a table</summary><div class="pd-scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _attempt(line: Timeline, row: Row, attempt: Attempt | None, several: bool) -> str:
    number, state, began, span, who, why = "", row.state, "", "", "", ""
    if attempt is not None:
        number = f"{attempt.number}{f' of {row.max_attempts}' if row.max_attempts else ''}"
        state, why = attempt.state, reason(attempt)
        if attempt.started is not None:
            began = duration(attempt.started - line.start)
            span = duration((line.finish if attempt.ended is None else attempt.ended) - attempt.started)
        who = line.workers[attempt.worker].label if attempt.worker is not None else ""
    cells = [
        f"<td>{escape(_name(row))}</td><td>{escape(shorten(row.detail, 48))}</td><td>{number}</td>",
        f'<td class="pd-t-{tone_of(state)}">{state}</td><td class="pd-num">{began}</td><td class="pd-num">{span}</td>',
        f"<td>{escape(who)}</td>" if several else "",
        f'<td class="pd-long">{escape(why)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _completions(line: Timeline) -> str:
    """How often each activity completed: the proof that none was lost and none done twice."""
    if not line.activities:
        return ""
    rows = []
    for row in line.activities:
        workers = dict.fromkeys(line.workers[a.worker].label for a in row.attempts if a.worker is not None)
        lost = sum(attempt.state is State.LOST for attempt in row.attempts)
        failed = len(row.failures) - lost
        tone = "done" if row.completions == 1 else "fail" if row.end is not None or row.completions else "dim"
        rows.append(
            f"<tr><td>{escape(_name(row))}</td><td>{escape(shorten(row.detail, 60))}</td>"
            f'<td class="pd-num">{row.tries}</td><td class="pd-num">{failed or ""}</td><td class="pd-num">{lost or ""}</td>'
            f"<td>{escape(', '.join(workers))}</td>"
            f'<td class="pd-t-{tone}"><b>{row.completions} ×</b></td>'
            f"<td>{escape(state_word(row) or 'completed')}, {took(line, row)}</td></tr>"
        )
    heads = ("activity", "arguments", "started", "failed", "lost", "by", "completed", "now")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    said, proven = completions(line)
    return _box(
        f'<div class="pd-head"><b class="pd-t-{"done" if proven else "fail"}">{"✓" if proven else "✗"} {escape(said)}</b></div>'
        f'<div class="pd-head pd-scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def completions(line: Timeline) -> tuple[str, bool]:
    """Whether every activity completed exactly once, in a sentence and as a truth."""
    every = line.activities
    once = sum(row.completions == 1 for row in every)
    twice = sum(row.completions > 1 for row in every)
    if not every:
        return "There were no activities", True
    if once == len(every):
        both = "both activities" if len(every) == 2 else f"all {count(len(every), 'activity')}"
        return f"{'the one activity' if len(every) == 1 else both} completed exactly once".capitalize(), True
    said = f"{once:,} of {count(len(every), 'activity')} completed exactly once"
    return said + (
        f", {twice:,} more than once" if twice else f", {len(every) - once:,} did not complete"
    ), False


def _name(row: Row) -> str:
    return f"{kind_word(row)} {row.name}" if row.kind is Kind.LOCAL_ACTIVITY else row.name

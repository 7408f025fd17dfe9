"""What a front end gets of a run: frames, details of a row, and the static bundle. Pure: timelines in, values out.

A *frame* is the drawing plus what the buttons and the countdown below it need. *Details* of a row are HTML, made on request
while the run is open. The *static bundle* stands where no kernel does: a notebook file, nbconvert, a closed run. Its
HTML is an <img> that shows everywhere, also where notebooks are sanitised (an untrusted notebook, GitHub);
where scripts run, the picture is put into the page instead, follows the theme, and opens details on click.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any
from uuid import uuid4

from perdure import view
from perdure.view.parts import Attempt, Kind, Row, State, Timeline
from perdure.view.words import MILLISECOND, SECOND, duration

STATIC_LIMIT = 90_000  # characters of one picture in a notebook's file, about
STATIC_ROWS = (60, 40, 25, 15)  # rows of it: the most that fit
PIXELS = 400  # an idle run is drawn again when its bars have grown by about one in so many


def resource(name: str) -> str:
    """A file of the package: run.js, run.css."""
    return files("perdure_jupyter").joinpath("static", name).read_text(encoding="utf-8")


def frame(timeline: Timeline) -> dict[str, Any]:
    """The message that makes a front end draw the run as it is now."""
    return {
        "kind": "frame",
        "run": timeline.run_id,
        "picture": view.html(timeline),
        "open": timeline.end is None,
        "now": timeline.now // MILLISECOND,
        "next": _next(timeline),
        "pace": min(max((timeline.finish - timeline.start) / SECOND / PIXELS, 1.0), 60.0),
    }


def _next(timeline: Timeline) -> dict[str, Any] | None:
    """What happens next by the clock: the words and the instant (ms) for the front end's countdown."""
    if timeline.end is not None:
        return None
    waiting = [
        row for row in timeline.rows if row.end is None and row.due is not None and row.due > timeline.now
    ]
    waiting = [row for row in waiting if row.kind is Kind.TIMER or row.state is State.RETRYING]
    if not waiting:
        return None
    row = min(waiting, key=lambda row: row.due or 0)
    tried = f"{row.name}, attempt {row.attempts[-1].number + 1}" if row.attempts else row.name
    words = "timer fires" if row.kind is Kind.TIMER else tried
    return {"words": words, "at": (row.due or 0) // MILLISECOND}


def details(timeline: Timeline, event_id: int) -> str:
    """A row in full, as HTML; "" when the run has no such row."""
    row = next((row for row in timeline.rows if row.event_id == event_id), None)
    if row is None:
        return ""
    facts = [("started", _when(timeline, row.start))]
    if not row.point:
        facts.append(
            (
                "took" if row.end is not None else "open for",
                duration((row.end or timeline.finish) - row.start),
            )
        )
    facts += [
        ("task queue", row.task_queue),
        ("workflow id", row.workflow_id),
        ("with", row.detail),
        ("result", row.result),
    ]
    if row.fault is not None and not row.attempts:
        facts.append(("failure", str(row.fault)))
    listed = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts if text)
    title = f"<b>{escape(row.name)}</b> <span>{escape(f'{row.kind} · {row.state}'.strip(' ·'))}</span>"
    return f"<h4>{title}</h4><dl>{listed}</dl>{_attempts(timeline, row)}"


def _attempts(timeline: Timeline, row: Row) -> str:
    if not row.attempts:
        return ""
    rows = "".join(_attempt(timeline, row, attempt) for attempt in row.attempts)
    head = "".join(f"<th>{name}</th>" for name in ("attempt", "", "began", "took", "worker"))
    return f"<div class='perdure-scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _attempt(timeline: Timeline, row: Row, attempt: Attempt) -> str:
    began = took = ""
    if attempt.started is not None:
        began = f"+{duration(attempt.started - timeline.start)}"
        ended = timeline.finish if attempt.ended is None else attempt.ended
        took = duration(ended - attempt.started)
    worker = attempt.identity if attempt.worker is None else timeline.workers[attempt.worker].label
    number = f"{attempt.number} of {row.max_attempts}" if row.max_attempts else str(attempt.number)
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in (number, str(attempt.state), began, took, worker))
    # A row of its own: in a narrow page the reason must not be the part that is out of sight.
    why = f'<tr class="perdure-why"><td></td><td colspan="4">{escape(str(attempt.fault))}</td></tr>'
    return f"<tr>{cells}</tr>{why if attempt.fault is not None else ''}"


def _when(timeline: Timeline, time: int) -> str:
    clock = datetime.fromtimestamp(time / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"+{duration(time - timeline.start)} ({clock} UTC)"


def static_bundle(timeline: Timeline, live: str = "") -> dict[str, str]:
    """The run as it is now, for places without a kernel. `live` is the key of the model that brings it to life, if there is one."""
    return {"text/html": static_html(timeline, live), "text/plain": view.text(timeline)}


def static_html(timeline: Timeline, live: str = "") -> str:
    """A picture that needs nothing, and a script that makes it better where scripts run."""
    text = ""
    for rows in STATIC_ROWS:
        text = _static_html(timeline, rows, live)
        if len(text) <= STATIC_LIMIT:
            break
    return text


def _static_html(timeline: Timeline, rows: int, live: str) -> str:
    name = f"perdure-{uuid4().hex}"
    picture = view.svg(timeline, header=False, max_rows=rows)
    fragment = view.html(timeline, max_rows=rows, max_attempts=2 * rows).replace(
        picture, _image(timeline, picture)
    )
    # A "<" could end the script, or keep it from ending.
    told = json.dumps(_all_details(timeline, 300 * rows), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<div id="{name}" class="perdure-run" data-run="{escape(timeline.run_id)}" data-live="{live}">{fragment}</div>'
        f"<style>{resource('run.css')}</style>"
        f'<script type="module">{resource("run.js")}\nattach(document.getElementById("{name}"), {told});</script>'
    )


def _image(timeline: Timeline, picture: str) -> str:
    height = re.search(r'height="(\d+)"', picture)
    label = escape(f"Timeline of {timeline.workflow_type} {timeline.workflow_id}: {timeline.state}")
    size = f'width="100%" height="{height[1] if height else 300}"'
    return f'<img class="perdure-image" alt="{label}" {size} src=\'{_data_url(picture)}\'>'


def _data_url(picture: str) -> str:
    """The drawing as a URL for an attribute in single quotes: only what would end the URL or the attribute is escaped."""
    escaped = picture.translate({ord(char): f"%{ord(char):02X}" for char in "%#'&\n"})
    return f"data:image/svg+xml;charset=utf-8,{escaped}"


def _all_details(timeline: Timeline, room: int) -> dict[int, str]:
    """Details of the rows, those with failures first, as many as fit into so many characters."""
    kept: dict[int, str] = {}
    for row in sorted(timeline.rows, key=lambda row: not row.state.failed and len(row.attempts) < 2):
        text = details(timeline, row.event_id)
        if len(text) > room:
            break
        kept[row.event_id] = text
        room -= len(text)
    return kept

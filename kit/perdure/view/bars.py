"""What is drawn inside a row: one function for each kind of thing that takes time.

The shapes say what the colours say: solid = completed, outlined and ended by ✗ = failed, dashed outline = lost, hatched =
back-off, thin line = waiting for a worker, soft with an arrowhead = still going on, diamond = an instant.
"""

from __future__ import annotations

from perdure.view.ink import Pen, measure
from perdure.view.parts import Attempt, Kind, Row, State, Timeline
from perdure.view.phrases import describe_attempt
from perdure.view.scale import Axis
from perdure.view.words import duration

ROW = 27  # height of a row
TOP, HIGH, MIDDLE = 6, 14, 13  # of a bar inside it
MAX_ATTEMPTS = 60  # drawn in one row; those between the first and the last are one hatched stretch
MAX_TASKS = 200


def draw_bars(pen: Pen, line: Timeline, scale: Axis, row: Row) -> str:
    """Everything inside a row, at places of the axis."""
    start, end = scale.position(row.start), scale.position(line.finish if row.end is None else row.end)
    if row.kind is Kind.WORKFLOW:
        return _workflow(pen, line, scale, row, start, end)
    if row.point:
        return pen.diamond(start, MIDDLE, "time" if row.kind is Kind.SIGNAL else "flow")
    if row.kind in (Kind.ACTIVITY, Kind.LOCAL_ACTIVITY):
        return _activity(pen, line, scale, row)
    if row.kind is Kind.TIMER:
        return _timer(pen, row, start, end)
    return _remote(pen, row, start, end)


def _workflow(pen: Pen, line: Timeline, scale: Axis, row: Row, start: float, end: float) -> str:
    """The run from end to end; its own code ran where the dark marks are."""
    tone = tone_of(row.state)
    parts = [pen.bar(start, end, 9, 8, tone, opacity=0.3)]
    if row.end is None:
        parts.append(_arrow(pen, end, tone))
    tasks = (
        line.tasks
        if len(line.tasks) <= MAX_TASKS
        else [task for task in line.tasks if task.fault is not None][-MAX_TASKS:]
    )
    for task in tasks:
        left, right = (
            scale.position(task.start),
            scale.position(line.finish if task.end is None else task.end),
        )
        if task.state is State.LOST:
            parts.append(
                pen.bar(
                    left,
                    right,
                    9,
                    8,
                    "bg",
                    edge="lost",
                    dashed=True,
                    title="workflow task lost: its process died",
                )
            )
        elif task.fault is not None:
            parts.append(pen.cross(right, MIDDLE, "fail", 4.5, title=f"workflow task failed: {task.fault}"))
        else:
            parts.append(pen.bar(left, right, 9, 8, tone))
    return "".join(parts)


def _activity(pen: Pen, line: Timeline, scale: Axis, row: Row) -> str:
    parts = []
    finish = line.finish if row.end is None else row.end
    if not row.attempts:
        queued = "waiting for a worker" if line.recorded else "scheduled, not finished"
        queued = queued if row.end is None else str(row.state)
        return _queue(pen, scale, row.start, finish, queued) + (
            pen.cross(scale.position(finish), MIDDLE, "lost")
            if row.state in (State.CANCELED, State.TIMED_OUT)
            else ""
        )
    attempts = row.attempts
    first = attempts[0]
    if row.earlier and first.started is not None and row.kind is Kind.ACTIVITY:
        said = "attempt 1" if row.earlier == 1 else f"attempts 1–{row.earlier}"
        parts.append(
            _hatch(pen, scale, row.start, first.started, f"{said}: the history keeps no more of it", said)
        )
    if len(attempts) > MAX_ATTEMPTS:
        head, tail = attempts[:2], attempts[-MAX_ATTEMPTS + 3 :]
        gap_from, gap_to = head[-1].ended, tail[0].started
        if gap_from is not None and gap_to is not None:
            said = f"{len(attempts) - len(head) - len(tail):,} more attempts"
            parts.append(_hatch(pen, scale, gap_from, gap_to, said, said))
        parts += [_attempt(pen, line, scale, row, attempt, None) for attempt in head[:-1]]
        attempts = tail
    for index, attempt in enumerate(attempts):
        after = attempts[index + 1] if index + 1 < len(attempts) else None
        parts.append(_attempt(pen, line, scale, row, attempt, after))
    return "".join(parts)


def _attempt(pen: Pen, line: Timeline, scale: Axis, row: Row, attempt: Attempt, after: Attempt | None) -> str:
    """Waiting for a worker, the work itself, and the back-off after it."""
    parts = []
    ended = line.finish if attempt.ended is None else attempt.ended
    due = (
        attempt.due
        if attempt.due is not None
        else (row.start if row.kind is Kind.ACTIVITY and not row.earlier else None)
    )
    if due is not None:
        parts.append(
            _queue(
                pen, scale, due, ended if attempt.started is None else attempt.started, "waiting for a worker"
            )
        )
    if attempt.started is not None:
        parts.append(_work(pen, line, scale, row, attempt, attempt.started, ended))
    if attempt.next_due is not None and attempt.ended is not None:
        until = min(attempt.next_due, line.finish if row.end is None else row.end)
        if after is not None and after.started is not None:
            until = min(until, after.started)
        span = attempt.next_due - attempt.ended
        parts.append(
            _hatch(pen, scale, attempt.ended, until, f"back-off of {duration(span)}", duration(span))
        )
        if after is None and row.end is None and line.now > attempt.next_due:
            parts.append(_queue(pen, scale, attempt.next_due, line.now, "waiting for a worker"))
        elif after is None and row.end is None:
            parts.append(_arrow(pen, scale.position(line.finish), "wait"))
    return "".join(parts)


def _work(pen: Pen, line: Timeline, scale: Axis, row: Row, attempt: Attempt, started: int, ended: int) -> str:
    left, right = scale.position(started), scale.position(ended)
    said = describe_attempt(line, row, attempt)
    state = attempt.state
    if state is State.RUNNING:
        shape = pen.bar(left, right, TOP, HIGH, "live", edge="run", title=said) + _arrow(pen, right, "run")
        ink = "run"
    elif state is State.COMPLETED:
        shape, ink = pen.bar(left, right, TOP, HIGH, "done", title=said), "on"
    elif state in (State.FAILED, State.TIMED_OUT):
        shape = pen.bar(left, right, TOP, HIGH, "soft", edge="fail", title=said) + pen.cross(
            right, MIDDLE, "fail", title=said
        )
        ink = "fail"
    else:
        shape = pen.bar(left, right, TOP, HIGH, "bg", edge="lost", dashed=True, title=said)
        shape += pen.cross(right, MIDDLE, "lost", title=said) if state is not State.ABANDONED else ""
        ink = "lost"
    number = str(attempt.number)
    word = {State.LOST: f"{number} lost", State.TIMED_OUT: f"{number} timed out"}.get(state, number)
    if len(row.attempts) > 1 or row.earlier or state is State.LOST:
        for label in dict.fromkeys((word, number)):
            tier = pen.tier(
                measure(label, 10.5) + (8 if state in (State.COMPLETED, State.RUNNING) else 15), right - left
            )
            if tier is not None:
                middle = pen.percent((left + right) / 2)
                shape += pen.text(
                    label, middle, MIDDLE + 4, ink, size=10.5, anchor="middle", tier=tier, bold=True
                )
                break
    if attempt.worker is not None and len(line.workers) > 1:
        shape += pen.worker_line(attempt.worker, left, right, TOP + HIGH + 3)
    return shape


def _queue(pen: Pen, scale: Axis, start: int, end: int, said: str) -> str:
    left, right = scale.position(start), scale.position(end)
    if right - left <= 0.002:
        return ""
    drawn = pen.line(left, right, MIDDLE, "lost", 1.6, title=f"{said}, {duration(end - start)}")
    span = duration(end - start)
    return drawn + _patch(pen, left, right, f"{said}, {span}", f"waiting, {span}", span)


def _hatch(pen: Pen, scale: Axis, start: int, end: int, said: str, label: str) -> str:
    left, right = scale.position(start), scale.position(end)
    if right - left <= 0.001:
        return ""
    return pen.line(left, right, MIDDLE, "wait", 8, "1.5 3.5", title=said) + _patch(pen, left, right, label)


def _patch(pen: Pen, left: float, right: float, *labels: str) -> str:
    """The first of the labels that fits, in the middle of a line, on a patch of background."""
    place = pen.percent((left + right) / 2)
    for label in filter(None, labels):
        tier = pen.tier(measure(label, 10) + 26, right - left)
        if tier is not None:
            return pen.text(label, place, MIDDLE + 3.5, "dim", size=10, anchor="middle", tier=tier, halo=True)
    return ""


def _timer(pen: Pen, row: Row, start: float, end: float) -> str:
    drawn = pen.bar(start, end, 9, 8, "calm", edge="time")
    if row.state is State.COMPLETED:
        return drawn + pen.diamond(end, MIDDLE, "time")
    return drawn + (_arrow(pen, end, "time") if row.end is None else pen.cross(end, MIDDLE, "lost"))


def _remote(pen: Pen, row: Row, start: float, end: float) -> str:
    """A child, an update, an operation: work that is done, or seen, elsewhere. A line runs through its bar."""
    tone = tone_of(row.state)
    soft = {"done": "done", "fail": "soft", "run": "live"}.get(tone, "bg")
    drawn = pen.bar(start, end, TOP, HIGH, soft, edge=tone, dashed=row.state is State.ABANDONED)
    drawn += pen.line(start, end, MIDDLE, "on" if soft == "done" else tone, 1.5)
    if row.end is None:
        return drawn + _arrow(pen, end, tone)
    return drawn if row.state is State.COMPLETED else drawn + pen.cross(end, MIDDLE, tone)


def _arrow(pen: Pen, at: float, tone: str) -> str:
    """The open end of what still goes on."""
    return pen.sign(at, MIDDLE, "M0-7l7 7l-7 7z", tone, filled=True)


def tone_of(state: State) -> str:
    """The colour of a state."""
    if state in (State.FAILED, State.TIMED_OUT):
        return "fail"
    if state in (State.RETRYING, State.WAITING, State.PAUSED):
        return "wait"
    return {State.COMPLETED: "done", State.RUNNING: "run", State.CONTINUED_AS_NEW: "time"}.get(state, "lost")

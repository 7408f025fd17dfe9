"""The run in a sentence: what happened, or what it waits for now; and what a person can do about it.

Written for someone who was woken up: the failing thing first, with its own message; then one step that helps.
"""

from __future__ import annotations

from perdure.view.parts import Kind, Row, State, Task, Timeline
from perdure.view.words import Fault, count, duration, shorten

_QUIET = 3_000_000_000  # a worker that takes longer than this to come is worth a word of advice


def judge(line: Timeline, *, failing: Task | None, scheduled_task: int | None, closing_activity: int) -> None:
    """Sets `verdict` and `remedy`."""
    if line.state.open:
        line.verdict, line.remedy = _waiting(line, failing, scheduled_task)
    else:
        line.verdict, line.remedy = _closed(line, closing_activity)


def _closed(line: Timeline, closing_activity: int) -> tuple[str, str]:
    took = duration(line.finish - line.start)
    fault = line.rows[0].fault
    if line.state is State.COMPLETED:
        return f"Completed in {took}: {_work(line)}.", ""
    if line.state is State.CONTINUED_AS_NEW:
        return f"Continued as new after {took}: {_work(line)}.", ""
    if line.state is State.CANCELED:
        return f"Canceled after {took}.", ""
    if line.state is State.TERMINATED:
        return f"Terminated after {took}{f': {fault}' if fault else ''}.", ""
    if line.state is State.TIMED_OUT:
        stuck = [row for row in line.rows[1:] if row.state is State.ABANDONED]
        waited = f", while {_name(stuck[0])} was open" if stuck else ""
        return (
            f"Timed out after {took}{waited}.",
            "Give the workflow more time, or find out what it waited for; then start it again.",
        )
    culprit = _culprit(line, closing_activity)
    if culprit is not None:
        return f"{_gave_up(culprit)}: {_said(culprit.fault)}", _remedy(culprit)
    return (
        f"Failed after {took}: {_said(fault)}",
        "The workflow raised this itself: fix its code, then start it again.",
    )


def _said(fault: Fault | None) -> str:
    """A failure's own words: a sentence or two of them."""
    return shorten(str(fault), 240) if fault is not None else "no reason was given"


def _work(line: Timeline) -> str:
    activities = line.activities
    children = sum(row.kind is Kind.CHILD for row in line.rows[1:])
    parts = [count(len(activities), "activity")] if activities else []
    if children:
        parts.append("1 child" if children == 1 else f"{children:,} children")
    if not parts:
        parts.append(count(len(line.rows) - 1, "event"))
    retried = sum(row.tries > 1 for row in activities)
    if retried:
        parts.append(f"{retried:,} of them retried")
    failed = sum(row.state.failed for row in activities)
    if failed:
        parts.append(f"{failed:,} of them failed" if failed < len(activities) else "which failed")
    if len(line.workers) > 1:
        noun = "kernel" if all(worker.label.startswith("kernel") for worker in line.workers) else "worker"
        parts.append(f"by {count(len(line.workers), noun)}")
    return ", ".join(parts)


def _culprit(line: Timeline, closing_activity: int) -> Row | None:
    """The activity or child that the workflow failed with; without a name in the failure, the last one that failed."""
    failed = [row for row in line.rows[1:] if row.state.failed]
    named = [row for row in failed if row.event_id == closing_activity]
    if named:
        return named[0]
    said = line.rows[0].fault
    alike = [row for row in failed if said is not None and row.fault == said]
    return alike[-1] if alike else None


def _gave_up(row: Row) -> str:
    if row.tries > 1:
        return f"{_name(row)} failed {row.tries} times"
    return f"{_name(row)} {'timed out' if row.state is State.TIMED_OUT else 'failed'}"


def _remedy(row: Row) -> str:
    if row.kind is Kind.CHILD:
        return f"Look at {shorten(row.workflow_id or row.name, 60)}, fix it, then start this run again."
    if row.attempts and row.attempts[-1].state is State.LOST:
        return f"Look whether {_name(row)} had its effect before its process died; then start the run again."
    if row.state is State.TIMED_OUT:
        return f"Give {_name(row)} more time, or make it faster; then start the run again."
    why = "no attempt was left" if row.max_attempts and row.tries >= row.max_attempts else ""
    why = "this failure is never retried" if row.fault is not None and row.fault.final else why
    return f"Fix {_name(row)}{f' ({why})' if why else ''}, then start the run again."


def _waiting(line: Timeline, failing: Task | None, scheduled_task: int | None) -> tuple[str, str]:
    """What an open run waits for: the troubles first, then work, then time."""
    if line.state is State.PAUSED:
        return "Paused.", "Unpause it to let it go on."
    if failing is not None and failing.fault is not None:
        if failing.fault.type == "NondeterminismError":
            advice = "The code no longer fits the run's history: bring the old code back; the run then goes on by itself."
        else:
            advice = "Fix the workflow's code; the run then goes on from here by itself."
        return f"Workflow code fails: {_said(failing.fault)}", advice
    opened = [row for row in line.rows[1:] if row.end is None]
    retrying = [
        row for row in opened if row.state is State.RETRYING or (row.state is State.RUNNING and row.failures)
    ]
    if retrying:
        return _retrying(line, retrying)
    running = [row for row in opened if row.state is State.RUNNING and row.kind is not Kind.CHILD]
    if running:
        return f"Running {_names(running)}, for {duration(line.now - min(row.start for row in running))}.", ""
    if scheduled_task is not None:
        return _no_worker(line, "The workflow's next step", line.rows[0], line.now - scheduled_task)
    queued = [row for row in opened if row.kind is Kind.ACTIVITY]
    if queued and not line.recorded:
        return (
            f"Waiting for {_names(queued)}, for {duration(line.now - min(row.start for row in queued))}.",
            "",
        )
    if queued:
        return _no_worker(line, _names(queued), queued[0], line.now - queued[0].start)
    if line.tasks and line.tasks[-1].end is None:
        return "Running workflow code.", ""
    return _idle(line, opened), ""


def _retrying(line: Timeline, rows: list[Row]) -> tuple[str, str]:
    row = min(rows, key=lambda r: r.due if r.due is not None else line.now)
    last = row.attempts[-1]
    limit = f" of {row.max_attempts}" if row.max_attempts else ""
    more = f" (and {len(rows) - 1:,} more)" if len(rows) > 1 else ""
    failed = row.failures[-1] if row.failures else last
    said = f": {_said(failed.fault)}" if failed.fault is not None else ""
    lost = failed.state is State.LOST
    advice = "" if lost else f"Fix {_name(row)} if it cannot succeed: the next attempt runs the new code."
    if row.state is State.RUNNING:
        return f"Running {_name(row)}{more}, attempt {last.number}{limit}{said}", advice
    if row.due is not None and row.due > line.now:
        when = f"next in {duration(row.due - line.now)}"
    else:
        when = "waiting for a worker"
        if row.due is not None and line.now - row.due > _QUIET:
            advice = _start_worker(line)
    return f"Retrying {_name(row)}{more}, attempt {last.number + 1}{limit}, {when}{said}", advice


def _no_worker(line: Timeline, what: str, row: Row, waited: int) -> tuple[str, str]:
    queue = f"task queue {row.task_queue}" if row.task_queue else "its task queue"
    verb = "waits" if what.startswith("The ") else "waiting"
    said = f"{what} {verb} for a worker of {queue}, for {duration(waited)}."
    return said, _start_worker(line) if waited >= _QUIET else ""


def _start_worker(line: Timeline) -> str:
    return (
        f"Start a worker that knows {line.workflow_type}: load the notebook's cells, or run `perdure worker`."
    )


def _idle(line: Timeline, opened: list[Row]) -> str:
    timers = [row for row in opened if row.kind is Kind.TIMER and row.due is not None]
    children = [row for row in opened if row.kind is Kind.CHILD]
    begins = line.rows[0].due
    if begins is not None and begins > line.now:
        return f"Begins in {duration(begins - line.now)}."
    if children:
        return f"Waiting for {_names(children)}{', or a timer' if timers else ''}."
    if timers:
        left = min(row.due for row in timers if row.due is not None) - line.now
        return f"Waiting for a timer (due {f'in {duration(left)}' if left > 0 else 'now'}) or a signal."
    others = [row for row in opened if row.kind not in (Kind.TIMER, Kind.UPDATE)]
    return f"Waiting for {_names(others)}." if others else "Waiting for a signal or timer."


def _name(row: Row) -> str:
    name = shorten(row.name, 60)
    return name if row.kind in (Kind.ACTIVITY, Kind.LOCAL_ACTIVITY) else f"{row.kind} {name}"


def _names(rows: list[Row]) -> str:
    different = list(dict.fromkeys(_name(row) for row in rows))
    if len(different) == 1 and len(rows) > 1:
        return f"{different[0]} × {len(rows):,}"
    shown = ", ".join(different[:3])
    return f"{shown} and {len(rows) - 3:,} more" if len(different) > 3 else shown

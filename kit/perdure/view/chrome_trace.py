"""A timeline in Chrome's trace format: open the file in Perfetto (ui.perfetto.dev) or chrome://tracing.

Every row is a thread of one process, every attempt a slice in it, back-offs and waiting too; failures carry their message.
"""

from __future__ import annotations

import json
from typing import Any

from perdure.view.parts import Kind, Timeline
from perdure.view.phrases import reason


def chrome_trace(timeline: Timeline) -> str:
    """The timeline as JSON text; times are microseconds since the run's start."""
    events: list[dict[str, Any]] = [
        _named("process_name", 0, f"{timeline.workflow_type} {timeline.workflow_id}")
    ]

    def add(thread: int, name: str, start: int, end: int | None, **about: Any) -> None:
        finish = timeline.finish if end is None else end
        place = {"ts": (start - timeline.start) / 1000, "dur": max(finish - start, 0) / 1000}
        events.append({"ph": "X", "pid": 1, "tid": thread, "name": name, **place, "args": about})

    for thread, row in enumerate(timeline.rows):
        events.append(_named("thread_name", thread, f"{row.kind} {row.name}".strip()))
        if row.point:
            at = (row.start - timeline.start) / 1000
            events.append(
                {
                    "ph": "i",
                    "s": "t",
                    "pid": 1,
                    "tid": thread,
                    "name": row.name,
                    "ts": at,
                    "args": {"arguments": row.detail},
                }
            )
            continue
        add(thread, row.name, row.start, row.end, state=row.state, arguments=row.detail, result=row.result)
        for attempt in row.attempts:
            if attempt.started is not None:
                worker = timeline.workers[attempt.worker].identity if attempt.worker is not None else ""
                name = f"attempt {attempt.number}: {attempt.state}"
                add(thread, name, attempt.started, attempt.ended, failure=reason(attempt), worker=worker)
            if attempt.next_due is not None and attempt.ended is not None:
                until = min(attempt.next_due, timeline.finish if row.end is None else row.end)
                add(thread, "back-off", attempt.ended, until)
        if row.kind is Kind.WORKFLOW:
            for task in timeline.tasks:
                add(
                    thread,
                    f"workflow task: {task.state}",
                    task.start,
                    task.end,
                    failure=str(task.fault or ""),
                )
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": thread, "name": what, "args": {"name": name}}

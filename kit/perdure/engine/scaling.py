"""Whether a worker would do better with more polls at once, or with fewer. TEMPORAL.md, section 22. Pure.

A hint goes with a task: one poll fewer after a poll that waited for long, one more where tasks wait for polls.
"""

from __future__ import annotations

from perdure.engine.protos import MILLISECOND, SECOND

IDLE_POLL = 1 * SECOND  # a poll that waited so long was one too many
_WAITED = 200 * MILLISECOND  # tasks that wait so long want more polls
_OUTRUN = 1.2  # tasks come so many times as fast as they go
DECISIONS_PER_SECOND = 10  # for each poller: numbers of polls must not leap


def hint(
    *, poll_waited: int, task_waited: int, waiting: int, added: float, dispatched: float, from_backlog: bool
) -> int:
    """By how much a worker should change its number of polls: -1, 0 or 1. Times in ns, rates per second."""
    if poll_waited >= IDLE_POLL and not from_backlog:
        return -1
    if waiting and task_waited > _WAITED:
        return 1
    return 1 if dispatched and added / dispatched > _OUTRUN else 0

"""Which open runs memory can do without.

A run is quiet when all it is can be read back from its records: no task is pending or owed, no attempt runs or lies in a queue, nothing
waits in its buffer, and no update that only memory knows is under way. It then waits for a timer, a retry, a signal.
"""

from __future__ import annotations

from perdure.engine.state import Execution, UpdateStage

_FIXED = 8 << 10  # about what a run costs beside its events
_PARSED = 3  # an event in memory is about so many times its size on the wire
_IN_MEMORY_ONLY = (UpdateStage.ADMITTED, UpdateStage.SENT)


def quiet(ex: Execution) -> bool:
    """Whether the run can be left to the file."""
    return (
        ex.open
        and ex.task is None
        and not ex.task_owed
        and not ex.buffer
        and not any(activity.started or activity.offered for activity in ex.activities.values())
        and not any(update.stage in _IN_MEMORY_ONLY for update in ex.updates.values())
    )


def weight(ex: Execution) -> int:
    """About how many bytes of memory the run takes."""
    return _FIXED + _PARSED * ex.history_size

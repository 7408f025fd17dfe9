"""Lists of runs: the filter, and the rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from perdure.errors import RunError
from perdure.session import Session

if TYPE_CHECKING:
    import pandas as pd

_ORDER = re.compile(r"(?:^|\s)order\s+by\s[\w`\s,]+$", re.IGNORECASE)
_COLUMNS = ("id", "run_id", "type", "status", "started", "closed", "took", "events", "task_queue", "version")


def list_filter(query: str, status: str | None, workflow: str | None) -> str:
    """All three as one of Temporal's list filters; the query may end with its ORDER BY."""
    order = _ORDER.search(query)
    where = query[: order.start()] if order else query
    terms = [f"({where})"] if where.strip() else []
    terms += [f"ExecutionStatus = {quoted(status_word(status))}"] if status else []
    terms += [f"WorkflowType = {quoted(workflow)}"] if workflow else []
    return " AND ".join(terms) + (f" {order[0].strip()}" if order else "")


def status_word(text: str) -> str:
    """A status as list filters spell it, however it was written: "timed out" is TimedOut. Raises RunError."""
    from perdure.history.payloads import STATUSES

    plain = {name.lower(): name for name in STATUSES} | {"cancelled": "Canceled", "open": "Running"}
    found = plain.get(text.lower().replace("_", "").replace(" ", "").replace("-", ""))
    if found is None:
        raise RunError(f"There is no status {text!r}.", f"It is one of {', '.join(STATUSES)}.")
    return found


def quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


async def listed(here: Session, query: str, limit: int | None) -> list[tuple[Any, ...]]:
    from datetime import UTC

    from perdure.history.asking import executions
    from perdure.history.payloads import status_name

    rows = []
    async for each in executions(here.client, query, limit):
        version = each.versioning_info.versioning_override.pinned.version.build_id
        closed = each.close_time.ToDatetime(UTC) if each.HasField("close_time") else None
        rows.append(
            (
                each.execution.workflow_id,
                each.execution.run_id,
                each.type.name,
                status_name(each.status),
                each.start_time.ToDatetime(UTC),
                closed,
                None,
                each.history_length,
                each.task_queue,
                version,
            )
        )
    return rows


def frame_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows as a DataFrame; times are UTC, naive, as in the file."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for column in ("started", "closed"):
        frame[column] = pd.to_datetime(frame[column], utc=True).dt.tz_localize(None)
    frame["took"] = frame["closed"] - frame["started"]
    return frame

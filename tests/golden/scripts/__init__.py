"""The scripts: one for each rule of Temporal's semantics, grouped as the rules are. `SCRIPTS` has them all, by name."""

from golden.scripts import (
    activities,
    activity_operators,
    bad_commands,
    children,
    closing,
    cron,
    externals,
    pauses,
    queries,
    reading,
    resets,
    signals,
    starting,
    timers,
    updates,
    versions,
    workflow_tasks,
)
from golden.stage import SCRIPTS

__all__ = [
    "SCRIPTS",
    "activities",
    "activity_operators",
    "bad_commands",
    "children",
    "closing",
    "cron",
    "externals",
    "pauses",
    "queries",
    "reading",
    "resets",
    "signals",
    "starting",
    "timers",
    "updates",
    "versions",
    "workflow_tasks",
]

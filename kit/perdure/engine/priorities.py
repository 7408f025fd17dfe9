"""Priorities of runs and activities: checked, inherited, and turned into a place in the queue. Pure."""

from __future__ import annotations

from temporalio.api.common.v1 import Priority

from perdure.engine.backlog import DEFAULT_PRIORITY, LOWEST_PRIORITY, Rank
from perdure.engine.errors import invalid

_FAIRNESS_KEY = 64  # bytes


def check_fairness_key(key: str) -> None:
    if len(key.encode()) > _FAIRNESS_KEY:
        raise invalid("fairness key length exceeds limit")


def check_priority(priority: Priority) -> None:
    """Raises INVALID_ARGUMENT for a priority that the server would refuse."""
    if priority.priority_key < 0:
        raise invalid("priority key can't be negative")
    check_fairness_key(priority.fairness_key)
    if priority.fairness_weight < 0:
        raise invalid("must be greater than zero")


def inherited(of_run: Priority, own: Priority) -> Priority:
    """What an activity or a child asks for, completed field by field by what its run asks for."""
    return Priority(
        priority_key=own.priority_key or of_run.priority_key,
        fairness_key=own.fairness_key or of_run.fairness_key,
        fairness_weight=own.fairness_weight or of_run.fairness_weight,
    )


def rank(priority: Priority) -> Rank:
    """The place in the queue that a priority asks for."""
    return Rank(
        min(priority.priority_key or DEFAULT_PRIORITY, LOWEST_PRIORITY),
        priority.fairness_key,
        priority.fairness_weight or 1.0,
    )

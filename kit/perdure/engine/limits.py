"""Temporal's limits, with the values of its server's default configuration; and the engine's own time limits.

Durations in ns, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.engine.protos import SECOND


@dataclass(frozen=True, slots=True)
class Limits:
    id_length: int = 1000
    blob_warn: int = 512 * 1024
    blob_error: int = 2 * 1024 * 1024
    memo_error: int = 2 * 1024 * 1024
    history_size_suggest: int = 4 * 1024 * 1024
    history_size_warn: int = 10 * 1024 * 1024
    history_size_error: int = 50 * 1024 * 1024
    history_count_suggest: int = 4096
    history_count_warn: int = 10_240
    history_count_error: int = 51_200
    pending_activities: int = 2000
    pending_children: int = 2000
    pending_signals: int = 2000  # to other workflows
    pending_cancels: int = 2000  # of other workflows
    buffered_events: int = 100  # that wait for the end of a started workflow task
    buffered_bytes: int = 2 * 1024 * 1024
    reported_problems: int = 5  # failures of a workflow task in a row, for TemporalReportedProblems
    not_ready: int = 3  # the attempt of a workflow task from which on queries and updates are refused
    signals: int = 10_000
    updates_in_flight: int = 10
    updates_in_flight_bytes: int = 20 * 1024 * 1024
    updates_total: int = 2000
    updates_suggest: int = 90  # percent of them, for the advice to continue as new
    default_task_timeout: int = 10 * SECOND
    max_task_timeout: int = 120 * SECOND
    task_heartbeat_total: int = 30 * 60 * SECOND
    speculative_schedule_to_start: int = 5 * SECOND
    failure_kept: int = 4 * 1024
    reset_points: int = 20
    retention: int = 24 * 3600 * SECOND  # how long reset points of an ended run are offered
    min_run_interval: int = 1 * SECOND  # between the starts of two runs of one chain
    long_poll: int = 20 * SECOND
    worker_poll: int = 60 * SECOND
    history_page: int = 256
    visibility_page: int = 1000
    concurrent_batches: int = 1  # running batch operations of a namespace
    search_attributes: int = 100
    search_attribute_value: int = 2 * 1024
    search_attributes_total: int = 40 * 1024
    sticky_poller_memory: int = 10 * SECOND  # a sticky queue without a poller for longer is passed over
    open_bytes: int = 256 << 20  # of open runs in memory; those that have waited longest are left to the file
    closed_bytes: int = 64 << 20  # of histories that are kept in memory though their runs are closed
    buffered_queries: int = 100  # Temporal's default is 1; a notebook asks more freely
    lease_grace: int = (
        5 * SECOND
    )  # how long a living process may take to attend again after the engine restarted


DEFAULT = Limits()

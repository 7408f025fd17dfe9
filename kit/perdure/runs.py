"""Starting runs, finding them, and what is asked of all of them: lists, SQL, moves to another version.

The package gives them as `perdure.start`, `perdure.runs` and so on. They work with the default session; what they give are `Run` handles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.errors import RunError
from perdure.run_errors import in_words
from perdure.run_handle import Run, check_pinned
from perdure.session import session

if TYPE_CHECKING:
    import pandas as pd
    from temporalio.common import (
        Priority,
        RetryPolicy,
        SearchAttributes,
        TypedSearchAttributes,
        WorkflowIDConflictPolicy,
        WorkflowIDReusePolicy,
    )

    from perdure.authoring.durations import Duration


def start(
    workflow: Any,
    *args: Any,
    id: str | None = None,
    again: bool = False,
    version: str | None = None,
    id_reuse_policy: WorkflowIDReusePolicy | str | None = None,
    id_conflict_policy: WorkflowIDConflictPolicy | str | None = None,
    start_delay: Duration | None = None,
    cron_schedule: str | None = None,
    retry_policy: RetryPolicy | None = None,
    memo: Mapping[str, Any] | None = None,
    search_attributes: TypedSearchAttributes | SearchAttributes | None = None,
    start_signal: str | None = None,
    start_signal_args: Sequence[Any] | None = None,
    static_details: str | None = None,
    priority: Priority | None = None,
    **options: Any,
) -> Run:
    """Starts a run, or finds the one that stands for it.

    With an `id`, starting again never pays twice: an open or completed run of that id, with the same input,
    is the one that is returned. A failed one is followed by a new run.

    Args:
        workflow: a %%workflow cell's name, a @perdure.workflow, a @workflow.defn class, or a type's name.
        args: the workflow's arguments, by position.
        id: the workflow id; None makes one up from the type.
        again: start a new run even though one of this id has completed.
        version: of the definition, when it is not the current one.
        id_reuse_policy: Temporal's, in place of the rule above; a text such as "reject_duplicate" will do.
        id_conflict_policy: likewise, for an open run of the id: "fail", "use_existing", "terminate_existing".
        options: of the workflow: task_queue, execution_timeout, run_timeout, task_timeout, retries, summary ...
            Others are the arguments of `temporalio.client.Client.start_workflow`.

    Raises:
        RunError: the id belongs to a run with another type or input, or the policy refuses a new run.
        DefinitionError: an option is wrong.
    """
    from perdure.authoring.workflow import Workflow
    from perdure.searching import register_keys
    from perdure.starting import prepare
    from perdure.starting import start as start_run

    here = session()
    given = {
        "id_reuse_policy": id_reuse_policy,
        "id_conflict_policy": id_conflict_policy,
        "start_delay": start_delay,
        "cron_schedule": cron_schedule,
        "retry_policy": retry_policy,
        "memo": memo,
        "search_attributes": search_attributes,
        "start_signal": start_signal,
        "start_signal_args": start_signal_args,
        "static_details": static_details,
        "priority": priority,
    }
    wanted = prepare(
        here.registry,
        workflow,
        args,
        id,
        again,
        version,
        given,
        options,
        task_queue=here.task_queue,
        pinned=here.cluster is None,
    )
    handle = Run(wanted.id, exact=False, session=here)

    async def begin() -> Any:
        if here.worker is not None and wanted.registered is not None:
            await here.worker.ready()
        if here.cluster is None:
            await register_keys(here.client, search_attributes)
        return await start_run(here.client, here.project, wanted)

    started = handle._wait(begin())
    handle.run_id = started.run_id
    if isinstance(workflow, Workflow):
        handle._result_type = (
            workflow.result_type
        )  # the notebook's own class, not its copy in the captured module
    elif wanted.registered is not None:
        from perdure.worker.runner import definition_of

        handle._result_type = definition_of(wanted.registered.target).ret_type
    if started.note:
        here.say(started.note)
    return handle


def run(id: str, run_id: str = "") -> Run:
    """The handle of a run: the newest of an id, or one of them. Raises RunError when there is none."""
    here = session()
    handle = Run(id, run_id, exact=bool(run_id), session=here)
    started = handle.records().started
    handle.run_id = started.run_id
    registered = here.registry.current("workflow", started.workflow_type)
    if registered is not None:
        from perdure.worker.runner import definition_of

        handle._result_type = definition_of(registered.target).ret_type
    return handle


def runs(
    query: str = "", *, status: str | None = None, workflow: str | None = None, limit: int | None = 1000
) -> pd.DataFrame:
    """Runs, newest first, one row each.

    Args:
        query: one of Temporal's list filters, such as "ExecutionStatus = 'Failed' AND StartTime > '2026-01-01T00:00:00Z'".
        status: only runs that stand so: "running", "failed", ...
        workflow: only runs of this type.
        limit: rows at most; None for all.
    """
    from perdure.listing import frame_of, list_filter, listed

    here = session()
    wanted = list_filter(query, status, workflow)
    try:
        return frame_of(here.wait(in_words(listed(here, wanted, limit))))
    except RunError as error:
        if not query:
            raise
        raise RunError(
            f"The filter {query!r} cannot be used: {error.message}",
            "A filter is one condition, such as \"WorkflowType = 'payment' AND StartTime > '2026-01-31T00:00:00Z'\".",
        ) from error


def sql(query: str) -> pd.DataFrame:
    """Runs one read-only SQL query over the project's file. Raises QueryError."""
    here = session()
    return here.wait(here.project.sql(query))


def move(workflow: Any, version: str | None = None) -> pd.DataFrame:
    """Moves all open runs of a workflow type to a version (None: the current one), each if a replay shows
    that it fits.

    Returns:
        One row a run: id, run_id, before, after, moved, reason.
    """
    import pandas as pd

    from perdure.replay.move import Moved, move_open, target_of
    from perdure.starting import identify

    here = session()
    check_pinned(here)
    name, _ = identify(here.registry, workflow)

    async def work() -> list[Moved]:
        target = await target_of(here.registry, here.project, name, version)
        if here.worker is not None:
            await here.worker.ready()
        return [moved async for moved in move_open(here.client, here.project, target)]

    columns = ["id", "run_id", "before", "after", "moved", "reason"]
    rows = [[getattr(moved, column) for column in columns] for moved in here.wait(in_words(work()))]
    return pd.DataFrame(rows, columns=columns)

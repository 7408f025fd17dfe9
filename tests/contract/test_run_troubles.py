"""A wait says what keeps its run from going on, and a start refuses what could never go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

import perdure
from perdure import troubles
from perdure.errors import CallError, RunError
from perdure.run_errors import WaitTimeout
from perdure.session import Session, use

STARTED = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
QUEUED = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
RUNNING = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


@perdure.workflow
async def forgetful() -> int:
    return {"a": 1}["b"]


@perdure.workflow
async def patient() -> None:
    await asyncio.sleep(3600)


@perdure.workflow
async def double(number: int) -> int:
    return number * 2


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(troubles, "_LOOKS", (0.1,))
    monkeypatch.setattr(troubles, "_PAUSE", 0.1)
    with Session(tmp_path) as opened:
        before = use(opened)
        yield
        use(before)


@pytest.mark.usefixtures("project")
def test_code_that_fails_is_told_of_once_and_with_the_end_of_the_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = forgetful.start(id="forgetful-1")
    with pytest.raises(
        WaitTimeout, match=r"still open after 3 s. Workflow code fails: KeyError: 'b'\n  → Fix the"
    ):
        run.result(timeout=3)
    assert (
        capsys.readouterr().err.count("perdure: forgetful-1: Workflow code fails: KeyError: 'b'\n  → Fix")
        == 1
    )


@pytest.mark.usefixtures("project")
def test_a_run_that_waits_for_its_timer_is_in_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WaitTimeout, match=r"still open after 1 s.\n  → It goes on"):
        patient.start(id="patient-1").result(timeout=1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("task", "activities", "stuck"),
    [
        (None, [], False),
        ((STARTED, 1), [], False),
        ((STARTED, 2), [], True),
        ((PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED, 1), [], True),
        (None, [(QUEUED, 1)], True),
        (None, [(QUEUED, 1), (RUNNING, 1)], False),
        (None, [(QUEUED, 3)], False),
        (None, [(RUNNING, 1), (QUEUED, 4)], True),
    ],
)
def test_what_is_worth_a_look(
    task: tuple[PendingWorkflowTaskState.ValueType, int] | None,
    activities: list[tuple[PendingActivityState.ValueType, int]],
    stuck: bool,
) -> None:
    described = DescribeWorkflowExecutionResponse(
        pending_activities=[
            PendingActivityInfo(state=state, attempt=attempt) for state, attempt in activities
        ]
    )
    if task is not None:
        described.pending_workflow_task.CopyFrom(PendingWorkflowTaskInfo(state=task[0], attempt=task[1]))
    assert troubles.may_be_stuck(described) is stuck


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["text"], "cannot take these arguments: .*int"),
        ([object()], "object cannot be kept in the history"),
        ([], "missing a required argument: 'number'"),
        ([1, 2], "too many positional arguments"),
    ],
)
def test_arguments_that_the_workflow_cannot_take_start_no_run(arguments: list[object], said: str) -> None:
    with pytest.raises(CallError, match=said):
        perdure.start("double", *arguments, id="double-1")
    assert perdure.runs().empty


@pytest.mark.usefixtures("project")
def test_arguments_in_the_types_of_json_are_taken() -> None:
    assert perdure.start("double", 4).result(timeout=20) == 8


@pytest.mark.usefixtures("project")
def test_what_a_closed_run_no_longer_takes_is_refused_by_name() -> None:
    run = double.start(4, id="double-2")
    assert run.result(timeout=20) == 8
    with pytest.raises(
        RunError, match=r"double-2 has ended already.\n  → perdure.run\('double-2'\) shows how"
    ):
        run.signal("more")


@pytest.mark.usefixtures("project")
def test_the_workflows_own_limit_is_named_so() -> None:
    with pytest.raises(RunError, match="patient-2 failed: timed out: its execution or run timeout was over"):
        patient.start(id="patient-2", execution_timeout="100ms").result(timeout=20)

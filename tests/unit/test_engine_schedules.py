"""Schedules: what they start and when, what users see of them. TEMPORAL.md, section 17."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import Driver, complete_workflow, fail_workflow, in_engine, payload
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, WorkflowExecutionStatus
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.schedule.v1 import BackfillRequest, Schedule, SchedulePatch
from temporalio.api.workflowservice.v1 import (
    CountSchedulesRequest,
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    ListScheduleMatchingTimesRequest,
    ListSchedulesRequest,
    ListWorkflowExecutionsRequest,
    PatchScheduleRequest,
    UpdateScheduleRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, timestamp
from perdure.engine.schedules import decisions
from perdure.engine.schedules.spec import canonical
from perdure.engine.schedules.state import Start, State, decode, encode
from perdure.testing.clock import NEW_YEAR_2026

HOUR = 3600 * SECOND
_Overlap = ScheduleOverlapPolicy
SKIP = _Overlap.SCHEDULE_OVERLAP_POLICY_SKIP
BUFFER_ONE = _Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE
BUFFER_ALL = _Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL
CANCEL_OTHER = _Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER
TERMINATE_OTHER = _Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER
ALLOW_ALL = _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL


def schedule(*crons: str, overlap: int = 0, paused: bool = False, **policies: Any) -> Schedule:
    given = Schedule()
    given.spec.cron_string.extend(crons)
    action = given.action.start_workflow
    action.workflow_id, action.workflow_type.name, action.task_queue.name = "w", "Flow", "queue"
    given.policies.overlap_policy = overlap  # type: ignore[assignment]
    given.state.paused = paused
    for name, value in policies.items():
        field = getattr(given.policies, name)
        field.CopyFrom(value) if hasattr(field, "CopyFrom") else setattr(given.policies, name, value)
    return given


class Schedules:
    """Short names for the calls about one schedule. The clock stands still unless a test moves it."""

    def __init__(self, d: Driver) -> None:
        self.d = d
        self.patches = 0

    async def create(self, given: Schedule, **fields: Any) -> None:
        fields = {"schedule_id": "s", "request_id": "r", **fields}
        request = CreateScheduleRequest(namespace="default", schedule=given, **fields)
        await self.d.call("CreateSchedule", request)

    async def describe(self) -> DescribeScheduleResponse:
        request = DescribeScheduleRequest(namespace="default", schedule_id="s")
        return await self.d.call("DescribeSchedule", request)  # type: ignore[no-any-return]

    async def patch(self, **changes: Any) -> None:
        self.patches += 1
        request = PatchScheduleRequest(
            namespace="default",
            schedule_id="s",
            request_id=str(self.patches),
            patch=SchedulePatch(**changes),
        )
        await self.d.call("PatchSchedule", request)

    async def trigger(self, overlap: int = 0, at: int = 0) -> None:
        patch = SchedulePatch()
        patch.trigger_immediately.overlap_policy = overlap  # type: ignore[assignment]
        patch.trigger_immediately.scheduled_time.CopyFrom(timestamp(NEW_YEAR_2026 + at))
        await self.patch(trigger_immediately=patch.trigger_immediately)

    async def update(self, given: Schedule, **fields: Any) -> None:
        fields = {"request_id": "u", **fields}
        request = UpdateScheduleRequest(namespace="default", schedule_id="s", schedule=given, **fields)
        await self.d.call("UpdateSchedule", request)

    async def delete(self) -> None:
        await self.d.call("DeleteSchedule", DeleteScheduleRequest(namespace="default", schedule_id="s"))

    async def pass_time(self, nanoseconds: int) -> None:
        """Moves the clock, and lets what is due happen."""
        self.d.clock.advance(nanoseconds)
        for _ in range(20):
            await asyncio.sleep(0)

    async def count(self, query: str = "") -> int:
        request = CountSchedulesRequest(namespace="default", query=query)
        return int((await self.d.call("CountSchedules", request)).count)


def with_schedules(test: Any) -> Any:
    async def run(d: Driver) -> None:
        with d.clock.held():
            await test(Schedules(d))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return in_engine(run)


# --- starting by the calendar


@with_schedules
async def test_it_starts_the_workflow_when_it_is_due(s: Schedules) -> None:
    given = schedule("30 * * * *")
    given.action.start_workflow.input.CopyFrom(payload("in"))
    given.action.start_workflow.user_metadata.summary.CopyFrom(payload("why").payloads[0])
    await s.create(given)
    await s.pass_time(1800 * SECOND - 1)
    assert not s.d.engine.runs.open()
    await s.pass_time(1)
    [event] = s.d.run("w-2026-01-01T00:30:00Z").ex.events[:1]
    started = event.workflow_execution_started_event_attributes
    assert event.user_metadata.summary == payload("why").payloads[0]
    assert started.input == payload("in")
    assert started.identity == "temporal-scheduler-default-s"
    attributes = started.search_attributes.indexed_fields
    assert attributes["TemporalScheduledStartTime"].data == b'"2026-01-01T00:30:00Z"'
    assert attributes["TemporalScheduledById"].data == b'"s"'
    info = (await s.describe()).info
    assert [a.schedule_time for a in info.recent_actions] == [timestamp(NEW_YEAR_2026 + HOUR // 2)]
    assert [e.workflow_id for e in info.running_workflows] == ["w-2026-01-01T00:30:00Z"]
    assert info.future_action_times[0] == timestamp(NEW_YEAR_2026 + HOUR * 3 // 2)
    assert len(info.future_action_times) == 10


@with_schedules
async def test_what_is_over_is_handed_to_what_comes_next(s: Schedules) -> None:
    await s.create(schedule("0 * * * *"))
    await s.pass_time(HOUR)
    await s.d.step(complete_workflow("one"))
    recent = (await s.describe()).info.recent_actions
    assert recent[0].start_workflow_status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
    await s.pass_time(HOUR)
    second = s.d.run("w-2026-01-01T02:00:00Z").ex.started
    assert second.last_completion_result == payload("one")
    await s.d.step(fail_workflow())
    await s.pass_time(HOUR)
    third = s.d.run("w-2026-01-01T03:00:00Z").ex.started
    assert third.last_completion_result == payload("one")
    assert third.continued_failure.message == "boom"


@with_schedules
async def test_an_idle_engine_sleeps_until_the_next_action(s: Schedules) -> None:
    await s.create(schedule("0 0 1 * *"))
    turns = s.d.engine.alarms
    await s.pass_time(HOUR)
    assert [when for when, _, _ in turns._heap] == [NEW_YEAR_2026 + 31 * 24 * HOUR]


@with_schedules
async def test_limited_actions_run_out(s: Schedules) -> None:
    given = schedule("0 * * * *", overlap=ALLOW_ALL)
    given.state.limited_actions, given.state.remaining_actions = True, 2
    await s.create(given)
    assert len((await s.describe()).info.future_action_times) == 2
    for _ in range(4):
        await s.pass_time(HOUR)
    described = await s.describe()
    assert described.info.action_count == 2
    assert described.schedule.state.remaining_actions == 0
    await s.trigger(at=1)
    assert (await s.describe()).info.action_count == 3, "what is asked for does not count"


@with_schedules
async def test_a_schedule_with_nothing_to_do_is_given_up_after_a_week(s: Schedules) -> None:
    await s.create(schedule())
    await s.pass_time(7 * 24 * HOUR - 1)
    await s.describe()
    await s.pass_time(1)
    with pytest.raises(ServiceError, match="schedule not found"):
        await s.describe()


@with_schedules
async def test_a_failure_may_pause_the_schedule(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", pause_on_failure=True))
    await s.pass_time(HOUR)
    await s.d.step(fail_workflow())
    state = (await s.describe()).schedule.state
    assert state.paused
    assert state.notes == "paused due to workflow failure: w-2026-01-01T01:00:00Z: boom"
    await s.pass_time(5 * HOUR)
    assert (await s.describe()).info.action_count == 1
    await s.patch(unpause="go on")
    await s.pass_time(HOUR)
    assert (await s.describe()).info.action_count == 2, "the hours of the pause are not made up for"


# --- overlap


@pytest.mark.parametrize(
    "policy, skipped, waiting, running",
    [
        (SKIP, 3, 0, 1),
        (BUFFER_ONE, 2, 1, 1),
        (BUFFER_ALL, 0, 3, 1),
        (CANCEL_OTHER, 0, 3, 1),
        (TERMINATE_OTHER, 0, 0, 1),
        (ALLOW_ALL, 0, 0, 0),  # what may overlap is not followed
    ],
)
def test_overlap_policies(policy: int, skipped: int, waiting: int, running: int) -> None:
    @with_schedules
    async def test(s: Schedules) -> None:
        await s.create(schedule("0 * * * *", overlap=policy))
        for _ in range(4):
            await s.pass_time(HOUR)
        info = (await s.describe()).info
        assert (info.overlap_skipped, info.buffer_size, len(info.running_workflows)) == (
            skipped,
            waiting,
            running,
        )
        open_runs = len(s.d.engine.runs.open())
        assert open_runs == (4 if policy == ALLOW_ALL else 1)

    test()


@with_schedules
async def test_what_waits_is_started_as_soon_as_its_turn_comes(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", overlap=BUFFER_ALL))
    for _ in range(3):
        await s.pass_time(HOUR)
    started = []
    for _ in range(3):
        task = await s.d.workflow_task()
        started.append(task.workflow_execution.workflow_id)
        await s.d.complete(task, complete_workflow())
    assert started == [f"w-2026-01-01T0{hour}:00:00Z" for hour in (1, 2, 3)]


@with_schedules
async def test_another_is_cancelled_or_terminated_in_the_name_of_the_schedule(s: Schedules) -> None:
    await s.create(schedule())
    await s.trigger()
    first = s.d.run("w-2026-01-01T00:00:00Z")
    await s.trigger(CANCEL_OTHER, at=1 * SECOND)
    asked = first.ex.events[-1].workflow_execution_cancel_requested_event_attributes
    assert (asked.cause, asked.identity) == (
        "cancelled by schedule overlap policy",
        "temporal-scheduler-default-s",
    )
    assert (await s.describe()).info.buffer_size == 1
    await s.d.step(complete_workflow())
    second = s.d.run("w-2026-01-01T00:00:01Z")
    await s.trigger(TERMINATE_OTHER, at=2 * SECOND)
    ended = second.ex.events[-1].workflow_execution_terminated_event_attributes
    assert ended.reason == "terminated by schedule overlap policy"
    assert s.d.run("w-2026-01-01T00:00:02Z").ex.open


@with_schedules
async def test_a_chain_is_one_action(s: Schedules) -> None:
    from engine_driver import continue_as_new

    await s.create(schedule("0 * * * *"))
    await s.pass_time(HOUR)
    await s.d.step(continue_as_new())
    await s.pass_time(HOUR)
    info = (await s.describe()).info
    assert (info.action_count, info.overlap_skipped) == (1, 1)
    await s.d.step(complete_workflow("end"))
    await s.pass_time(HOUR)
    assert s.d.run("w-2026-01-01T03:00:00Z").ex.started.last_completion_result == payload("end")


_starts = st.lists(
    st.builds(Start, st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(range(7)), st.booleans()),
    max_size=8,
)


@given(_starts, st.booleans(), st.sampled_from(range(1, 7)), st.booleans())
def test_every_start_is_made_kept_skipped_or_replaced(
    starts: list[Start], running: bool, policy: int, paused: bool
) -> None:
    state = State("default", "s", "run", "r", Schedule())
    decisions.set_schedule(state, schedule(overlap=policy, paused=paused))
    if running:
        state.info.running_workflows.append(WorkflowExecution(workflow_id="w", run_id="x"))
    state.buffer = list(starts)
    step = decisions.next_step(state)
    alone = [s for s in step.starts if decisions.overlap(state, s.overlap) != ALLOW_ALL]
    assert len(alone) <= (0 if running else 1)
    assert set(step.starts) | set(state.buffer) <= set(starts)
    assert len(step.starts) + len(state.buffer) + state.info.overlap_skipped <= len(starts)
    assert not (step.cancel or step.terminate) or running
    if paused:
        assert all(s.manual for s in step.starts)


# --- catching up, backfilling


@with_schedules
async def test_after_a_crash_it_goes_on_from_the_file_and_catches_up(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", overlap=BUFFER_ALL, catchup_window=duration(2 * HOUR)))
    await s.pass_time(HOUR)
    before = await s.describe()
    with s.d.clock.held():
        await s.d.engine.stop()
        s.d.clock.advance(4 * HOUR)  # nobody is there
        after = Schedules(await s.d.crash())
        info = (await after.describe()).info
        assert info.missed_catchup_window == 1
        assert (info.action_count, info.buffer_size) == (1, 3)
        assert info.recent_actions == before.info.recent_actions
        await after.d.step(complete_workflow("first"))
        assert after.d.run("w-2026-01-01T03:00:00Z").ex.started.last_completion_result == payload("first")
        await after.pass_time(HOUR)
        assert (await after.describe()).info.buffer_size == 3
        await after.d.engine.stop()


def test_a_long_absence_is_caught_up_with_in_parts() -> None:
    state = State("default", "s", "run", "r", Schedule())
    decisions.set_schedule(state, schedule())
    state.schedule.spec.CopyFrom(canonical(schedule("@every 1s").spec))
    decisions.create(state, NEW_YEAR_2026)
    now, looks = NEW_YEAR_2026 + 3 * HOUR, 0
    while (wake := decisions.wake_time(state, now)) is not None and wake <= now:
        decisions.advance(state, now)
        decisions.next_step(state)
        looks += 1
    assert looks == 3
    assert state.processed == now


@with_schedules
async def test_a_backfill_is_carried_out_as_if_it_were_due(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", paused=True))
    begin = NEW_YEAR_2026 - 24 * HOUR
    backfill = BackfillRequest(
        start_time=timestamp(begin), end_time=timestamp(begin + 14 * HOUR), overlap_policy=ALLOW_ALL
    )
    await s.patch(backfill_request=[backfill])
    first = (await s.describe()).info.action_count
    await s.pass_time(SECOND)
    assert first >= 10 and (await s.describe()).info.action_count == 15
    assert s.d.run("w-2025-12-31T00:00:00Z") and s.d.run("w-2025-12-31T14:00:00Z")


@with_schedules
async def test_times_of_a_backfill_wait_for_one_another(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", paused=True))
    begin = NEW_YEAR_2026 - 24 * HOUR
    backfill = BackfillRequest(
        start_time=timestamp(begin), end_time=timestamp(begin + 22 * HOUR), overlap_policy=BUFFER_ALL
    )
    await s.patch(backfill_request=[backfill])
    for hour in range(23):
        task = await s.d.workflow_task()
        assert task.workflow_execution.workflow_id == f"w-2025-12-31T{hour:02}:00:00Z"
        await s.d.complete(task, complete_workflow())
    assert (await s.describe()).info.action_count == 23


# --- what users write


@with_schedules
async def test_an_update_replaces_the_schedule(s: Schedules) -> None:
    await s.create(schedule("0 * * * *"))
    await s.pass_time(HOUR // 2)
    token = (await s.describe()).conflict_token
    await s.update(schedule("15 * * * *", overlap=ALLOW_ALL), conflict_token=token)
    described = await s.describe()
    assert described.info.update_time == timestamp(s.d.clock.now())
    assert described.info.action_count == 0, "a quarter past was before the update"
    await s.pass_time(HOUR)
    assert (await s.describe()).info.action_count == 1
    with pytest.raises(ServiceError) as refused:
        await s.update(schedule(), conflict_token=token, request_id="u2")
    assert refused.value.code == Code.FAILED_PRECONDITION


@with_schedules
async def test_the_same_request_counts_once(s: Schedules) -> None:
    await s.create(schedule())
    await s.create(schedule())
    patch = SchedulePatch()
    patch.trigger_immediately.overlap_policy = ALLOW_ALL
    request = PatchScheduleRequest(namespace="default", schedule_id="s", request_id="p", patch=patch)
    for _ in range(2):
        await s.d.call("PatchSchedule", request)
    assert (await s.describe()).info.action_count == 1


@with_schedules
async def test_a_taken_id_is_refused_until_it_is_deleted(s: Schedules) -> None:
    await s.create(schedule())
    with pytest.raises(ServiceError) as refused:
        await s.create(schedule(), request_id="other")
    assert refused.value.code == Code.ALREADY_EXISTS
    assert isinstance(refused.value.detail, WorkflowExecutionAlreadyStartedFailure)
    await s.delete()
    for call in (s.describe, s.delete):
        with pytest.raises(ServiceError) as gone:
            await call()
        assert gone.value.code == Code.NOT_FOUND
    await s.create(schedule(), request_id="other")


@with_schedules
async def test_a_workflow_that_cannot_be_started_is_left_out(s: Schedules) -> None:
    await s.create(schedule("0 * * * *"))
    await s.d.start("w-2026-01-01T01:00:00Z")
    await s.pass_time(HOUR)
    assert (await s.describe()).info.action_count == 0
    await s.pass_time(HOUR)
    assert (await s.describe()).info.action_count == 1


@with_schedules
async def test_the_workflow_id_can_be_kept(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", keep_original_workflow_id=True))
    for _ in range(2):
        await s.pass_time(HOUR)
        assert s.d.run("w").ex.open
        await s.d.step(complete_workflow())
    assert (await s.describe()).info.action_count == 2


@pytest.mark.parametrize(
    "change, said",
    [
        ({"cron_schedule": "@hourly"}, "Scheduled workflow must not contain CronSchedule"),
        ({"workflow_id_reuse_policy": 2}, "Scheduled workflow must not contain WorkflowIDReusePolicy"),
        ({"workflow_run_timeout": duration(-1)}, "WorkflowRunTimeoutSeconds"),
    ],
)
def test_a_bad_action_is_refused(change: dict[str, Any], said: str) -> None:
    @with_schedules
    async def test(s: Schedules) -> None:
        given = schedule()
        for name, value in change.items():
            field = getattr(given.action.start_workflow, name)
            if hasattr(field, "CopyFrom"):
                field.CopyFrom(value)
            else:
                setattr(given.action.start_workflow, name, value)
        with pytest.raises(ServiceError, match=said) as refused:
            await s.create(given)
        assert refused.value.code == Code.INVALID_ARGUMENT

    test()


# --- lists


@with_schedules
async def test_schedules_are_listed_and_counted_apart_from_workflows(s: Schedules) -> None:
    await s.create(schedule("0 * * * *"), schedule_id="a", request_id="a")
    await s.create(schedule(paused=True), schedule_id="s", request_id="s")
    listed = (await s.d.call("ListSchedules", ListSchedulesRequest(namespace="default"))).schedules
    assert {entry.schedule_id for entry in listed} == {"a", "s"}
    [entry] = [entry for entry in listed if entry.schedule_id == "a"]
    assert entry.info.workflow_type.name == "Flow"
    assert len(entry.info.future_action_times) == 5
    assert await s.count() == 2
    assert await s.count("TemporalSchedulePaused = true") == 1
    await s.patch(unpause="x")
    assert await s.count("TemporalSchedulePaused = true") == 0
    assert await s.count("ScheduleId = 'a'") == 1
    await s.delete()
    assert await s.count() == 1
    workflows = ListWorkflowExecutionsRequest(namespace="default")
    assert not (await s.d.call("ListWorkflowExecutions", workflows)).executions
    with pytest.raises(ServiceError, match='cannot filter on "WorkflowId"'):
        await s.count("WorkflowId = 'a'")


@with_schedules
async def test_memo_and_search_attributes_of_the_schedule(s: Schedules) -> None:
    register = AddSearchAttributesRequest(namespace="default", search_attributes={"Team": 2})  # type: ignore[dict-item]
    await s.d.call("AddSearchAttributes", register)
    attributes = {"indexed_fields": {"Team": Payload(metadata={"encoding": b"json/plain"}, data=b'"red"')}}
    memo = {"fields": {"m": payload("note").payloads[0]}}
    await s.create(schedule(), search_attributes=attributes, memo=memo)
    described = await s.describe()
    assert described.memo.fields["m"] == payload("note").payloads[0]
    assert described.search_attributes.indexed_fields["Team"].metadata["type"] == b"Keyword"
    assert await s.count("Team = 'red'") == 1
    await s.update(schedule())
    assert await s.count("Team = 'red'") == 1, "none given: none changed"
    await s.update(schedule(), search_attributes={}, request_id="u2")
    assert await s.count("Team = 'red'") == 0


@with_schedules
async def test_matching_times(s: Schedules) -> None:
    await s.create(schedule("0 * * * *", paused=True))
    request = ListScheduleMatchingTimesRequest(
        namespace="default",
        schedule_id="s",
        start_time=timestamp(NEW_YEAR_2026),
        end_time=timestamp(NEW_YEAR_2026 + 3 * HOUR),
    )
    found = (await s.d.call("ListScheduleMatchingTimes", request)).start_time
    assert list(found) == [timestamp(NEW_YEAR_2026 + n * HOUR) for n in (1, 2, 3)]


# --- the document


def test_the_document_holds_all_there_is() -> None:
    state = State(
        "default", "s", "run", "r", Schedule(), buffer=[Start(1, 2, 3, True)], starts=4, requests=["p"]
    )
    given = schedule("0 * * * *")
    given.spec.CopyFrom(canonical(given.spec))
    decisions.set_schedule(state, given)
    decisions.create(state, NEW_YEAR_2026)
    decisions.patch(state, SchedulePatch(pause="x", backfill_request=[BackfillRequest()]), NEW_YEAR_2026)
    state.last_result = payload("one")
    assert decode(encode(state)) == state

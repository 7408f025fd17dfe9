"""Schedules, as every service answers for them: Temporal's scheduler is itself a workflow, so what is asked of it shows a little later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from service_calls import Refusal, Service, new_name, payloads, values
from temporalio.api.command.v1 import (
    CompleteWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, WorkflowExecutionStatus
from temporalio.api.schedule.v1 import Schedule

from perdure.engine.protos import SECOND, timestamp

_Overlap = ScheduleOverlapPolicy
_Status = WorkflowExecutionStatus
BEGIN = 1_700_000_000  # some Tuesday of 2023, in s


class Scheduled:
    """A schedule, with what is often done to it."""

    def __init__(self, service: Service, *crons: str, paused: bool = False, **fields: Any) -> None:
        self.service = service
        self.id, self.queue, self.workflow_id = new_name("schedule"), new_name("queue"), new_name("flow")
        self.request_id = new_name("request")
        self.schedule = Schedule()
        self.schedule.spec.cron_string.extend(crons)
        self.schedule.state.paused = paused
        action = self.schedule.action.start_workflow
        action.workflow_id, action.workflow_type.name, action.task_queue.name = (
            self.workflow_id,
            "T",
            self.queue,
        )
        self.fields = fields

    def create(self) -> Scheduled:
        self.call("CreateSchedule", schedule=self.schedule, request_id=self.request_id, **self.fields)
        return self

    def call(self, rpc: str, **fields: Any) -> Any:
        return self.service.call(rpc, schedule_id=self.id, **fields)

    def refused(self, rpc: str, **fields: Any) -> Refusal:
        return self.service.refused(rpc, schedule_id=self.id, **fields)

    def patch(self, **changes: Any) -> None:
        self.call("PatchSchedule", patch=changes, request_id=new_name("request"))

    def trigger(self, at: int = 0, overlap: int = 0) -> None:
        when = timestamp((BEGIN + at) * SECOND)
        self.patch(trigger_immediately={"overlap_policy": overlap, "scheduled_time": when})

    def eventually(self, holds: Callable[[Any], object]) -> Any:
        """What describing gives as soon as that holds of it."""
        end = time.monotonic() + 15
        while not holds(described := self.call("DescribeSchedule")):
            assert time.monotonic() < end, described
        return described

    def work(self, command: Any) -> Any:
        """Takes the next workflow task of what was started, and completes it."""
        from service_calls import command as made

        task = self.service.call("PollWorkflowTaskQueue", task_queue={"name": self.queue}, identity="worker")
        self.service.call(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=[made(command)],
            identity="worker",
        )
        return task.history.events[0].workflow_execution_started_event_attributes


COMPLETE = CompleteWorkflowExecutionCommandAttributes(result=payloads("done"))
FAIL = FailWorkflowExecutionCommandAttributes(
    failure={"message": "boom", "application_failure_info": {"type": "E"}}
)


def test_a_schedule_is_described_in_canonical_form(service: Service) -> None:
    s = Scheduled(service, "CRON_TZ=Europe/Berlin 30 9-17/4 * * mon-fri # work", paused=True).create()
    described = s.eventually(lambda d: d.info.HasField("create_time"))
    [calendar] = described.schedule.spec.structured_calendar
    assert [(r.start, r.end, r.step) for r in calendar.hour] == [(9, 17, 4)]
    assert [(r.start, r.end, r.step) for r in calendar.minute] == [(30, 30, 1)]
    assert [(r.start, r.end, r.step) for r in calendar.day_of_week] == [(1, 5, 1)]
    assert (calendar.comment, described.schedule.spec.timezone_name) == ("work", "Europe/Berlin")
    assert not described.schedule.spec.cron_string
    assert described.schedule.policies.overlap_policy == _Overlap.SCHEDULE_OVERLAP_POLICY_SKIP
    assert described.schedule.policies.catchup_window.seconds == 365 * 86400
    assert described.conflict_token == b"\0\0\0\0\0\0\0\1"
    assert len(described.info.future_action_times) == 10


def test_it_acts_when_it_is_due_and_as_often_as_it_may(service: Service) -> None:
    s = Scheduled(service, "@every 1s")
    s.schedule.state.limited_actions, s.schedule.state.remaining_actions = True, 2
    s.create()
    first = s.work(COMPLETE)
    assert first.identity == f"temporal-scheduler-default-{s.id}"
    nominal = first.search_attributes.indexed_fields["TemporalScheduledStartTime"].data.decode().strip('"')
    assert first.workflow_id == f"{s.workflow_id}-{nominal}"
    assert first.search_attributes.indexed_fields["TemporalScheduledById"].data == f'"{s.id}"'.encode()
    second = s.work(COMPLETE)
    assert values(second.last_completion_result) == ["done"]
    described = s.eventually(lambda d: d.info.action_count == 2)
    assert described.schedule.state.remaining_actions == 0
    assert not described.info.future_action_times


def test_triggers_and_overlap(service: Service) -> None:
    s = Scheduled(service).create()
    s.trigger()
    running = s.eventually(lambda d: d.info.running_workflows).info
    assert running.running_workflows[0].workflow_id == f"{s.workflow_id}-2023-11-14T22:13:20Z"
    assert running.recent_actions[0].start_workflow_status == _Status.WORKFLOW_EXECUTION_STATUS_RUNNING
    assert running.recent_actions[0].schedule_time == timestamp(BEGIN * SECOND)
    s.trigger(1)
    s.eventually(lambda d: d.info.overlap_skipped == 1)
    s.trigger(2, _Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE)
    s.eventually(lambda d: d.info.buffer_size == 1)
    s.work(COMPLETE)
    after = s.eventually(lambda d: d.info.action_count == 2).info
    assert after.recent_actions[0].start_workflow_status == _Status.WORKFLOW_EXECUTION_STATUS_COMPLETED
    assert after.buffer_size == 0
    s.trigger(3, _Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER)
    last = s.eventually(lambda d: d.info.action_count == 3).info
    assert last.recent_actions[1].start_workflow_status == _Status.WORKFLOW_EXECUTION_STATUS_TERMINATED
    s.trigger(4, _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL)
    both = s.eventually(lambda d: d.info.action_count == 4).info
    assert len(both.running_workflows) == 1, "what may overlap is not followed"


def test_a_failure_is_handed_on(service: Service) -> None:
    s = Scheduled(service).create()
    s.trigger()
    s.work(FAIL)
    s.trigger(1)
    assert s.work(COMPLETE).continued_failure.message == "boom"


def test_a_backfill(service: Service) -> None:
    s = Scheduled(service, "0 * * * *", paused=True).create()
    begin, end = ((BEGIN - BEGIN % 3600 + hour * 3600) * SECOND for hour in (0, 2))
    policy = _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    request = {"start_time": timestamp(begin), "end_time": timestamp(end), "overlap_policy": policy}
    s.patch(backfill_request=[request])
    recent = s.eventually(lambda d: d.info.action_count == 3).info.recent_actions
    assert [a.schedule_time for a in recent] == [timestamp(begin + n * 3600 * SECOND) for n in range(3)]


def test_pause_and_update(service: Service) -> None:
    s = Scheduled(service, "0 12 * * *").create()
    s.patch(pause="why")
    paused = s.eventually(lambda d: d.schedule.state.paused)
    assert (paused.schedule.state.notes, paused.conflict_token[-1]) == ("why", 2)
    s.patch(unpause="because")
    s.eventually(lambda d: d.schedule.state.notes == "because")
    s.schedule.spec.cron_string[:] = ["@every 1h"]
    s.schedule.policies.catchup_window.seconds = 1
    s.call("UpdateSchedule", schedule=s.schedule, request_id=new_name("request"))
    updated = s.eventually(lambda d: d.info.HasField("update_time")).schedule
    assert updated.spec.interval[0].interval.seconds == 3600
    assert not updated.spec.structured_calendar
    assert updated.policies.catchup_window.seconds == 10, "the least there is"


def test_matching_times(service: Service) -> None:
    s = Scheduled(service, "0 12 * * *", paused=True).create()
    s.eventually(lambda d: True)
    found = s.call(
        "ListScheduleMatchingTimes",
        start_time=timestamp(BEGIN * SECOND),
        end_time=timestamp((BEGIN + 3 * 86400) * SECOND),
    ).start_time
    assert [when.seconds for when in found] == [BEGIN - BEGIN % 86400 + 86400 * n + 43200 for n in (1, 2, 3)]
    refused = s.refused("ListScheduleMatchingTimes")
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "missing or invalid query")
    assert "QueryFailedFailure" in refused.details


def test_the_same_request_creates_once_and_another_is_refused(service: Service) -> None:
    s = Scheduled(service).create()
    s.create()
    refused = s.refused("CreateSchedule", schedule=s.schedule, request_id="other")
    assert refused.code == "ALREADY_EXISTS"
    if not service.needs(1, 32):
        assert refused.message == f'schedule "{s.id}" is already registered'
    assert list(refused.details) == ["WorkflowExecutionAlreadyStartedFailure"]


def test_what_is_deleted_is_gone_and_may_come_again(service: Service) -> None:
    s = Scheduled(service).create()
    s.eventually(lambda d: True)
    s.call("DeleteSchedule")
    gone = s.refused("DescribeSchedule")
    assert (gone.code, gone.message) == ("NOT_FOUND", "schedule not found")
    for rpc, fields in (("DeleteSchedule", {}), ("PatchSchedule", {"patch": {"pause": "x"}})):
        gone = s.refused(rpc, **fields)
        assert (gone.code, gone.message) == ("NOT_FOUND", "workflow execution already completed")
    s.request_id = new_name("request")
    s.create()


def test_what_never_was_is_not_found(service: Service) -> None:
    s = Scheduled(service)
    for rpc, fields in (
        ("DescribeSchedule", {}),
        ("DeleteSchedule", {}),
        ("PatchSchedule", {"patch": {"pause": "x"}}),
        ("UpdateSchedule", {"schedule": s.schedule}),
    ):
        refused = s.refused(rpc, **fields)
        assert (refused.code, refused.message) == (
            "NOT_FOUND",
            f"workflow not found for ID: temporal-sys-scheduler:{s.id}",
        )


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda s: s.spec.cron_string.append("x"),
            "Invalid schedule spec: CronString does not have 5-7 fields",
        ),
        (
            lambda s: s.spec.cron_string.append("60 * * * *"),
            "Invalid schedule spec: Minute is not in range [0-59]",
        ),
        (lambda s: setattr(s.spec, "timezone_name", "Mars"), "Invalid schedule spec: unknown time zone Mars"),
        (
            lambda s: setattr(s.action.start_workflow, "cron_schedule", "@hourly"),
            "Scheduled workflow must not contain CronSchedule",
        ),
        (
            lambda s: setattr(s.action.start_workflow, "workflow_id_reuse_policy", 2),
            "Scheduled workflow must not contain WorkflowIDReusePolicy",
        ),
        (
            lambda s: setattr(s.action.start_workflow.workflow_type, "name", ""),
            "WorkflowType is not set on request.",
        ),
        (lambda s: setattr(s.action.start_workflow.task_queue, "name", ""), "missing task queue name"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_bad_schedule_is_refused(service: Service, change: Callable[[Schedule], None], said: str) -> None:
    s = Scheduled(service)
    change(s.schedule)
    refused = s.refused("CreateSchedule", schedule=s.schedule, request_id="r")
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", said)


def test_bad_requests(service: Service) -> None:
    s = Scheduled(service)
    refused = s.refused("CreateSchedule", schedule=s.schedule)
    assert refused.message == "RequestId is not set on request."
    s.create()
    assert s.refused("PatchSchedule", patch={"pause": "x" * 1001}).message == "Schedule notes exceeds limit."
    if not service.needs(1, 32):  # an older server has no words for the one, and takes the other
        assert s.refused("PatchSchedule").message == "Patch is not set on request."
        refused = s.refused("UpdateSchedule", schedule=Schedule())
        assert refused.message == "Only StartWorkflow action is supported for schedules"


def test_lists_and_counts(service: Service) -> None:
    if reason := service.needs(1, 32):
        pytest.skip(reason)
    prefix = new_name("listed")
    for number in range(3):
        s = Scheduled(
            service, "0 12 * * *", paused=number == 1, memo={"fields": {"m": payloads(number).payloads[0]}}
        )
        s.id = f"{prefix}-{number}"
        s.create()
    mine = f"ScheduleId STARTS_WITH '{prefix}'"
    end = time.monotonic() + 15
    while service.call("CountSchedules", query=f"{mine} AND TemporalSchedulePaused = false").count < 2:
        assert time.monotonic() < end
    listed = service.call("ListSchedules", query=mine).schedules
    assert {entry.schedule_id for entry in listed} == {f"{prefix}-{number}" for number in range(3)}
    [paused] = service.call("ListSchedules", query=f"{mine} AND TemporalSchedulePaused = true").schedules
    assert paused.info.paused
    assert paused.info.workflow_type.name == "T"
    assert len(paused.info.future_action_times) == 5
    assert set(paused.memo.fields) == {"m"}
    page = service.call("ListSchedules", query=mine, maximum_page_size=2)
    rest = service.call(
        "ListSchedules", query=mine, maximum_page_size=2, next_page_token=page.next_page_token
    )
    assert (len(page.schedules), len(rest.schedules)) == (2, 1)
    refused = service.refused("ListSchedules", query="WorkflowType = 'x'")
    assert refused.message == 'invalid query filter for schedules: cannot filter on "WorkflowType"'

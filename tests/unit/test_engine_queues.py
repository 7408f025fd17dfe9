"""Task queues: order, limits, pollers, descriptions. TEMPORAL.md, sections 7.3 and 22."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from engine_driver import QUEUE, Driver, in_engine, schedule_activity
from google.protobuf.wrappers_pb2 import DoubleValue
from temporalio.api.common.v1 import Priority, WorkflowExecution
from temporalio.api.enums.v1 import DescribeTaskQueueMode, RateLimitSource, TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    ListTaskQueuePartitionsRequest,
    PollActivityTaskQueueRequest,
    ShutdownWorkerRequest,
    UpdateTaskQueueConfigRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine.backlog import Backlog, Level, Rank
from perdure.engine.errors import ServiceError
from perdure.engine.pace import Pace, Tempo
from perdure.engine.protos import SECOND

ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


class Task:
    def __init__(self, name: str, rank: Rank | None = None) -> None:
        self.name = name
        self.rank = rank or Rank()
        self.level: Level | None = None
        self.stale = False

    def valid(self) -> bool:
        return not self.stale

    def __lt__(self, other: Task) -> bool:
        return False


def served(backlog: Backlog[Task], count: int) -> list[str]:
    names = []
    for _ in range(count):
        task = backlog.take(lambda group: True, lambda task: True)
        assert task is not None
        names.append(task.name)
    return names


def test_lower_priority_keys_go_first_and_equals_in_their_order() -> None:
    backlog: Backlog[Task] = Backlog()
    for name, priority in (("c", 3), ("e", 5), ("a", 1), ("d", 3), ("b", 1)):
        backlog.add("group", Task(name, Rank(priority)))
    assert served(backlog, 5) == list("abcde")
    assert len(backlog) == 0


def test_a_heavier_fairness_key_gets_its_share_and_a_late_one_does_not_wait() -> None:
    backlog: Backlog[Task] = Backlog()
    for number in range(60):
        backlog.add("group", Task("heavy", Rank(3, "heavy", 3.0)))
        backlog.add("group", Task("light", Rank(3, "light", 1.0)))
        if number == 59:
            backlog.add("group", Task("late", Rank(3, "late", 1.0)))
    first = served(backlog, 40)
    assert 29 <= first.count("heavy") <= 31
    assert "late" in first[:3]


def test_a_key_that_comes_late_has_not_saved_up_turns() -> None:
    backlog: Backlog[Task] = Backlog()
    for _ in range(20):
        backlog.add("group", Task("early", Rank(3, "early")))
    served(backlog, 10)
    for _ in range(20):
        backlog.add("group", Task("late", Rank(3, "late")))
    assert served(backlog, 8).count("late") in (4, 5)


def test_a_poll_looks_at_the_groups_not_at_the_tasks() -> None:
    backlog: Backlog[Task] = Backlog()
    for number in range(100_000):
        backlog.add(number % 10, Task(str(number)))
    asked: list[object] = []

    def accepts(group: object) -> bool:
        asked.append(group)
        return group == 7

    begun = time.perf_counter()
    task = backlog.take(accepts, lambda task: True)
    assert task is not None and task.name == "7"
    assert len(asked) <= 10
    assert time.perf_counter() - begun < 0.05


def test_stale_tasks_are_dropped_and_a_rebuilt_backlog_keeps_the_order() -> None:
    backlog: Backlog[Task] = Backlog()
    tasks = [Task(name) for name in "abcd"]
    for task in tasks:
        backlog.add("old", task)
    tasks[0].stale = tasks[2].stale = True
    backlog.rebuild(lambda task: "new")
    assert len(backlog) == 2
    assert served(backlog, 2) == ["b", "d"]


def test_a_held_fairness_key_lets_others_pass_and_keeps_its_order() -> None:
    backlog: Backlog[Task] = Backlog()
    for name in ("a1", "a2", "b1"):
        backlog.add("group", Task(name, Rank(3, name[0])))

    def may_go(task: Task) -> bool:
        return task.rank.fairness_key != "a"

    task = backlog.take(lambda group: True, may_go)
    assert task is not None and task.name == "b1"
    assert backlog.held_keys() == ["a"] and len(backlog) == 2
    backlog.release("a")
    assert served(backlog, 1) == ["a1"]


def test_a_pace_allows_a_burst_of_a_second_and_then_its_rate() -> None:
    pace, now = Pace(4.0), 100 * SECOND
    for _ in range(4):
        assert pace.ready(now) == now
        pace.take(now)
    assert pace.ready(now) == now + SECOND // 4
    assert Pace(0.0).ready(now) is None
    slow = Pace(0.5)
    slow.take(now)
    assert slow.ready(now) == now + 2 * SECOND


def test_a_tempo_forgets_after_half_a_minute() -> None:
    tempo = Tempo(0)
    for _ in range(30):
        tempo.count(10 * SECOND)
    assert tempo.rate(10 * SECOND) == 3.0
    assert tempo.rate(60 * SECOND) == 0.0


# --- through the service


async def polled(d: Driver, rate: float | None = None, identity: str = "worker") -> Any:
    request = PollActivityTaskQueueRequest(namespace="default", identity=identity)
    request.task_queue.name = QUEUE
    if rate is not None:
        request.task_queue_metadata.max_tasks_per_second.CopyFrom(DoubleValue(value=rate))
    return await d.call("PollActivityTaskQueue", request)


async def describe(d: Driver, **fields: Any) -> Any:
    request = DescribeTaskQueueRequest(namespace="default", **fields)
    request.task_queue.name = QUEUE
    return await d.call("DescribeTaskQueue", request)


async def configure(d: Driver, **fields: Any) -> Any:
    request = UpdateTaskQueueConfigRequest(
        namespace="default", identity="me", task_queue=QUEUE, task_queue_type=ACTIVITY, **fields
    )
    return await d.call("UpdateTaskQueueConfig", request)


@in_engine
async def test_runs_and_activities_are_served_by_priority_and_activities_inherit_it(d: Driver) -> None:
    await d.start("last", priority=Priority(priority_key=5))
    await d.start("first", priority=Priority(priority_key=1))
    await d.start("middle")
    for wanted in ("first", "middle", "last"):
        task = await d.workflow_task()
        assert task.workflow_execution.workflow_id == wanted
        if wanted == "first":
            await d.complete(task, schedule_activity())
    urgent = schedule_activity("urgent")
    urgent.schedule_activity_task_command_attributes.priority.priority_key = 1
    await d.start("other")
    await d.step(schedule_activity("slow"), urgent)
    assert [(await polled(d)).activity_id for _ in range(3)] == ["1", "urgent", "slow"]


@in_engine
async def test_a_priority_that_temporal_refuses(d: Driver) -> None:
    for priority, text in (
        (Priority(priority_key=-1), "priority key can't be negative"),
        (Priority(fairness_key="x" * 65), "fairness key length exceeds limit"),
        (Priority(fairness_weight=-1), "must be greater than zero"),
    ):
        with pytest.raises(ServiceError, match=text):
            await d.start(priority=priority)


@in_engine
async def test_a_worker_asks_for_a_rate_and_is_served_at_it(d: Driver) -> None:
    await d.start()
    await d.step(*(schedule_activity(str(number)) for number in range(4)))
    begun = d.clock.now()
    for _ in range(4):
        assert (await polled(d, 2.0)).task_token
    assert d.clock.now() - begun == SECOND  # two at once, then one each half second
    assert (await describe(d, task_queue_type=ACTIVITY)).pollers[0].rate_per_second == 2.0


@in_engine
async def test_an_operators_limit_goes_before_the_workers_and_survives_a_restart(d: Driver) -> None:
    update = UpdateTaskQueueConfigRequest.RateLimitUpdate(
        rate_limit=RateLimit(requests_per_second=0), reason="stop"
    )
    config = (await configure(d, update_queue_rate_limit=update)).config
    assert config.queue_rate_limit.metadata.reason == "stop"
    await d.start()
    await d.step(schedule_activity(timeouts={"schedule_to_close_timeout": 3600}))
    with d.clock.held():
        waiting = asyncio.create_task(polled(d, 100.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
    survivor = await d.crash()
    described = await describe(survivor, task_queue_type=ACTIVITY, report_config=True)
    assert described.effective_rate_limit.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_API
    assert described.config == config
    free = UpdateTaskQueueConfigRequest.RateLimitUpdate(reason="go")
    await configure(survivor, update_queue_rate_limit=free)
    assert (await polled(survivor)).task_token
    await survivor.engine.stop()


@in_engine
async def test_each_fairness_key_has_its_limit(d: Driver) -> None:
    update = UpdateTaskQueueConfigRequest.RateLimitUpdate(rate_limit=RateLimit(requests_per_second=1))
    await configure(d, update_fairness_key_rate_limit_default=update)
    await d.start()
    commands = [schedule_activity(f"{key}{n}", start_to_close=100) for n in range(2) for key in "ab"]
    for command in commands:
        attributes = command.schedule_activity_task_command_attributes
        attributes.priority.fairness_key = attributes.activity_id[0]
    await d.step(*commands)
    begun = d.clock.now()
    taken = [((await polled(d)).activity_id, d.clock.now() - begun) for _ in range(4)]
    assert taken == [("a0", 0), ("b0", 0), ("a1", SECOND), ("b1", SECOND)]


@in_engine
async def test_what_a_description_says_of_the_backlog(d: Driver) -> None:
    await d.start("a", priority=Priority(priority_key=2))
    await d.start("b")
    await d.start("c")
    described = await describe(d, report_stats=True, include_task_queue_status=True)
    assert described.stats.approximate_backlog_count == 3
    assert {k: s.approximate_backlog_count for k, s in described.stats_by_priority_key.items()} == {
        2: 1,
        3: 2,
    }
    assert described.stats.tasks_add_rate > 0
    assert described.task_queue_status.backlog_count_hint == 3
    assert described.versioning_info.current_version == "__unversioned__"
    enhanced = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED
    [info] = (await describe(d, api_mode=enhanced, report_stats=True)).versions_info.values()
    assert info.types_info[1].stats.approximate_backlog_count == 3
    assert info.types_info[2].stats.approximate_backlog_count == 0


@in_engine
async def test_a_poller_is_told_of_for_five_minutes(d: Driver) -> None:
    await d.start()
    await d.workflow_task(identity="somebody")
    assert [p.identity for p in (await describe(d)).pollers] == ["somebody"]
    with d.clock.held():
        d.clock.advance(301 * SECOND)
    assert not (await describe(d)).pollers


@in_engine
async def test_wrong_changes_of_a_queues_configuration(d: Driver) -> None:
    limit = UpdateTaskQueueConfigRequest.RateLimitUpdate(rate_limit=RateLimit(requests_per_second=-1))
    with pytest.raises(
        ServiceError, match="RequestsPerSecond for UpdateQueueRateLimit rate limit must be non-neg"
    ):
        await configure(d, update_queue_rate_limit=limit)
    with pytest.raises(ServiceError, match="fairness weight override key must not be empty"):
        await configure(d, set_fairness_weight_overrides={"": 1.0})
    with pytest.raises(ServiceError, match="present in both set and unset lists"):
        await configure(d, set_fairness_weight_overrides={"x": 1.0}, unset_fairness_weight_overrides=["x"])
    request = UpdateTaskQueueConfigRequest(namespace="default", task_queue=QUEUE, task_queue_type=1)
    request.update_queue_rate_limit.rate_limit.requests_per_second = 1
    with pytest.raises(ServiceError, match="Setting rate limit on workflow task queues is not allowed"):
        await d.call("UpdateTaskQueueConfig", request)


@in_engine
async def test_a_queue_has_one_partition(d: Driver) -> None:
    request = ListTaskQueuePartitionsRequest(namespace="default")
    request.task_queue.name = QUEUE
    response = await d.call("ListTaskQueuePartitions", request)
    assert [p.key for p in response.activity_task_queue_partitions] == [QUEUE]


# --- stickiness


@in_engine
async def test_after_a_workers_shutdown_the_next_task_names_its_queue_and_goes_to_the_normal_one(
    d: Driver,
) -> None:
    await d.start()
    d.has_polled("sticky")
    await d.complete(await d.workflow_task(), sticky="sticky")
    await d.call("ShutdownWorker", ShutdownWorkerRequest(namespace="default", sticky_task_queue="sticky"))
    await d.signal()
    task = await d.workflow_task()
    scheduled = task.history.events[-2].workflow_task_scheduled_event_attributes
    assert (scheduled.task_queue.name, scheduled.task_queue.normal_name) == ("sticky", QUEUE)
    assert task.history.events[0].event_id == 1


@in_engine
async def test_a_task_for_an_update_that_nobody_takes_becomes_an_ordinary_one(d: Driver) -> None:
    await d.start()
    await d.step()
    update = UpdateWorkflowExecutionRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w")
    )
    update.request.meta.update_id, update.request.input.name = "u", "change"
    waiting = asyncio.create_task(d.call("UpdateWorkflowExecution", update))
    begun = d.clock.now()
    for _ in range(100):
        await asyncio.sleep(0)
    assert d.clock.now() - begun == 5 * SECOND
    assert [name.removeprefix("WorkflowTask") for name in (await d.names())[4:]] == [
        "Scheduled",
        "TimedOut",
        "Scheduled",
    ]
    assert len((await d.workflow_task()).messages) == 1
    waiting.cancel()


@pytest.mark.parametrize("fields", [{"task_queue_type": 97}, {"api_mode": 1, "task_queue_types": [97]}])
def test_a_number_that_is_no_type_of_queue_is_refused(fields: dict[str, Any]) -> None:
    @in_engine
    async def ask(d: Driver) -> None:
        request = DescribeTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=QUEUE), **fields)
        with pytest.raises(ServiceError, match="task_queue_type 97 is no type"):
            await d.call("DescribeTaskQueue", request)

    ask()

"""Worker deployments and versions. TEMPORAL.md, section 19."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import (
    QUEUE,
    Driver,
    continue_as_new,
    in_engine,
    only,
    schedule_activity,
    start_child,
    start_timer,
)
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentOptions, WorkerDeploymentVersion
from temporalio.api.enums.v1 import (
    TaskQueueType,
    VersionDrainageStatus,
    VersioningBehavior,
    WorkerDeploymentVersionStatus,
    WorkerVersioningMode,
)
from temporalio.api.workflow.v1 import VersioningOverride
from temporalio.api.workflowservice.v1 import (
    CreateWorkerDeploymentRequest,
    CreateWorkerDeploymentVersionRequest,
    DeleteWorkerDeploymentRequest,
    DeleteWorkerDeploymentVersionRequest,
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkflowExecutionRequest,
    ListWorkerDeploymentsRequest,
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentManagerRequest,
    SetWorkerDeploymentRampingVersionRequest,
    UpdateWorkerDeploymentVersionMetadataRequest,
    UpdateWorkflowExecutionOptionsRequest,
)

from perdure.engine.deployments import Change, Deployment, create, register, set_current, set_ramping
from perdure.engine.errors import Code, ServiceError
from perdure.engine.overrides import check_override, current_form, pin_to
from perdure.engine.protos import SECOND
from perdure.engine.queue_routing import route_queue
from perdure.engine.task_queues import QueueKey
from perdure.engine.worker_versions import Version, parse_version

NAME = "payments"
V1, V2 = Version(NAME, "1"), Version(NAME, "2")
PINNED = VersioningBehavior.VERSIONING_BEHAVIOR_PINNED
AUTO_UPGRADE = VersioningBehavior.VERSIONING_BEHAVIOR_AUTO_UPGRADE
WORKFLOWS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
DRAINING = WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING


# --- pure


def deployment() -> Deployment:
    made = create(NAME, "", "", 1)
    for build_id in "12":
        assert register(made, build_id, QUEUE, WORKFLOWS, 2)
    return made


def test_a_version_is_registered_with_each_queue_once() -> None:
    made = deployment()
    assert not register(made, "1", QUEUE, WORKFLOWS, 3)
    assert register(made, "1", "other", WORKFLOWS, 3)
    assert [queue.name for queue in made.versions["1"].task_queue_infos] == ["other", QUEUE]


def test_a_ramp_takes_its_share_of_workflow_ids_and_keeps_them() -> None:
    made = deployment()
    set_current(made, Change("me", "1"), 10)
    set_ramping(made, Change("me", "2"), 30, False, 11)
    routing = route_queue([made], {V1, V2})
    ids = [f"order-{n}" for n in range(2000)]
    ramped = {i for i in ids if routing.target(i).version == V2}
    assert 0.25 < len(ramped) / len(ids) < 0.35
    set_ramping(made, Change("me", "2"), 60, False, 12)
    wider = route_queue([made], {V1, V2})
    assert ramped < {i for i in ids if wider.target(i).version == V2}
    assert wider.target("any", use_ramping=True).version == V2


def test_the_latest_word_on_a_queue_counts_and_a_version_without_workers_for_it_has_none() -> None:
    made, other = deployment(), create("billing", "", "", 1)
    register(other, "9", QUEUE, WORKFLOWS, 2)
    members = {V1, V2, Version("billing", "9")}
    assert route_queue([made, other], members).target("w").version is None
    set_current(made, Change("me", "1"), 10)
    set_current(other, Change("me", "9"), 20)
    assert route_queue([made, other], members).target("w").version == Version("billing", "9")
    assert route_queue([made, other], members - {Version("billing", "9")}).target("w").version == V1


def test_versions_as_text() -> None:
    assert parse_version("payments.1.0") == Version("payments", "1.0")
    assert parse_version("payments:1.0") == Version("payments", "1.0")
    assert parse_version("__unversioned__") is None
    with pytest.raises(ServiceError, match='invalid version string "abc", expected format'):
        parse_version("abc")


def test_overrides_in_their_older_form_and_wrong_ones() -> None:
    old = VersioningOverride(behavior=PINNED, pinned_version="payments.1")
    assert current_form(old) == pin_to(V1)
    for override, text in (
        (VersioningOverride(), "override behavior is required"),
        (VersioningOverride(auto_upgrade=False), "auto-upgrade override must be true"),
        (
            VersioningOverride(behavior=AUTO_UPGRADE, pinned_version="a.b"),
            "only provide pinned version if behavior",
        ),
        (
            VersioningOverride(pinned=VersioningOverride.PinnedOverride()),
            "must provide version if override is pinned",
        ),
    ):
        with pytest.raises(ServiceError, match=text):
            check_override(override)


# --- through the service


class Worker:
    """A worker of one version (or of none) with its hands on an engine."""

    def __init__(self, driver: Driver, version: Version | None) -> None:
        self._driver = driver
        self.options: WorkerDeploymentOptions | None = None
        if version is not None:
            self.options = WorkerDeploymentOptions(
                deployment_name=version.deployment_name,
                build_id=version.build_id,
                worker_versioning_mode=WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED,
            )

    async def task(self) -> Any:
        request = PollWorkflowTaskQueueRequest(namespace="default", deployment_options=self.options)
        request.task_queue.name = QUEUE
        return await self._driver.call("PollWorkflowTaskQueue", request)

    async def activity(self) -> Any:
        request = PollActivityTaskQueueRequest(namespace="default", deployment_options=self.options)
        request.task_queue.name = QUEUE
        return await self._driver.call("PollActivityTaskQueue", request)

    async def complete(self, task: Any, *commands: Command, behavior: int = 0) -> None:
        request = RespondWorkflowTaskCompletedRequest(
            namespace="default",
            task_token=task.task_token,
            commands=commands,
            versioning_behavior=behavior,  # type: ignore[arg-type]
            deployment_options=self.options,
        )
        await self._driver.call("RespondWorkflowTaskCompleted", request)

    async def step(self, *commands: Command, behavior: int = 0) -> Any:
        task = await self.task()
        await self.complete(task, *commands, behavior=behavior)
        return task


async def known(d: Driver) -> tuple[Worker, Worker]:
    """Workers of both versions, which the engine has seen."""
    workers = Worker(d, V1), Worker(d, V2)
    polls = [asyncio.create_task(poll()) for worker in workers for poll in (worker.task, worker.activity)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(d.engine.matching.pollers(QueueKey("default", QUEUE, "activity"))) == 2
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
    return workers


async def set_to(d: Driver, build_id: str, **fields: Any) -> Any:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace="default", deployment_name=NAME, build_id=build_id, identity="me", **fields
    )
    return await d.call("SetWorkerDeploymentCurrentVersion", request)


async def ramp(d: Driver, build_id: str, percentage: float) -> Any:
    request = SetWorkerDeploymentRampingVersionRequest(
        namespace="default", deployment_name=NAME, build_id=build_id, percentage=percentage, identity="me"
    )
    return await d.call("SetWorkerDeploymentRampingVersion", request)


async def versioning(d: Driver, workflow_id: str = "w") -> Any:
    request = DescribeWorkflowExecutionRequest(
        namespace="default", execution=WorkflowExecution(workflow_id=workflow_id)
    )
    return (await d.call("DescribeWorkflowExecution", request)).workflow_execution_info


async def described(d: Driver, build_id: str) -> Any:
    request = DescribeWorkerDeploymentVersionRequest(
        namespace="default",
        deployment_version=WorkerDeploymentVersion(deployment_name=NAME, build_id=build_id),
    )
    return (await d.call("DescribeWorkerDeploymentVersion", request)).worker_deployment_version_info


@in_engine
async def test_new_runs_go_to_the_current_version_and_a_pinned_one_stays(d: Driver) -> None:
    one, two = await known(d)
    await set_to(d, "1")
    await d.start()
    await one.step(start_timer(), behavior=PINNED)
    await set_to(d, "2")
    await d.signal()
    await d.start("new")
    assert (await two.step(behavior=PINNED)).workflow_execution.workflow_id == "new"
    task = await one.task()
    assert task.workflow_execution.workflow_id == "w"
    assert task.history.events[
        -1
    ].workflow_task_started_event_attributes.target_worker_deployment_version_changed
    info = (await versioning(d)).versioning_info
    assert info.behavior == PINNED and info.deployment_version == V1.message()


@in_engine
async def test_an_auto_upgrading_run_moves_and_is_on_its_way_until_the_new_version_has_completed_a_task(
    d: Driver,
) -> None:
    one, two = await known(d)
    await set_to(d, "1")
    await d.start()
    await one.step(start_timer(), behavior=AUTO_UPGRADE)
    await set_to(d, "2")
    await d.signal()
    task = await two.task()
    assert (await versioning(d)).versioning_info.version_transition.deployment_version == V2.message()
    await two.complete(task, behavior=AUTO_UPGRADE)
    info = await versioning(d)
    assert not info.versioning_info.HasField("version_transition")
    assert info.versioning_info.deployment_version == V2.message()
    assert info.versioning_info.revision_number == 2
    attributes = info.search_attributes.indexed_fields
    assert attributes["TemporalUsedWorkerDeploymentVersions"].data == b'["payments:1","payments:2"]'
    assert attributes["TemporalWorkflowVersioningBehavior"].data == b'"AutoUpgrade"'
    survivor = await d.crash()
    assert (survivor.run().ex.versioning.version, survivor.run().ex.versioning.revision) == (V2, 2)
    await survivor.engine.stop()


@in_engine
async def test_activities_wait_until_their_run_has_moved(d: Driver) -> None:
    one, two = await known(d)
    await set_to(d, "1")
    await d.start()
    await one.step(schedule_activity(), behavior=AUTO_UPGRADE)
    await set_to(d, "2")
    waiting = asyncio.create_task(two.activity())
    task = await two.task()
    assert not waiting.done()
    await two.complete(task, behavior=AUTO_UPGRADE)
    assert (await asyncio.wait_for(waiting, 5)).activity_id == "1"


@in_engine
async def test_activities_of_a_pinned_run_go_with_it(d: Driver) -> None:
    one, two = await known(d)
    await set_to(d, "1")
    await d.start()
    await one.step(schedule_activity(), behavior=PINNED)
    await set_to(d, "2")
    with d.clock.held():
        elsewhere = asyncio.create_task(two.activity())
        assert (await one.activity()).activity_id == "1"
        assert not elsewhere.done()
        elsewhere.cancel()


@in_engine
async def test_a_pinned_run_hands_its_version_to_children_and_to_the_next_run(d: Driver) -> None:
    one, two = await known(d)
    await set_to(d, "1")
    await d.start()
    await one.step(start_timer(), behavior=PINNED)
    await set_to(d, "2")
    await d.signal()
    child = start_child()
    child.start_child_workflow_execution_command_attributes.task_queue.name = QUEUE
    await one.step(child, behavior=PINNED)
    started = only(
        await d.history("child"), "WorkflowExecutionStarted"
    ).workflow_execution_started_event_attributes
    assert started.inherited_pinned_version == V1.message()
    tasks = [await one.task(), await one.task()]
    [parent] = [task for task in tasks if task.workflow_execution.workflow_id == "w"]
    await one.complete(parent, continue_as_new(), behavior=PINNED)
    started = (await d.history())[0].workflow_execution_started_event_attributes
    assert started.inherited_pinned_version == V1.message()
    assert started.declined_target_version_upgrade.deployment_version == V2.message()
    task = await one.task()
    started_event = task.history.events[-1].workflow_task_started_event_attributes
    assert not started_event.target_worker_deployment_version_changed  # it has declined
    upgrade = continue_as_new()
    upgrade.continue_as_new_workflow_execution_command_attributes.initial_versioning_behavior = 1  # type: ignore[assignment]
    await one.complete(task, upgrade, behavior=PINNED)
    assert (await two.task()).workflow_execution.workflow_id == "w"


@in_engine
async def test_an_override_pins_a_run_and_its_removal_lets_it_go(d: Driver) -> None:
    one, two = await known(d)
    await set_to(d, "2")
    with pytest.raises(
        ServiceError, match=r"Pinned version 'payments:9' is not present in task queue 'queue'"
    ) as no:
        await d.start("bad", versioning_override=pin_to(Version(NAME, "9")))
    assert no.value.code == Code.FAILED_PRECONDITION
    await d.start(versioning_override=pin_to(V1))
    await one.step(start_timer(), behavior=AUTO_UPGRADE)
    assert (await versioning(d)).versioning_info.versioning_override.pinned.version == V1.message()
    assert (await described(d, "1")).status == DRAINING
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w")
    )
    request.update_mask.paths.append("versioning_override")
    request.workflow_execution_options.SetInParent()
    await d.signal()
    await d.call("UpdateWorkflowExecutionOptions", request)
    assert (await two.task()).workflow_execution.workflow_id == "w"


@in_engine
async def test_workers_without_a_version_get_what_is_meant_for_none(d: Driver) -> None:
    await known(d)
    plain = Worker(d, None)
    await d.start()
    await plain.step(start_timer())
    await set_to(d, "1")
    await d.start("new")
    with d.clock.held():
        waiting = asyncio.create_task(plain.task())
        assert (await Worker(d, V1).task()).workflow_execution.workflow_id == "new"
        assert not waiting.done()
        await set_to(d, "")
        await d.signal()
        assert (await waiting).workflow_execution.workflow_id == "w"


@in_engine
async def test_errors_and_tokens_are_temporals(d: Driver) -> None:
    with pytest.raises(ServiceError, match="no Worker Deployment found with name 'payments'"):
        await set_to(d, "1")
    await known(d)
    for arguments, code, text in (
        (("9",), Code.NOT_FOUND, "build ID '9' not found in Worker Deployment 'payments'"),
        (("1", b"stale"), Code.FAILED_PRECONDITION, "conflict token mismatch"),
    ):
        with pytest.raises(ServiceError, match=text) as refused:
            await set_to(d, arguments[0], conflict_token=arguments[1] if len(arguments) > 1 else b"")
        assert refused.value.code == code
    first = await set_to(d, "1")
    assert (await set_to(d, "1")).previous_version == "payments.1"
    assert first.previous_version == "__unversioned__"
    with pytest.raises(ServiceError, match=r"requested ramping version payments\.1 is already current"):
        await ramp(d, "1", 10)
    with pytest.raises(ServiceError, match="Percentage must be between 0 and 100"):
        await ramp(d, "2", 101)
    assert not (await ramp(d, "2", 30)).previous_version
    assert (await ramp(d, "2", 50)).previous_percentage == 30
    request = SetWorkerDeploymentManagerRequest(
        namespace="default", deployment_name=NAME, manager_identity="boss", identity="me"
    )
    await d.call("SetWorkerDeploymentManager", request)
    with pytest.raises(
        ServiceError, match="ManagerIdentity 'boss' is set and does not match user identity 'me'"
    ):
        await set_to(d, "2")
    queue = DescribeTaskQueueRequest(namespace="default")
    queue.task_queue.name = QUEUE
    info = (await d.call("DescribeTaskQueue", queue)).versioning_info
    assert (info.current_version, info.ramping_version, info.ramping_version_percentage) == (
        "payments.1",
        "payments.2",
        50,
    )


@in_engine
async def test_a_version_out_of_use_drains_while_runs_are_pinned_to_it(d: Driver) -> None:
    one, _ = await known(d)
    await set_to(d, "1")
    await d.start()
    task = await one.task()
    await one.complete(task, start_timer(seconds=10_000), behavior=PINNED)
    await set_to(d, "2")
    assert (await described(d, "1")).status == DRAINING
    survivor = await d.crash()
    survivor.clock.advance(200 * SECOND)
    for _ in range(5):
        await asyncio.sleep(0)
    info = await described(survivor, "1")
    assert info.drainage_info.status == VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINING
    await survivor.engine.stop()


@in_engine
async def test_versions_and_deployments_come_and_go(d: Driver) -> None:
    made = CreateWorkerDeploymentRequest(namespace="default", deployment_name="billing", request_id="r")
    token = (await d.call("CreateWorkerDeployment", made)).conflict_token
    assert (await d.call("CreateWorkerDeployment", made)).conflict_token == token
    again = CreateWorkerDeploymentRequest(namespace="default", deployment_name="billing", request_id="other")
    with pytest.raises(ServiceError, match='Worker Deployment with name "billing" already exists'):
        await d.call("CreateWorkerDeployment", again)
    version = WorkerDeploymentVersion(deployment_name="billing", build_id="5")
    await d.call(
        "CreateWorkerDeploymentVersion",
        CreateWorkerDeploymentVersionRequest(namespace="default", deployment_version=version),
    )
    metadata = UpdateWorkerDeploymentVersionMetadataRequest(namespace="default", deployment_version=version)
    metadata.upsert_entries["commit"].CopyFrom(Payload(data=b"abc"))
    await d.call("UpdateWorkerDeploymentVersionMetadata", metadata)
    survivor = await d.crash()
    listed = await survivor.call("ListWorkerDeployments", ListWorkerDeploymentsRequest(namespace="default"))
    assert [each.name for each in listed.worker_deployments] == ["billing"]
    gone = DeleteWorkerDeploymentRequest(namespace="default", deployment_name="billing")
    with pytest.raises(ServiceError, match="deployment has versions, can't be deleted"):
        await survivor.call("DeleteWorkerDeployment", gone)
    await survivor.call(
        "DeleteWorkerDeploymentVersion",
        DeleteWorkerDeploymentVersionRequest(namespace="default", deployment_version=version),
    )
    await survivor.call("DeleteWorkerDeployment", gone)
    with pytest.raises(ServiceError, match="no Worker Deployment found with name 'billing'"):
        await survivor.call(
            "DescribeWorkerDeployment",
            DescribeWorkerDeploymentRequest(namespace="default", deployment_name="billing"),
        )
    await survivor.engine.stop()


@in_engine
async def test_wrong_options_of_workers(d: Driver) -> None:
    for name, build_id, text in (
        ("", "1", "Deployment name and build id must be set together"),
        ("a:b", "1", "worker deployment name cannot contain ':'"),
    ):
        with pytest.raises(ServiceError, match=text):
            await Worker(d, Version(name, build_id)).task()
    await d.start()
    plain = Worker(d, None)
    task = await plain.task()
    with pytest.raises(
        ServiceError, match="versioning behavior cannot be specified without deployment options"
    ):
        await plain.complete(task, behavior=PINNED)

"""How runs begin: id policies, request ids, delays, eager starts. TEMPORAL.md, section 12."""

from __future__ import annotations

from golden.commands import SUMMARY, complete, fail, payload, payloads, retry, seconds, start_timer
from golden.stage import Stage, script

USE_EXISTING, TERMINATE_EXISTING = 2, 3
FAILED_ONLY, REJECT, TERMINATE_IF_RUNNING = 2, 3, 4


@script
async def start_with_everything(s: Stage) -> None:
    f = await s.start(
        input=payloads(1, "two"),
        header={"fields": {"h": payload("x")}},
        memo={"fields": {"m": payload([1])}},
        search_attributes={"indexed_fields": {"BuildIds": payload(["b"])}},
        workflow_execution_timeout=seconds(300),
        workflow_run_timeout=seconds(200),
        workflow_task_timeout=seconds(20),
        retry_policy={"maximum_attempts": 3},
        user_metadata=SUMMARY,
        priority={"priority_key": 1, "fairness_key": "f"},
        continued_failure={"message": "before"},
        last_completion_result=payloads("before"),
        links=[
            {
                "workflow_event": {
                    "namespace": "default",
                    "workflow_id": "w",
                    "run_id": "r",
                    "event_ref": {"event_id": 3, "event_type": 26},
                }
            }
        ],
    )
    await f.work(complete())


@script
async def start_caps_its_timeouts(s: Stage) -> None:
    f = await s.start(workflow_execution_timeout=seconds(100), workflow_run_timeout=seconds(200))
    await f.terminate()
    f = await s.start("second", workflow_run_timeout=seconds(3), workflow_task_timeout=seconds(5))
    await f.terminate()
    f = await s.start("third", workflow_task_timeout=seconds(500))
    await f.terminate()
    f = await s.start("fourth", workflow_execution_timeout=seconds(100))
    await f.terminate()


@script
async def start_delayed(s: Stage) -> None:
    f = await s.start(workflow_start_delay=seconds(1), workflow_run_timeout=seconds(20))
    await f.signal()
    await f.work(complete())


@script
async def start_delayed_and_canceled(s: Stage) -> None:
    f = await s.start(workflow_start_delay=seconds(1))
    await f.cancel()
    await f.work(complete())


@script
async def start_delayed_and_terminated(s: Stage) -> None:
    f = await s.start(workflow_start_delay=seconds(3600))
    await f.terminate()


@script
async def start_twice_with_one_request(s: Stage) -> None:
    f = await s.start(request_id="request-same")
    await s.call("StartWorkflowExecution", **s.start_fields(f, request_id="request-same"))
    await f.work(complete())
    await s.call("StartWorkflowExecution", **s.start_fields(f, request_id="request-same"))


@script
async def start_of_a_running_one(s: Stage) -> None:
    f = await s.start()
    await s.refused("StartWorkflowExecution", **s.start_fields(f))
    await s.refused("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=REJECT))
    await f.terminate()


@script
async def start_uses_the_running_one(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await s.call("StartWorkflowExecution", **s.start_fields(f, workflow_id_conflict_policy=USE_EXISTING))
    await f.terminate()


@script
async def start_attaches_to_the_running_one(s: Stage) -> None:
    """And its request id counts from then on."""
    f = await s.start()
    await f.work(start_timer())
    for _ in range(2):
        await s.call(
            "StartWorkflowExecution",
            **s.start_fields(
                f,
                request_id="request-other",
                workflow_id_conflict_policy=USE_EXISTING,
                on_conflict_options={"attach_request_id": True, "attach_links": True},
                links=[{"workflow_event": {"namespace": "default", "workflow_id": "w", "run_id": "r"}}],
            ),
        )
    await f.terminate()


@script
async def start_terminates_the_running_one(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await s.call(
        "StartWorkflowExecution", **s.start_fields(f, workflow_id_conflict_policy=TERMINATE_EXISTING)
    )
    await f.terminate()


@script
async def start_terminates_the_running_one_by_reuse_policy(s: Stage) -> None:
    f = await s.start()
    await f.poll()
    await s.call("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=TERMINATE_IF_RUNNING))
    await f.terminate()


@script
async def start_of_a_completed_one(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await s.refused("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=FAILED_ONLY))
    await s.refused("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=REJECT))
    await s.call("StartWorkflowExecution", **s.start_fields(f))
    await f.terminate()


@script
async def start_of_a_failed_one(s: Stage) -> None:
    f = await s.start()
    await f.work(fail())
    await s.refused("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=REJECT))
    await s.call("StartWorkflowExecution", **s.start_fields(f, workflow_id_reuse_policy=FAILED_ONLY))
    await f.terminate()


@script
async def start_eagerly(s: Stage) -> None:
    f = s.flow("flow")
    answer = await s.call("StartWorkflowExecution", **s.start_fields(f, request_eager_execution=True))
    await f.complete(answer.eager_workflow_task, start_timer("t", 0.1))
    await f.work(complete())


@script
async def start_eagerly_and_later(s: Stage) -> None:
    """With a delay there is no eager task."""
    f = await s.start(request_eager_execution=True, workflow_start_delay=seconds(1))
    await f.work(complete())


@script
async def start_retries_its_own_delay(s: Stage) -> None:
    """The delay is of the first run only."""
    f = await s.start(workflow_start_delay=seconds(1), retry_policy=retry(2))
    await f.work(fail())
    await f.work(complete())


@script
async def start_without_a_request_id(s: Stage) -> None:
    f = await s.start(request_id="")
    await f.terminate()

"""Runs made up for the tests of pictures, out of Temporal's own messages: a small builder and the runs that tests share.

Times in the builder are seconds since the run's start.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import (
    ActivityType,
    Payload,
    Payloads,
    RetryPolicy,
    WorkflowExecution,
    WorkflowType,
)
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
    TimeoutFailureInfo,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import UserMetadata

from perdure.engine.records import AttemptEnded, AttemptStarted, EventBuffered, ExecutionStarted, RunRecords

START = 1_787_321_000_000_000_000  # 2026-08-21
FIRST = "perdure-4242-0a1b2c3d@lab"
SECOND = "perdure-4311-4d5e6f70@lab"


def ns(seconds: float) -> int:
    return START + round(seconds * 1e9)


def payload(value: Any) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


def payloads(*values: Any) -> Payloads:
    return Payloads(payloads=[payload(value) for value in values])


def application(kind: str, message: str, *, final: bool = False) -> Failure:
    info = ApplicationFailureInfo(type=kind, non_retryable=final)
    return Failure(message=message, source="PythonSDK", application_failure_info=info)


def timeout(kind: TimeoutType.ValueType) -> Failure:
    return Failure(message="activity timeout", timeout_failure_info=TimeoutFailureInfo(timeout_type=kind))


class Builder:
    """Writes a run's records, event by event."""

    def __init__(self, workflow_type: str = "payment", workflow_id: str = "payment-7", **about: Any) -> None:
        started = ExecutionStarted(
            "default",
            workflow_id,
            "0198c5f2-7d3a-7000-8000-000000000001",
            "",
            workflow_type,
            "perdure",
            START,
            START,
        )
        self.records = RunRecords(started)
        self.process = FIRST
        self.event("WORKFLOW_EXECUTION_STARTED", 0, workflow_type=WorkflowType(name=workflow_type), **about)

    def event(self, name: str, at: float, *, summary: str = "", buffered: bool = False, **about: Any) -> int:
        """Appends an event; returns its id."""
        time = ns(at)
        event = HistoryEvent(
            event_id=0 if buffered else len(self.records.events) + 1,
            event_time=Timestamp(seconds=time // 10**9, nanos=time % 10**9),
            event_type=EventType.Value(f"EVENT_TYPE_{name}"),
        )
        field = f"{name.lower()}_event_attributes"
        getattr(event, field).CopyFrom(type(getattr(event, field))(**about))
        if summary:
            event.user_metadata.CopyFrom(UserMetadata(summary=payload(summary)))
        if buffered:
            self.records.buffered.append(EventBuffered("r", len(self.records.buffered), event))
        else:
            self.records.events.append(event)
        return event.event_id

    def task(
        self, at: float, took: float = 0.004, failure: Failure | None = None, nondeterminism: bool = False
    ) -> None:
        """A workflow task, scheduled, started and closed."""
        scheduled = self.event("WORKFLOW_TASK_SCHEDULED", at)
        started = self.event("WORKFLOW_TASK_STARTED", at, scheduled_event_id=scheduled, identity=self.process)
        ids = {"scheduled_event_id": scheduled, "started_event_id": started}
        if failure is None:
            self.event("WORKFLOW_TASK_COMPLETED", at + took, **ids)
        else:
            cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
            if nondeterminism:
                cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
            self.event("WORKFLOW_TASK_FAILED", at + took, cause=cause, failure=failure, **ids)

    def schedule(self, name: str, at: float, *args: Any, max_attempts: int = 0, summary: str = "") -> int:
        return self.event(
            "ACTIVITY_TASK_SCHEDULED",
            at,
            summary=summary,
            activity_id=str(len(self.records.events)),
            activity_type=ActivityType(name=name),
            input=payloads(*args),
            retry_policy=RetryPolicy(maximum_attempts=max_attempts),
        )

    def attempt(
        self,
        activity: int,
        number: int,
        start: float,
        end: float | None = None,
        outcome: str = "completed",
        failure: Failure | None = None,
        due: float | None = None,
        following: float | None = None,
    ) -> None:
        """An attempt's records. `due`: when it could have started; `following`: when the next attempt is due."""
        run = self.records.started.run_id
        self.records.attempt_starts.append(
            AttemptStarted(
                run,
                activity,
                number,
                ns(start if due is None else due),
                ns(start),
                self.process,
                self.process,
            )
        )
        if end is not None:
            after = None if following is None else ns(following)
            self.records.attempt_ends.append(
                AttemptEnded(run, activity, number, ns(end), outcome, failure, after)
            )

    def completed(
        self, activity: int, start: float, end: float, result: Any = None, attempt: int = 1
    ) -> None:
        """The two events that a completed activity leaves."""
        began = self.event(
            "ACTIVITY_TASK_STARTED",
            start,
            scheduled_event_id=activity,
            identity=self.process,
            attempt=attempt,
        )
        ids = {"scheduled_event_id": activity, "started_event_id": began}
        self.event("ACTIVITY_TASK_COMPLETED", end, result=payloads(result), **ids)

    def failed(self, activity: int, start: float, end: float, failure: Failure, attempt: int = 1) -> None:
        began = self.event("ACTIVITY_TASK_STARTED", start, scheduled_event_id=activity, attempt=attempt)
        self.event(
            "ACTIVITY_TASK_FAILED", end, scheduled_event_id=activity, started_event_id=began, failure=failure
        )

    def activity(
        self, name: str, start: float, end: float, *args: Any, result: Any = None, queued: float = 0.0
    ) -> int:
        """An activity that completes at its first attempt."""
        scheduled = self.schedule(name, start - queued, *args)
        self.attempt(scheduled, 1, start, end, due=start - queued)
        self.completed(scheduled, start, end, result)
        return scheduled

    def timer(self, at: float, span: float, fired: float | None = None, summary: str = "") -> int:
        name = str(len(self.records.events))
        length = Duration(seconds=int(span), nanos=round(span % 1 * 1e9))
        started = self.event(
            "TIMER_STARTED", at, timer_id=name, start_to_fire_timeout=length, summary=summary
        )
        if fired is not None:
            self.event("TIMER_FIRED", fired, timer_id=name, started_event_id=started)
        return started

    def child(self, name: str, at: float, end: float | None = None, failure: Failure | None = None) -> int:
        execution = WorkflowExecution(workflow_id=f"{name}-1", run_id="c")
        initiated = self.event(
            "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
            at,
            workflow_id=f"{name}-1",
            workflow_type=WorkflowType(name=name),
        )
        about: dict[str, Any] = {"initiated_event_id": initiated, "workflow_execution": execution}
        self.event("CHILD_WORKFLOW_EXECUTION_STARTED", at + 0.01, **about)
        if end is not None and failure is not None:
            self.event("CHILD_WORKFLOW_EXECUTION_FAILED", end, failure=failure, **about)
        elif end is not None:
            self.event("CHILD_WORKFLOW_EXECUTION_COMPLETED", end, result=payloads("shipped"), **about)
        return initiated

    def complete(self, at: float, result: Any = None) -> RunRecords:
        self.event("WORKFLOW_EXECUTION_COMPLETED", at, result=payloads(result))
        return self.records

    def fail(self, at: float, activity: int, failure: Failure) -> RunRecords:
        """The workflow fails with an activity's failure."""
        wrapped = Failure(
            message="Activity task failed",
            cause=failure,
            activity_failure_info=ActivityFailureInfo(scheduled_event_id=activity),
        )
        self.event("WORKFLOW_EXECUTION_FAILED", at, failure=wrapped)
        return self.records


HTTP_503 = application("HttpError", "HTTP 503 Service Unavailable from http://127.0.0.1:8811/weather")
CANCELED = Failure(message="Cancelled", canceled_failure_info=CanceledFailureInfo())


def success() -> RunRecords:
    run = Builder(input=payloads({"id": 7, "amount": 120}))
    run.task(0.01)
    run.activity("validate", 0.03, 0.35, {"id": 7, "amount": 120})
    run.task(0.36)
    run.activity("charge", 0.4, 1.1, {"id": 7, "amount": 120}, result="ch_19")
    run.task(1.12)
    run.activity("send_receipt", 1.15, 1.5, {"id": 7}, "ch_19")
    run.task(1.51)
    return run.complete(1.52, {"charge": "ch_19"})


def _charge(run: Builder, attempts: int, max_attempts: int = 5) -> tuple[int, float]:
    """An activity whose first attempts fail: its id, and when the next attempt is due."""
    charge = run.schedule("charge", 0.4, {"id": 7, "amount": 120}, max_attempts=max_attempts)
    at = 0.42
    for number in range(1, attempts + 1):
        pause = float(2 ** (number - 1))
        last = number == max_attempts
        run.attempt(
            charge, number, at, at + 0.3, "failed", HTTP_503, following=None if last else at + 0.3 + pause
        )
        at += 0.3 + pause
    return charge, at


def retried() -> RunRecords:
    run = Builder(input=payloads({"id": 7, "amount": 120}))
    run.task(0.01)
    run.activity("validate", 0.03, 0.35, {"id": 7})
    run.task(0.36)
    charge, at = _charge(run, 2)
    run.attempt(charge, 3, at + 0.01, at + 0.6, due=at)
    run.completed(charge, at, at + 0.6, "ch_19", attempt=3)
    run.task(at + 0.62)
    run.activity("send_receipt", at + 0.65, at + 1.0, {"id": 7})
    run.task(at + 1.01)
    return run.complete(at + 1.02, {"charge": "ch_19"})


def failed() -> RunRecords:
    run = Builder(input=payloads({"id": 7, "amount": 120}))
    run.task(0.01)
    run.activity("validate", 0.03, 0.35, {"id": 7})
    run.task(0.36)
    charge, at = _charge(run, 3, max_attempts=3)
    at = run.records.attempt_ends[-1].ended_time / 1e9 - START / 1e9
    run.failed(charge, at - 0.3, at, HTTP_503, attempt=3)
    run.task(at + 0.02)
    return run.fail(at + 0.03, charge, HTTP_503)


def backing_off() -> RunRecords:
    """Open: three attempts failed, the fourth is due at 8.32 s."""
    run = Builder(input=payloads({"id": 7, "amount": 120}))
    run.task(0.01)
    run.activity("validate", 0.03, 0.35, {"id": 7})
    run.task(0.36)
    _charge(run, 3)
    return run.records


def killed() -> RunRecords:
    """The first kernel dies at 6.2 s while it fits the model; the second goes on at 9 s."""
    run = Builder("flights", "flights-2013")
    run.task(0.01, 0.02)
    months = [
        run.activity("load_month", 0.05 + 0.05 * n, 0.6 + 0.22 * n, f"2013-{n + 1:02}", queued=0.02)
        for n in range(6)
    ]
    assert months
    run.task(2.0)
    weather = run.schedule("fetch_weather", 2.05, "http://127.0.0.1:8811/weather", max_attempts=5)
    run.attempt(weather, 1, 2.06, 2.2, "failed", HTTP_503, following=3.2)
    run.attempt(weather, 2, 3.21, 3.3, "failed", HTTP_503, due=3.2, following=5.3)
    run.attempt(weather, 3, 5.31, 5.5, due=5.3)
    run.completed(weather, 5.31, 5.5, {"rows": 26115}, attempt=3)
    run.task(5.52)
    fit = run.schedule("fit_model", 5.54, {"months": 12})
    run.attempt(fit, 1, 5.55, 6.2, "lost", following=6.2)
    run.process = SECOND
    run.attempt(fit, 2, 9.0, 10.1, due=6.2)
    run.completed(fit, 9.0, 10.1, {"r2": 0.71}, attempt=2)
    run.task(10.12, 0.05)
    run.activity("write_report", 10.2, 10.6, "report.html")
    run.task(10.62)
    return run.complete(10.63, "report.html")


def month_long() -> RunRecords:
    """Two seconds of work, a timer of 30 days, two seconds of work."""
    run = Builder("trial", "trial-ada")
    run.task(0.01)
    run.activity("send_welcome", 0.03, 1.1, "ada@example.org")
    run.task(1.12)
    run.timer(1.13, 30 * 86400, 30 * 86400 + 1.13, summary="trial period")
    at = 30 * 86400 + 1.2
    run.task(at)
    run.activity("charge_card", at + 0.02, at + 0.9, 120)
    run.task(at + 1)
    return run.complete(at + 1.01, "subscribed")


def everything() -> RunRecords:
    """Signals, updates, children, timers, a local activity, external signals, a cancel request; open."""
    run = Builder("order", "order-99", input=payloads({"items": 3}))
    run.task(0.01)
    run.activity("reserve", 0.05, 0.6, {"items": 3})
    run.event("WORKFLOW_EXECUTION_SIGNALED", 0.8, signal_name="approve", input=payloads("by Ada"))
    run.task(0.81)
    run.child("shipment", 0.9, 2.4)
    run.child("invoice", 0.9, 1.7, application("ValueError", "no address"))
    data = {
        "seq": 1,
        "attempt": 2,
        "activity_id": "1",
        "activity_type": "price",
        "original_schedule_time": "2026-08-21T14:03:21.500000000Z",
        "complete_time": "2026-08-21T14:03:21.900000000Z",
    }
    run.event("MARKER_RECORDED", 1.9, marker_name="core_local_activity", details={"data": payloads(data)})
    run.event(
        "MARKER_RECORDED",
        1.9,
        marker_name="core_patch",
        details={"patch-data": payloads({"id": "new-prices"})},
    )
    accepted = run.event("WORKFLOW_EXECUTION_UPDATE_ACCEPTED", 2.0, protocol_instance_id="u1")
    run.records.events[
        -1
    ].workflow_execution_update_accepted_event_attributes.accepted_request.input.name = "set_address"
    run.event("WORKFLOW_EXECUTION_UPDATE_COMPLETED", 2.3, accepted_event_id=accepted)
    sent = run.event(
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
        2.4,
        signal_name="restock",
        workflow_execution=WorkflowExecution(workflow_id="warehouse"),
    )
    run.event("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", 2.6, initiated_event_id=sent)
    slow = run.schedule("track_parcel", 2.7, "P-1")
    run.attempt(slow, 1, 2.71, 3.4, "timed_out", timeout(TimeoutType.TIMEOUT_TYPE_HEARTBEAT), following=4.4)
    run.attempt(slow, 2, 4.41, due=4.4)
    run.timer(2.7, 3600)
    run.event("WORKFLOW_EXECUTION_CANCEL_REQUESTED", 4.6, cause="customer changed her mind")
    return run.records


def fan_out(width: int = 40) -> RunRecords:
    run = Builder("fan", "fan-out")
    run.task(0.01)
    scheduled = [run.schedule("resize", 0.03, f"image-{n:03}.png", max_attempts=3) for n in range(width)]
    for n, event_id in enumerate(scheduled):
        start = 0.05 + (n // 8) * 0.4
        if n % 11 == 5:
            run.attempt(
                event_id,
                1,
                start,
                start + 0.2,
                "failed",
                application("OSError", "disk is busy"),
                due=0.03,
                following=start + 1.2,
            )
            run.attempt(event_id, 2, start + 1.21, start + 1.5, due=start + 1.2)
        else:
            run.attempt(event_id, 1, start, start + 0.3 + 0.02 * (n % 5), due=0.03)
    for n, event_id in enumerate(scheduled):
        start = 0.05 + (n // 8) * 0.4
        run.completed(event_id, start, start + (1.5 if n % 11 == 5 else 0.3 + 0.02 * (n % 5)))
    last = max(record.ended_time for record in run.records.attempt_ends)
    at = (last - START) / 1e9
    run.task(at + 0.02)
    return run.complete(at + 0.03)


def thousands(number: int = 2000) -> RunRecords:
    run = Builder("batch", "batch-2000")
    run.task(0.01)
    at = 0.05
    for n in range(number):
        scheduled = run.schedule("row", at, n, max_attempts=2)
        if n % 500 == 250:
            run.attempt(
                scheduled,
                1,
                at,
                at + 0.02,
                "failed",
                application("ValueError", f"row {n} is broken", final=True),
            )
            run.failed(scheduled, at, at + 0.02, application("ValueError", f"row {n} is broken", final=True))
        else:
            run.attempt(scheduled, 1, at, at + 0.01)
            run.completed(scheduled, at, at + 0.01, n)
        run.task(at + 0.011, 0.001)
        at += 0.02
    return run.complete(at, number)


HOSTILE = "<script>alert(\"x\")</script> & 'quoted' \x00\x1b[31m\u202egnp.exe"


def hostile() -> RunRecords:
    """Names, arguments and messages that try to break out of the picture, and some that are merely long or from elsewhere."""
    run = Builder(HOSTILE, "]]>--><!--" + HOSTILE, input=payloads(HOSTILE))
    run.task(0.01)
    run.activity("</text><script>alert(1)</script>", 0.05, 0.3, '"/><image href="javascript:alert(2)"/>')
    run.activity("מחלקת_חיובים", 0.3, 0.6, "שלום עולם")
    run.activity("الدفع", 0.4, 0.9, "مرحبا")
    run.activity("支払いを処理する", 0.5, 1.2, "東京")
    run.activity(
        "transform_and_validate_every_single_record_of_the_quarterly_ledger_v2",
        0.6,
        1.4,
        {"quarter": "2013-Q4"},
    )
    secret = run.schedule("sealed", 0.7)
    run.records.events[-1].activity_task_scheduled_event_attributes.input.CopyFrom(
        Payloads(payloads=[Payload(metadata={"encoding": b"binary/encrypted"}, data=b"\x00\xff")])
    )
    run.attempt(secret, 1, 0.7, 1.0, "failed", application(HOSTILE, HOSTILE + " " + "long " * 200))
    run.failed(secret, 0.7, 1.0, application(HOSTILE, HOSTILE + " " + "long " * 200))
    run.task(1.5)
    return run.fail(1.6, secret, application(HOSTILE, HOSTILE))


def imported() -> RunRecords:
    """A history from a cluster: no attempt records, only what its events tell."""
    run = Builder("transfer", "transfer-1")
    run.process = "7001@cluster"
    run.task(0.01)
    withdraw = run.schedule("withdraw", 0.05, 100, max_attempts=10)
    began = run.event(
        "ACTIVITY_TASK_STARTED",
        7.3,
        scheduled_event_id=withdraw,
        identity="7001@cluster",
        attempt=4,
        last_failure=HTTP_503,
    )
    run.event(
        "ACTIVITY_TASK_COMPLETED",
        7.9,
        scheduled_event_id=withdraw,
        started_event_id=began,
        result=payloads("ok"),
    )
    run.task(7.95)
    run.schedule("deposit", 8.0, 100)
    return run.records


ALL = {
    run.__name__: run
    for run in (
        success,
        retried,
        failed,
        backing_off,
        killed,
        month_long,
        everything,
        fan_out,
        thousands,
        hostile,
        imported,
    )
}

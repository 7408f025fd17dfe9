"""What a timeline says of a run: rows, attempts, processes, and the sentence on top."""

from __future__ import annotations

import pytest
import view_runs as runs
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TimeoutType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from view_runs import Builder, ns

from perdure.engine.records import ExecutionClosed
from perdure.view import Kind, Row, State, Timeline, timeline


def at(records: runs.RunRecords, seconds: float = 60.0) -> Timeline:
    return timeline(records, ns(seconds))


def row(line: Timeline, name: str) -> Row:
    return next(row for row in line.rows if row.name == name)


def test_a_finished_run_has_its_own_row_on_top_and_one_for_each_activity():
    line = at(runs.success())
    assert [(r.kind, r.name) for r in line.rows] == [
        (Kind.WORKFLOW, "payment"),
        (Kind.ACTIVITY, "validate"),
        (Kind.ACTIVITY, "charge"),
        (Kind.ACTIVITY, "send_receipt"),
    ]
    assert line.state is State.COMPLETED
    assert line.verdict == "Completed in 1.52 s: 3 activities."
    assert line.remedy == ""
    assert line.finish == ns(1.52)
    assert row(line, "charge").detail == '{"id": 7, "amount": 120}'
    assert row(line, "charge").result == '"ch_19"'
    assert [r.completions for r in line.activities] == [1, 1, 1]


def test_attempts_keep_outcome_failure_and_back_off():
    charge = row(at(runs.retried()), "charge")
    assert [(a.number, a.state) for a in charge.attempts] == [
        (1, State.FAILED),
        (2, State.FAILED),
        (3, State.COMPLETED),
    ]
    assert str(charge.attempts[0].fault).startswith("HttpError: HTTP 503")
    assert charge.attempts[0].next_due == charge.attempts[1].started
    assert charge.state is State.COMPLETED
    assert charge.completions == 1
    assert "1 of them retried" in at(runs.retried()).verdict


def test_a_failed_run_names_the_activity_its_message_and_what_to_do():
    line = at(runs.failed())
    assert line.state is State.FAILED
    assert line.verdict.startswith("charge failed 3 times: HttpError: HTTP 503 Service Unavailable")
    assert line.remedy == "Fix charge (no attempt was left), then start the run again."
    assert row(line, "charge").state is State.FAILED


def test_a_workflow_that_raises_itself_is_not_blamed_on_an_activity():
    run = Builder()
    run.task(0.1)
    run.event("WORKFLOW_EXECUTION_FAILED", 0.2, failure=runs.application("ValueError", "no items"))
    line = at(run.records)
    assert line.verdict == "Failed after 200 ms: ValueError: no items"
    assert "fix its code" in line.remedy


def test_an_open_run_tells_which_attempt_comes_when_and_why():
    line = at(runs.backing_off(), 6.0)
    assert (
        line.verdict == "Retrying charge, attempt 4 of 5, next in 2.32 s: "
        "HttpError: HTTP 503 Service Unavailable from http://127.0.0.1:8811/weather"
    )
    assert "the next attempt runs the new code" in line.remedy
    assert row(line, "charge").state is State.RETRYING
    assert row(line, "charge").end is None


def test_an_attempt_that_is_overdue_waits_for_a_worker():
    assert "attempt 4 of 5, waiting for a worker" in at(runs.backing_off(), 20.0).verdict


def test_a_lost_attempt_belongs_to_the_first_kernel_and_the_next_to_the_second():
    line = at(runs.killed())
    fit = row(line, "fit_model")
    assert [(a.state, line.workers[a.worker or 0].label) for a in fit.attempts] == [
        (State.LOST, "kernel 1"),
        (State.COMPLETED, "kernel 2"),
    ]
    assert [(w.label, w.lost is not None, w.takes_over) for w in line.workers] == [
        ("kernel 1", True, False),
        ("kernel 2", False, True),
    ]
    assert "by 2 kernels" in line.verdict
    assert all(r.completions == 1 for r in line.activities)


def test_a_run_whose_kernel_died_waits_for_the_next_one():
    run = Builder("flights", "flights-2013")
    run.task(0.01)
    fit = run.schedule("fit_model", 0.1)
    run.attempt(
        fit, 1, 0.2, 3.0, "lost", runs.timeout(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE), following=3.0
    )
    line = at(run.records, 4.0)
    assert line.verdict == "Retrying fit_model, attempt 2, waiting for a worker: its process died"
    assert line.remedy == ""
    assert "perdure worker" in at(run.records, 60.0).remedy


def test_a_run_that_failed_with_its_kernel_is_not_told_to_be_faster():
    run = Builder()
    run.task(0.01)
    charge = run.schedule("charge", 0.1, max_attempts=1)
    died = runs.timeout(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
    run.attempt(charge, 1, 0.2, 3.0, "lost", died)
    run.event("ACTIVITY_TASK_TIMED_OUT", 3.0, failure=died, scheduled_event_id=charge, started_event_id=0)
    line = at(run.fail(3.1, charge, died), 4.0)
    assert "had its effect before its process died" in line.remedy


def test_a_process_is_one_however_many_leases_it_took():
    run = Builder()
    run.task(0.01)
    run.activity("one", 0.1, 0.2)
    run.process = runs.FIRST.replace("0a1b2c3d", "ffffffff")
    run.activity("two", 0.3, 0.4)
    assert [w.label for w in at(run.complete(1.0)).workers] == ["kernel 1"]


def test_a_second_worker_at_the_same_time_takes_nothing_over():
    run = Builder()
    run.process = "12@host"
    run.task(0.01)
    run.activity("one", 0.1, 0.9)
    run.process = "13@host"
    run.activity("two", 0.2, 0.8)
    line = at(run.complete(1.0))
    assert [(w.label, w.takes_over) for w in line.workers] == [("worker 1", False), ("worker 2", False)]


def test_an_activity_that_no_worker_took_is_waiting():
    run = Builder()
    run.task(0.01)
    run.schedule("slow", 0.1)
    line = at(run.records, 10.0)
    assert row(line, "slow").state is State.WAITING
    assert line.verdict.startswith("slow waiting for a worker")
    assert "perdure worker" in line.remedy


def test_a_workflow_task_that_no_worker_takes_is_told():
    run = Builder()
    run.event("WORKFLOW_TASK_SCHEDULED", 0.1)
    line = at(run.records, 5.0)
    assert line.verdict == "The workflow's next step waits for a worker of task queue perdure, for 4.9 s."
    assert at(run.records, 0.2).remedy == ""


def test_a_failing_workflow_task_shows_the_exception_and_that_the_run_goes_on():
    run = Builder()
    run.task(0.01, failure=runs.application("KeyError", "'amount'"))
    line = at(run.records, 5.0)
    assert line.verdict == "Workflow code fails: KeyError: 'amount'"
    assert "goes on from here" in line.remedy
    assert line.tasks[0].fault is not None
    run.task(6.0)
    assert "KeyError" not in at(run.records, 7.0).verdict


def test_non_determinism_is_told_apart_from_an_exception():
    run = Builder()
    run.task(0.01, failure=runs.application("x", "[TMPRL1100] history differs"), nondeterminism=True)
    line = at(run.records, 5.0)
    assert "NondeterminismError" in line.verdict
    assert "bring the old code back" in line.remedy


def test_a_workflow_task_taken_back_by_the_service_is_no_failure():
    run = Builder()
    cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    scheduled = run.event("WORKFLOW_TASK_SCHEDULED", 0.1)
    run.event("WORKFLOW_TASK_STARTED", 0.1, scheduled_event_id=scheduled, identity="1@x")
    run.event("WORKFLOW_TASK_FAILED", 0.2, cause=cause, scheduled_event_id=scheduled)
    assert at(run.records, 1.0).tasks[0].fault is None


def test_timers_say_when_they_fire_and_that_a_signal_may_come():
    run = Builder()
    run.task(0.01)
    run.timer(0.1, 3600)
    line = at(run.records, 600.1)
    assert line.verdict == "Waiting for a timer (due in 50 min) or a signal."
    assert (line.rows[1].kind, line.rows[1].name, line.rows[1].end) == (Kind.TIMER, "1 h", None)


def test_a_run_with_nothing_pending_waits_for_what_nobody_can_know():
    run = Builder()
    run.task(0.01)
    assert at(run.records, 5.0).verdict == "Waiting for a signal or timer."


def test_every_kind_of_thing_has_a_row():
    line = at(runs.everything(), 5.2)
    seen = {(r.kind, r.name): r.state for r in line.rows}
    assert seen[Kind.SIGNAL, "approve"] is State.COMPLETED
    assert seen[Kind.CHILD, "shipment"] is State.COMPLETED
    assert seen[Kind.CHILD, "invoice"] is State.FAILED
    assert seen[Kind.LOCAL_ACTIVITY, "price"] is State.COMPLETED
    assert seen[Kind.NOTE, "patched new-prices"] is State.COMPLETED
    assert seen[Kind.UPDATE, "set_address"] is State.COMPLETED
    assert seen[Kind.SIGNAL_SENT, "warehouse"] is State.COMPLETED
    assert seen[Kind.ACTIVITY, "track_parcel"] is State.RUNNING
    assert seen[Kind.TIMER, "1 h"] is State.WAITING
    assert seen[Kind.NOTE, "cancel requested"] is State.COMPLETED
    assert row(line, "invoice").fault is not None
    price = row(line, "price")
    assert (price.tries, price.attempts[0].number, price.completions) == (2, 2, 1)
    assert str(row(line, "track_parcel").attempts[0].fault) == "heartbeat timeout"


def test_a_history_from_elsewhere_shows_the_last_attempt_and_how_many_were_before():
    line = at(runs.imported(), 11.0)
    withdraw = row(line, "withdraw")
    assert (withdraw.earlier, withdraw.tries, withdraw.attempts[0].number) == (3, 4, 4)
    assert "HTTP 503" in str(withdraw.fault)
    assert withdraw.attempts[0].fault is None
    assert withdraw.completions == 1
    assert not line.recorded
    assert line.verdict == "Waiting for deposit, for 3 s."
    assert line.workers[0].label == "worker 1"


def test_what_was_open_when_the_workflow_closed_is_abandoned():
    run = Builder()
    run.task(0.01)
    slow = run.schedule("slow", 0.1)
    run.attempt(slow, 1, 0.2)
    run.timer(0.1, 60)
    run.event("WORKFLOW_EXECUTION_TERMINATED", 2.0, reason="no longer needed")
    line = at(run.records)
    assert line.verdict == "Terminated after 2 s: no longer needed."
    assert [r.state for r in line.rows[1:]] == [State.ABANDONED, State.ABANDONED]
    assert line.rows[1].attempts[0].ended == ns(2.0)


def test_a_timed_out_run_says_what_was_open():
    run = Builder()
    run.task(0.01)
    run.child("shipment", 0.1)
    run.event("WORKFLOW_EXECUTION_TIMED_OUT", 5.0)
    assert at(run.records).verdict == "Timed out after 5 s, while child shipment was open."


def test_continue_as_new_links_the_runs():
    run = Builder(continued_execution_run_id="before-1")
    run.task(0.01)
    run.event("WORKFLOW_EXECUTION_CONTINUED_AS_NEW", 1.0, new_execution_run_id="after-1")
    line = at(run.records)
    assert (line.state, line.previous_run, line.next_run) == (State.CONTINUED_AS_NEW, "before-1", "after-1")
    assert line.verdict == "Continued as new after 1 s: 0 events."


def test_the_closing_record_decides_when_the_history_is_short_of_the_end():
    run = Builder()
    run.task(0.01)
    status = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED
    run.records.closed = ExecutionClosed(run.records.started.run_id, status, ns(3.0), 5, 100)
    line = at(run.records)
    assert (line.state, line.end) == (State.TERMINATED, ns(3.0))


def test_events_in_the_buffer_are_drawn():
    run = Builder()
    run.task(0.01)
    run.event("WORKFLOW_EXECUTION_SIGNALED", 1.0, buffered=True, signal_name="early")
    assert row(at(run.records), "early").kind is Kind.SIGNAL


def test_an_activity_decided_while_its_event_is_in_the_buffer_is_closed():
    run = Builder()
    run.task(0.01)
    activity = run.schedule("quick", 0.1)
    run.attempt(activity, 1, 0.2, 0.4)
    quick = row(at(run.records), "quick")
    assert (quick.state, quick.end, quick.completions) == (State.COMPLETED, ns(0.4), 1)


def test_attempt_numbers_that_come_again_after_a_reset_stay_two_attempts():
    run = Builder()
    run.task(0.01)
    activity = run.schedule("reset", 0.1)
    run.attempt(activity, 1, 0.2, 0.4, "failed", runs.HTTP_503, following=1.4)
    run.attempt(activity, 1, 1.0, 1.2, due=0.9)
    attempts = row(at(run.records), "reset").attempts
    assert [(a.state, a.ended) for a in attempts] == [(State.FAILED, ns(0.4)), (State.COMPLETED, ns(1.2))]


def test_a_timeout_before_any_worker_came_is_an_attempt_that_did_not_start():
    run = Builder()
    run.task(0.01)
    activity = run.schedule("late", 0.1)
    failure = runs.timeout(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START)
    run.event("ACTIVITY_TASK_TIMED_OUT", 5.0, scheduled_event_id=activity, failure=failure)
    run.task(5.1)
    line = at(run.fail(5.2, activity, failure))
    late = row(line, "late")
    assert (late.state, late.tries) == (State.TIMED_OUT, 0)
    assert line.verdict == "late timed out: schedule-to-start timeout"
    assert "more time" in line.remedy


def test_names_and_messages_lose_what_could_break_or_disguise_them():
    line = at(runs.hostile())
    for said in (line.workflow_type, line.workflow_id, line.verdict, *(r.name for r in line.rows)):
        assert not set("\x00\x1b\u202e\n") & set(said)
    assert row(line, "sealed").detail == "encrypted"


def test_the_same_records_give_the_same_timeline():
    assert at(runs.everything(), 5.2) == at(runs.everything(), 5.2)


def test_an_external_workflow_that_is_not_there_is_a_failure_with_a_reason():
    run = Builder()
    run.task(0.01)
    target = WorkflowExecution(workflow_id="gone")
    sent = run.event("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", 0.1, workflow_execution=target)
    run.event("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", 0.2, initiated_event_id=sent)
    gone = row(at(run.records), "gone")
    assert (gone.kind, gone.state, str(gone.fault)) == (
        Kind.CANCEL_SENT,
        State.FAILED,
        "no such open workflow execution",
    )


@pytest.mark.parametrize("name", runs.ALL)
def test_no_row_ends_before_it_begins(name: str):
    for line in (at(runs.ALL[name](), 5.0), at(runs.ALL[name](), 10**7)):
        for r in line.rows:
            assert r.end is None or r.end >= r.start
            for attempt in r.attempts:
                assert attempt.ended is None or attempt.started is None or attempt.ended >= attempt.started


def test_a_run_of_children_counts_them():
    run = Builder()
    run.child("shipment", 0.1, 0.4)
    run.child("invoice", 0.1, 0.5)
    assert at(run.complete(0.6)).verdict == "Completed in 600 ms: 2 children."

"""Runs as people use them: start, wait, steer, look, and start again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_cells import INBOX, PAYMENT, cell

import perdure
from perdure.authoring.registry import Registry
from perdure.history import from_json, history
from perdure.run_errors import WaitTimeout
from perdure.session import Session
from perdure.testing import session as project


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    registry = Registry()
    with project(tmp_path_factory.mktemp("runs"), jumping=False, registry=registry) as opened:
        cell(registry, "workflow", "payment", "v1", PAYMENT)
        cell(registry, "activity", "charge", "v1", PAYMENT)
        cell(registry, "workflow", "inbox", "v1", INBOX)
        yield opened


def test_a_result_and_the_attempts_that_led_to_it(here: Session) -> None:
    run = perdure.start("payment", 3)
    assert run.result(timeout="30s") == {"charge": "charged 3"}
    assert run.status == "Completed"
    attempts = run.attempts()
    assert attempts["outcome"].tolist() == ["failed", "failed", "completed"]
    assert attempts["failure"].tolist()[:2] == ["ConnectionError: no route"] * 2
    assert attempts["backoff"].notna().tolist() == [True, True, False]


def test_output_of_activities_appears_under_the_waiting_cell(
    here: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    perdure.start("payment", 2).result()
    printed = capsys.readouterr().out
    assert "charging 2, attempt 1\nINFO asked the bank\ncharging 2, attempt 2\n" in printed
    assert printed.count("the workflow begins\n") == printed.count("the workflow ends\n") == 1


def test_awaiting_a_run_shows_its_output_too(here: Session, capsys: pytest.CaptureFixture[str]) -> None:
    async def notebook() -> object:
        return await perdure.start("payment", 1)

    assert asyncio.run(notebook()) == {"charge": "charged 1"}
    assert "charging 1, attempt 1\n" in capsys.readouterr().out


def test_a_failure_names_the_activity_the_attempt_and_the_message(here: Session) -> None:
    run = perdure.start("payment", -1)
    with pytest.raises(perdure.RunError) as caught:
        run.result()
    assert "activity charge failed on attempt 3: ValueError: amount is negative" in str(caught.value)
    assert type(caught.value.__cause__).__name__ == "WorkflowFailureError"


def test_signals_queries_and_updates(here: Session) -> None:
    run = perdure.start("inbox", 2, id="inbox-1")
    run.signal("post", "first")
    assert run.query("count") == 1
    assert run.update("put", "second") == 2
    assert run.result() == ["first", "second"]


def test_a_wait_ends_with_its_timeout_and_the_run_goes_on(here: Session) -> None:
    run = perdure.start("inbox", 1, id="inbox-2")
    with pytest.raises(WaitTimeout, match="inbox-2 is still open"):
        run.result(timeout="50ms")
    run.signal("post", "late")
    assert run.result() == ["late"]


def test_cancel_and_terminate_are_named_in_the_error(here: Session) -> None:
    cancelled, ended = perdure.start("inbox", 1), perdure.start("inbox", 1)
    cancelled.cancel()
    ended.terminate("enough")
    with pytest.raises(perdure.RunError, match="was cancelled"):
        cancelled.result()
    with pytest.raises(perdure.RunError, match="was terminated: enough"):
        ended.result()


def test_a_reset_goes_on_in_a_new_run(here: Session) -> None:
    run = perdure.start("inbox", 1, id="inbox-reset")
    run.signal("post", "kept")
    assert run.result() == ["kept"]
    again = run.reset(to="first", reason="once more")
    assert again.run_id != run.run_id
    assert again.result() == ["kept"]
    with pytest.raises(perdure.RunError, match="There is no event 99"):
        run.reset(99)


def test_a_paused_run_waits_until_it_is_resumed(here: Session) -> None:
    run = perdure.start("inbox", 1, id="inbox-pause")
    run.pause("lunch")
    assert run.status == "Paused"
    run.signal("post", "meanwhile")
    with pytest.raises(perdure.RunError, match="already paused"):
        run.pause()
    run.resume()
    assert run.result() == ["meanwhile"]


def test_starting_an_open_id_again_is_the_same_run(here: Session, capsys: pytest.CaptureFixture[str]) -> None:
    first = perdure.start("inbox", 1, id="inbox-3")
    second = perdure.start("inbox", 1, id="inbox-3")
    assert second.run_id == first.run_id
    assert "inbox-3 is open already" in capsys.readouterr().out
    second.signal("post", "once")
    assert first.result() == ["once"]


def test_starting_a_completed_id_again_pays_nothing(
    here: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    first = perdure.start("payment", 1, id="payment-1")
    first.result()
    again = perdure.start("payment", 1, id="payment-1")
    assert (again.run_id, again.result()) == (first.run_id, {"charge": "charged 1"})
    assert "has completed already" in capsys.readouterr().out
    fresh = perdure.start("payment", 1, id="payment-1", again=True)
    assert fresh.run_id != first.run_id
    fresh.result()


def test_a_failed_run_is_followed_by_a_new_one(here: Session) -> None:
    first = perdure.start("payment", -1, id="payment-2")
    with pytest.raises(perdure.RunError):
        first.result()
    second = perdure.start("payment", 1, id="payment-2")
    assert second.run_id != first.run_id
    assert second.result() == {"charge": "charged 1"}


def test_other_input_under_a_used_id_is_refused(here: Session) -> None:
    perdure.start("payment", 1, id="payment-3").result()
    with pytest.raises(perdure.RunError, match="started with other input"):
        perdure.start("payment", 2, id="payment-3")
    with pytest.raises(perdure.RunError, match="belongs to a run of workflow payment"):
        perdure.start("inbox", 1, id="payment-3")


def test_temporals_own_policies_take_the_rules_place(here: Session) -> None:
    perdure.start("payment", 1, id="payment-4").result()
    with pytest.raises(perdure.RunError, match="refuses another"):
        perdure.start("payment", 1, id="payment-4", id_reuse_policy="reject_duplicate")
    with pytest.raises(perdure.RunError, match="id_reuse_policy has no value 'never'"):
        perdure.start("payment", 1, id="payment-4", id_reuse_policy="never")


def test_lists_and_queries_are_frames(here: Session) -> None:
    run = perdure.start("payment", 1, id="payment-5")
    run.result()
    rows = perdure.runs("WorkflowId = 'payment-5'")
    assert rows[["id", "type", "status", "version"]].values.tolist() == [
        ["payment-5", "payment", "Completed", "v1"]
    ]
    assert len(perdure.runs(status="completed", workflow="payment", limit=1)) == 1
    assert perdure.sql("select 1 as one")["one"].tolist() == [1]
    with pytest.raises(perdure.QueryError):
        perdure.sql("drop table events")


def test_a_history_goes_out_and_in_as_temporals_json(here: Session) -> None:
    run = perdure.start("payment", 1)
    run.result()
    records = run.records()
    read = from_json(run.to_json(), run.id)
    assert history(read).events == history(records).events
    assert read.started.workflow_type == "payment"


def test_a_run_draws_itself(here: Session) -> None:
    run = perdure.start("payment", 1)
    run.result()
    bundle = run._repr_mimebundle_()
    assert "<svg" in bundle["text/html"]
    assert "charge" in bundle["text/plain"]


def test_an_unknown_id_and_an_unknown_workflow_say_so(here: Session, tmp_path: Path) -> None:
    with pytest.raises(perdure.RunError, match="nobody"):
        perdure.run("nobody")
    with pytest.raises(perdure.RunError, match="is no workflow"):
        perdure.start(len)

"""Redefinition: new runs and next attempts take the new code, open runs keep theirs until they are moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_cells import cell, gates

import perdure
from perdure.authoring.registry import Registry
from perdure.session import Session
from perdure.testing import session as project

FETCH = """
    @perdure.activity(initial_interval="1ms", maximum_interval="2ms")
    def fetch(key: str) -> str:
        if activity.info().attempt == 3:
            import worker_cells
            worker_cells.gates.stop(key)
        {body}
"""
TWO_STEPS = """
    @perdure.activity
    def first(key: str) -> str: ...

    @perdure.activity
    def second(key: str) -> str: ...

    @perdure.workflow
    async def pipeline(key: str) -> str:
        {body}
"""
STEP = """
    @perdure.activity
    def {name}(key: str) -> str:
        import worker_cells
        worker_cells.gates.stop("{name} " + key)
        return "{name}"
"""


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def here(tmp_path: Path, registry: Registry) -> Iterator[Session]:
    with project(tmp_path, jumping=False, registry=registry) as opened:
        for name in ("first", "second"):
            cell(registry, "activity", name, "a1", STEP.format(name=name))
        yield opened


def pipeline(registry: Registry, version: str, body: str) -> None:
    cell(registry, "workflow", "pipeline", version, TWO_STEPS.format(body=body))


def test_the_next_attempt_uses_the_fixed_activity(here: Session, registry: Registry) -> None:
    cell(registry, "activity", "fetch", "v1", FETCH.format(body='raise ValueError("bug")'))
    source = FETCH.format(body="...") + (
        "\n    @perdure.workflow\n    async def fetching(key: str) -> str:\n        return await fetch(key)\n"
    )
    cell(registry, "workflow", "fetching", "w1", source)
    run = perdure.start("fetching", "mended")
    gates.wait("mended")  # the third attempt of the buggy version is under way
    cell(registry, "activity", "fetch", "v2", FETCH.format(body='return "fixed"'))
    here.wait(here.worker.ready())  # type: ignore[union-attr]
    gates.open("mended")  # it still fails there; the fourth attempt is the new version's
    assert run.result(timeout="30s") == "fixed"
    assert run.attempts()["outcome"].tolist() == ["failed", "failed", "failed", "completed"]


def test_open_runs_keep_their_version_and_new_runs_take_the_new_one(
    here: Session, registry: Registry
) -> None:
    pipeline(registry, "v1", 'return await first(key) + " one"')
    old = perdure.start("pipeline", "kept")
    gates.wait("first kept")
    pipeline(registry, "v2", 'return await second(key) + " two"')
    new = perdure.start("pipeline", "kept")
    gates.open("first kept")
    gates.open("second kept")
    assert old.result(timeout="30s") == "first one"
    assert new.result(timeout="30s") == "second two"
    assert perdure.runs(workflow="pipeline")["version"].tolist() == ["v2", "v1"]


def test_a_move_that_fits_is_made_and_the_run_goes_on_with_the_new_code(
    here: Session, registry: Registry
) -> None:
    pipeline(registry, "v1", "return await first(key)")
    run = perdure.start("pipeline", "moved")
    gates.wait("first moved")
    pipeline(registry, "v2", 'return await first(key) + ", then " + await second(key)')
    run.move()
    gates.open("first moved")
    gates.open("second moved")
    assert run.result(timeout="30s") == "first, then second"


def test_a_move_that_does_not_fit_names_the_event_and_the_line(here: Session, registry: Registry) -> None:
    pipeline(registry, "v1", "return await first(key)")
    run = perdure.start("pipeline", "refused")
    gates.wait("first refused")
    pipeline(registry, "v2", "return await second(key)")
    with pytest.raises(perdure.RunError) as caught:
        run.move()
    assert "event 5 is ActivityTaskScheduled first, but version v2 schedules activity second there" in str(
        caught.value
    )
    assert "at line 12: return await second(key)" in str(caught.value)
    moves = perdure.move("pipeline")
    assert moves[["id", "before", "after", "moved"]].values.tolist() == [[run.id, "v1", "v2", False]]
    gates.open("first refused")
    assert run.result(timeout="30s") == "first"


def test_a_run_that_fails_in_its_code_moves_to_the_mended_version_by_itself(
    here: Session, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    here.say = said.append
    pipeline(registry, "v1", "result = await first(key)\n        return result + undefined_name")
    run = perdure.start("pipeline", "broken")
    gates.wait("first broken")
    gates.open("first broken")
    here.wait(failing(here, run.id))
    pipeline(registry, "v2", 'result = await first(key)\n        return result + " mended"')
    assert run.result(timeout="30s") == "first mended"
    assert said == [f"{run.id} was failing on version v1 of pipeline; it goes on with v2."]


async def failing(here: Session, workflow_id: str) -> None:
    """Returns when the workflow task of a run has failed."""
    async for _ in here.project.watch(workflow_id):
        records = await here.project.read_run(workflow_id)
        if any(event.HasField("workflow_task_failed_event_attributes") for event in records.events):
            return


def test_a_workflow_that_the_sdk_refuses_is_reported_and_the_others_run(
    here: Session, registry: Registry
) -> None:
    said: list[str] = []
    here.say = said.append
    pipeline(registry, "v1", "return await first(key)")
    cell(
        registry,
        "workflow",
        "restricted",
        "v1",
        """
        if workflow.unsafe.in_sandbox():
            raise ValueError("not in here")

        @perdure.workflow
        async def restricted() -> None: ...
        """,
    )
    run = perdure.start("pipeline", "beside")
    gates.open("first beside")
    assert run.result(timeout="30s") == "first"
    assert said == ["Workflow restricted cannot be run: ValueError: not in here"]
    assert here.worker is not None
    assert here.worker.status.problems == tuple(said)


def test_two_sessions_with_different_versions_each_run_their_own(here: Session, registry: Registry) -> None:
    other_registry = Registry()
    pipeline(registry, "v1", 'return "one"')
    pipeline(other_registry, "v2", 'return "two"')
    with Session(here.path, registry=other_registry) as other:
        first = perdure.start("pipeline", "both")
        assert other.role == "joined"
        assert first.result(timeout="30s") == "one"

"""`perdure ...` as a person types it: what it prints, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.cli import main

MODULE = """
import perdure

@perdure.activity(initial_interval="1ms", retries=1)
def price(item: str) -> int:
    if item == "nothing":
        raise LookupError("no such item")
    return len(item)

@perdure.workflow
async def order(item: str) -> dict:
    return {"item": item, "price": await price(item)}
"""

TEMPORAL = """
from datetime import timedelta
from temporalio import activity, workflow

@activity.defn
def hello(name: str) -> str:
    return f"Hello, {name}"

@workflow.defn
class Greet:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(hello, name, start_to_close_timeout=timedelta(seconds=5))
"""
SLEEPER = """
import asyncio
import perdure

@perdure.workflow
async def sleeper() -> None:
    await asyncio.sleep(3600)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module, whose project holds one completed and one failed run, and an open one."""
    made = tmp_path_factory.mktemp("cli")
    (made / "orders.py").write_text(MODULE)
    done = perdure(made, "start", "order", '"tea"', "--id", "order-1", "--import", "orders", "--wait")
    assert json.loads(done.stdout.splitlines()[-1]) == {"item": "tea", "price": 3}, done.stderr
    perdure(made, "start", "order", '"nothing"', "--id", "order-2", "--import", "orders", "--wait")
    perdure(made, "start", "order", '"sugar"', "--id", "order-3")
    return made


def perdure(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_looking(folder: Path) -> None:
    listed = perdure(folder, "runs")
    assert [line.split()[2] for line in listed.stdout.splitlines()[1:]] == ["Running", "Failed", "Completed"]
    assert json.loads(perdure(folder, "runs", "--status", "failed", "--json").stdout)[0]["id"] == "order-2"
    assert "price" in perdure(folder, "show", "order-1").stdout
    events = json.loads(perdure(folder, "history", "order-1", "--json").stdout)["events"]
    assert events[0]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"
    assert "LookupError: no such item" in perdure(folder, "history", "order-2", "--attempts").stdout
    assert perdure(folder, "sql", "select 40 + 2 as answer", "--csv").stdout == "answer\n42\n"
    assert "1 running" in perdure(folder, "status").stdout


def test_a_failed_run_is_a_failed_command_without_a_stack(folder: Path) -> None:
    failed = perdure(folder, "result", "order-2")
    assert failed.returncode == 1
    assert "activity price failed on attempt 2: LookupError: no such item" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_mistakes_are_named(folder: Path) -> None:
    unknown = perdure(folder, "show", "nobody")
    assert (unknown.returncode, "nobody" in unknown.stderr, "Traceback" in unknown.stderr) == (1, True, False)
    assert perdure(folder, "sql", "drop table events").returncode == 1
    assert perdure(folder, "start", "order", "tea").returncode == 2
    assert perdure(folder, "start", "order", '"tea"', "--import", "not_there").returncode == 1
    assert perdure(folder, "address").returncode == 1


def test_looking_makes_no_project(tmp_path: Path) -> None:
    for words in (["runs"], ["token"], ["show", "order-1"], ["--project", "elsewhere", "status"]):
        refused = perdure(tmp_path, *words)
        assert (refused.returncode, "There is no project at" in refused.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_the_project_may_be_named_before_the_command(folder: Path, tmp_path: Path) -> None:
    assert "1 running" in perdure(tmp_path, "--project", str(folder), "status").stdout


def test_a_run_that_nobody_can_work_on_is_told_of_and_left(tmp_path: Path) -> None:
    started = perdure(tmp_path, "start", "oder", "--id", "order-9")
    assert (started.returncode, started.stdout) == (0, "order-9\n")
    assert "no definition of workflow 'oder'" in started.stderr
    worked = perdure(tmp_path, "worker", "--until-idle")
    assert worked.returncode == 1
    assert "order-9 is left open: There is no definition of workflow 'oder'" in worked.stderr
    assert "1 running" in perdure(tmp_path, "status").stdout


def test_a_worker_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    perdure(tmp_path, "start", "sleeper", "--import", "sleeper")
    command = [sys.executable, "-m", "perdure.cli", "worker", "--until-idle", "--import", "sleeper"]
    worker = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith("working for")
        worker.terminate()
        _, errors = worker.communicate(timeout=20)
    finally:
        worker.kill()
    assert worker.returncode == 130 and "ending" in errors and "Traceback" not in errors


def test_a_module_may_be_written_with_temporals_own_decorators(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(TEMPORAL)
    done = perdure(tmp_path, "start", "Greet", '"Bo"', "--import", "greeting", "--wait")
    assert done.stdout.splitlines()[-1] == '"Hello, Bo"', done.stderr
    perdure(tmp_path, "start", "Greet", '"Jo"', "--id", "greet-2")
    worked = perdure(tmp_path, "worker", "--import", "greeting", "--until-idle")
    assert worked.returncode == 0 and "greet-2 completed" in worked.stdout, worked.stderr


def test_a_worker_ends_what_is_open(folder: Path) -> None:
    worked = perdure(folder, "worker", "--import", "orders", "--until-idle")
    assert worked.returncode == 0, worked.stderr
    assert "order-3 completed" in worked.stdout


@pytest.mark.parametrize(
    "command",
    [
        "runs",
        "show",
        "history",
        "sql",
        "status",
        "start",
        "result",
        "signal",
        "query",
        "cancel",
        "terminate",
        "worker",
        "address",
        "token",
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"example: perdure {command}" in capsys.readouterr().out

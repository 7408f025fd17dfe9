"""Sessions and processes: which file, who owns it, how it ends, and what survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_cells import cell, gates

import perdure
from perdure.authoring.registry import Registry
from perdure.project_file import project_file
from perdure.session import Session, WaitInterrupted, use
from perdure.testing import session as project

MEMBER = Path(__file__).with_name("session_member.py")


class Member:
    """Another process of the project."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(MEMBER), str(folder), *options],
            env={**os.environ, "GATE": str(folder / "gate")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.until("ready")

    def ask(self, line: str, answer: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.until(answer)

    def until(self, word: str) -> str:
        """The rest of the next line that begins with `word`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError(f"the member ended without saying {word!r}")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    started: list[Member] = []
    yield started
    for member in started:
        member.end()


def test_where_a_projects_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERDURE_HOME", raising=False)
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_file() == deep / ".perdure" / "history.duckdb"
    (tmp_path / ".perdure").mkdir()
    assert project_file() == tmp_path / ".perdure" / "history.duckdb"
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    assert project_file() == tmp_path / "home" / "history.duckdb"
    assert project_file(tmp_path / "given") == tmp_path / "given" / "history.duckdb"
    assert project_file(tmp_path / "other.duckdb") == tmp_path / "other.duckdb"


def test_a_second_file_in_one_process_is_refused(tmp_path: Path) -> None:
    with project(tmp_path / "one", jumping=False):
        assert perdure.session(tmp_path / "one") is perdure.session()
        with pytest.raises(perdure.PerdureError, match=r"has .*one/history\.duckdb open already"):
            perdure.session(tmp_path / "two")


def test_ctrl_c_ends_the_wait_and_not_the_run(tmp_path: Path) -> None:
    registry = Registry()
    with project(tmp_path, jumping=False, registry=registry):
        source = """
            @perdure.activity
            def held(name: str) -> str:
                import worker_cells
                worker_cells.gates.stop(name)
                return "released"

            @perdure.workflow
            async def holding(name: str) -> str:
                return await held(name)
        """
        cell(registry, "workflow", "holding", "v1", source)
        cell(registry, "activity", "held", "v1", source)
        run = perdure.start("holding", "interrupted", id="holding-1")
        gates.wait("interrupted")
        interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(WaitInterrupted, match=r"holding-1 goes on. perdure.run\('holding-1'\)"):
            run.result()
        gates.open("interrupted")
        assert run.result() == "released"


def test_closing_does_not_wait_for_an_activity_that_computes(tmp_path: Path) -> None:
    registry = Registry()
    with project(tmp_path, jumping=False, registry=registry) as opened:
        source = """
            @perdure.activity
            def held(name: str) -> str:
                import worker_cells
                worker_cells.gates.stop(name)
                return "released"

            @perdure.workflow
            async def holding(name: str) -> str:
                return await held(name)
        """
        cell(registry, "workflow", "holding", "v1", source)
        cell(registry, "activity", "held", "v1", source)
        perdure.start("holding", "abandoned", id="holding-2")
        gates.wait("abandoned")
        began = time.monotonic()
        opened.close()
        assert time.monotonic() - began < 3
    gates.open("abandoned")
    with project(tmp_path, jumping=False, registry=registry):
        run = perdure.run("holding-2")
        assert run.result(timeout="30s") == "released"
        assert run.attempts()["outcome"].tolist() == ["lost", "completed"]


def test_a_fork_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with project(tmp_path, jumping=False) as opened:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                perdure.runs()
                said = "listed"
            except BaseException as error:
                said = type(error).__name__
            os.write(writer, said.encode())
            opened.close()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            assert stream.read() != "listed"
        os.waitpid(child, 0)
        assert perdure.runs().empty


def test_processes_share_a_project_and_take_over(tmp_path: Path, members: list[Member]) -> None:
    owner = Member(tmp_path)
    members.append(owner)
    joined = Member(tmp_path)
    members.append(joined)
    assert (owner.ask("role", "role"), joined.ask("role", "role")) == ("owner", "joined")
    run_id = owner.ask("start letters-1 2", "started")
    assert joined.ask("start letters-1 2", "started") == run_id

    owner.process.send_signal(signal.SIGKILL)
    owner.process.wait()
    with Session(tmp_path, worker=False) as here:
        before = use(here)
        run = perdure.run("letters-1")
        run.signal("post", "a")
        run.signal("post", "b")
        assert run.result(timeout="60s") == ["a stamped", "b stamped"]
        use(before)
    assert joined.ask("result letters-1", "result") == "['a stamped', 'b stamped']"
    assert joined.ask("role", "role") == "owner"
    assert float(joined.ask("close", "closed")) < 1.5


def test_an_activity_goes_on_while_its_process_takes_over(tmp_path: Path, members: list[Member]) -> None:
    owner = Member(tmp_path, "bare")
    members.append(owner)
    worker = Member(tmp_path)
    members.append(worker)
    worker.ask("start letters-3", "started")
    with Session(tmp_path, worker=False) as here:
        before = use(here)
        run = perdure.run("letters-3")
        run.signal("post", "slow")
        here.wait(attempt_started(here, "letters-3"))
        owner.process.kill()
        owner.process.wait()
        assert worker.ask("role", "role") in ("owner", "joined")  # whoever of the two was faster
        (tmp_path / "gate").touch()
        assert run.result(timeout="60s") == ["slow stamped"]
        assert run.attempts()["outcome"].tolist() == ["completed"]
        use(before)


async def attempt_started(here: Session, workflow_id: str) -> None:
    """Returns when an activity of the run has been taken by a worker."""
    async for _ in here.project.watch(workflow_id):
        if (await here.project.read_run(workflow_id)).attempt_starts:
            return


def test_what_another_process_prints_is_shown_here(
    tmp_path: Path, members: list[Member], capsys: pytest.CaptureFixture[str]
) -> None:
    member = Member(tmp_path)
    members.append(member)
    member.ask("start letters-2", "started")
    with Session(tmp_path, worker=False) as here:
        before = use(here)
        run = perdure.run("letters-2")
        run.signal("post", "far")
        assert run.result(timeout="60s") == ["far stamped"]
        use(before)
    assert "stamping far\n" in capsys.readouterr().out

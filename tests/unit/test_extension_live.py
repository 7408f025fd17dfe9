"""Following a run for its displays."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import view_runs

from perdure import view
from perdure.engine.errors import Code, ServiceError
from perdure.engine.records import ExecutionClosed, RunRecords
from perdure_jupyter import live
from perdure_jupyter.live import Follower


class Project:
    """A project with one run, and the session that has it open."""

    def __init__(self) -> None:
        self.project = self.client = self
        self.records: RunRecords = view_runs.backing_off()
        self.changes: asyncio.Queue[str] = asyncio.Queue()
        self.reads = 0
        self.acts: list[str] = []

    async def watch(self, workflow_id: str, run_id: str) -> AsyncIterator[tuple[()]]:
        yield ()
        while self.records.closed is None:
            if await self.changes.get() == "gone":
                raise ServiceError(Code.UNAVAILABLE, "the owner has gone")
            yield ()

    async def read_run(self, workflow_id: str, run_id: str) -> RunRecords:
        self.reads += 1
        return self.records

    def close(self) -> None:
        self.records.closed = ExecutionClosed(self.records.started.run_id, 2, view_runs.ns(9), 9, 9)
        self.changes.put_nowait("closed")

    def get_workflow_handle(self, workflow_id: str, *, run_id: str) -> Any:
        return self

    async def cancel(self) -> None:
        self.acts.append("cancel")

    async def terminate(self, reason: str) -> None:
        self.acts.append("terminate")


class Output:
    """A display that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.settled: view.Timeline | None = None
        self.kept = 0
        self.changed = asyncio.Event()

    def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message | {"at": time.monotonic()})
        self.changed.set()

    def keep(self, timeline: view.Timeline) -> None:
        self.kept += 1

    def settle(self, timeline: view.Timeline) -> None:
        self.settled = timeline

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]

    async def gets(self, kind: str, number: int) -> None:
        while len(self.of(kind)) < number:
            self.changed.clear()
            await self.changed.wait()


class Stage:
    """A follower, the run that it follows, and one output."""

    def __init__(self) -> None:
        self.project = Project()
        self.output = Output()
        self.ended = asyncio.Event()
        self.follower = Follower(self.project, "payment-7", "run", lambda _: self.ended.set())

    async def does(self, kind: str, **more: Any) -> None:
        await self.follower.receive(self.output, {"kind": kind, **more})


def on_stage(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        await stage.follower.add(stage.output)
        async with asyncio.timeout(20):
            await play(stage)
        await stage.follower.close()

    asyncio.run(run())


def test_nothing_is_drawn_while_nobody_looks() -> None:
    async def play(stage: Stage) -> None:
        stage.project.close()
        await stage.ended.wait()
        assert stage.output.of("frame") == []
        assert stage.output.settled is not None

    on_stage(play)


def test_who_comes_to_look_gets_a_frame_and_then_each_change() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        stage.project.changes.put_nowait("change")
        await stage.output.gets("frame", 2)
        assert stage.output.of("frame")[-1]["open"] is True

    on_stage(play)


def test_frames_keep_their_distance() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        for _ in range(4):
            stage.project.changes.put_nowait("change")
        await stage.output.gets("frame", 5)
        times = [frame["at"] for frame in stage.output.of("frame")][-4:]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.9 * live.FRAME

    on_stage(play)


def test_views_that_went_get_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        await stage.does("hidden")
        seen = len(stage.output.messages)
        stage.project.close()
        await stage.ended.wait()
        assert len(stage.output.messages) == seen

    on_stage(play)


def test_a_page_that_fell_silent_gets_nothing_until_it_is_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        monkeypatch.setattr(live, "SILENCE", 0.0)
        await stage.does("refresh")
        assert len(stage.output.of("frame")) == 1
        monkeypatch.setattr(live, "SILENCE", 600.0)
        await stage.does("tick")
        assert len(stage.output.of("frame")) == 2

    on_stage(play)


def test_the_last_frame_and_the_static_picture_show_the_end() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        stage.project.close()
        await stage.ended.wait()
        assert stage.output.of("frame")[-1]["open"] is False
        assert stage.output.settled is not None
        assert stage.output.settled.end == view_runs.ns(9)

    on_stage(play)


def test_the_static_picture_is_renewed_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        assert stage.output.kept == 0
        monkeypatch.setattr(live, "KEEP", 0.0)
        stage.project.changes.put_nowait("change")
        stage.project.changes.put_nowait("change")
        await stage.output.gets("frame", 3)
        assert stage.output.kept >= 1

    on_stage(play)


def test_the_owner_of_the_file_may_change() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        stage.project.changes.put_nowait("gone")
        await stage.output.gets("notice", 1)
        assert stage.output.of("notice")[0]["text"] == "reconnecting…"
        stage.project.close()
        await stage.ended.wait()
        assert stage.output.settled is not None

    on_stage(play)


def test_details_and_ticks_do_not_read_the_run_again() -> None:
    async def play(stage: Stage) -> None:
        await stage.does("shown")
        await stage.output.gets("frame", 1)
        reads = stage.project.reads
        await stage.does("tick")
        await stage.does("details", row=1)
        assert stage.output.of("details")[0]["html"].startswith("<h4>")
        assert stage.project.reads <= reads + 1

    on_stage(play)


@pytest.mark.parametrize(
    ("kind", "said"), [("cancel", "cancellation requested"), ("terminate", "terminated")]
)
def test_buttons_act_and_say_so(kind: str, said: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.does(kind)
        assert stage.project.acts == [kind]
        assert stage.output.of("notice")[0]["text"] == said

    on_stage(play)


def test_the_last_output_that_goes_takes_the_task_with_it() -> None:
    async def play(stage: Stage) -> None:
        await stage.follower.remove(stage.output)
        await stage.ended.wait()
        names = {task.get_name() for task in asyncio.all_tasks() if not task.cancelling()}
        assert "picture of payment-7" not in names

    on_stage(play)

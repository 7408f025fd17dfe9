"""Keeps the displays of runs up to date.

    engine commits -> project.watch -> one Follower for each run -> a frame for each of its displays -> front end

One task on the session's loop follows a run, however many cells show it. It draws only while a front end shows one of them, and never
more often than every `FRAME` seconds: what happens in between is in the next frame. A front end says when a view appears
and goes ("shown", "hidden"), and asks for the picture at a later instant ("tick") while somebody can see it, for bars
grow; a page that was closed without a word falls silent and gets nothing more. The static picture in each output, which is what
the notebook's file keeps, is renewed once in a while; when the run closes, the last frame is sent, the static picture
shows the end, and the task ends.

Drawing happens on a thread of the loop's pool. Messages from front ends arrive on the kernel's threads and hop to the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

from perdure import view
from perdure.engine.errors import Code, ServiceError
from perdure.engine.records import RunRecords
from perdure.errors import PerdureError
from perdure.frontend.loops import submit
from perdure_jupyter.frame import details, frame

FRAME = 0.2  # seconds between two frames, at least
SHARE = 4  # a run that takes long to draw is drawn less often: pauses are so many times as long
SILENCE = 600.0  # seconds without a word from a front end after which nobody is there
KEEP = 60.0  # seconds between two renewals of the static picture, at least
RETRY = (0.5, 5.0)  # seconds before watching again when the file's owner went


class Display(Protocol):
    """One output that shows the run."""

    def send(self, message: dict[str, Any]) -> None:
        """Passes a message to the output's views."""
        ...

    def keep(self, timeline: view.Timeline) -> None:
        """Renews the static picture, for the notebook's file."""
        ...

    def settle(self, timeline: view.Timeline) -> None:
        """The run is closed: the output becomes the static picture."""
        ...


class Audience:
    """Who looks at one display."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.views = 0
        self.heard = time.monotonic()

    @property
    def present(self) -> bool:
        return self.views > 0 and time.monotonic() - self.heard < SILENCE


class Follower:
    """Follows one run for all displays of it. Everything but `submit` is to be called on the session's loop.

    Args:
        session: the perdure session, whose project and client are asked.
        done: called when the run is closed and nothing is left to do.
    """

    def __init__(self, session: Any, workflow_id: str, run_id: str, done: Callable[[Follower], None]) -> None:
        self.workflow_id = workflow_id
        self.run_id = run_id
        self._session = session
        self._done = done
        self._audiences: dict[Display, Audience] = {}
        self._records: RunRecords | None = None
        self._kept = time.monotonic()
        self._drawing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def submit(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine of this follower on the session's loop, from any thread. Raises ClosedLoopError after the end."""
        submit(self._session.loop, work)

    async def add(self, display: Display) -> None:
        self._audiences[display] = Audience(display)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name=f"picture of {self.workflow_id}")

    async def remove(self, display: Display) -> None:
        """The output is gone for good. The last one takes the task with it."""
        self._audiences.pop(display, None)
        if not self._audiences:
            await self.close()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._done(self)

    # --- following

    async def _follow(self) -> None:
        delay = RETRY[0]
        while True:
            try:
                async with aclosing(self._session.project.watch(self.workflow_id, self.run_id)) as changes:
                    async for _ in changes:
                        self._records = None
                        began = time.monotonic()
                        await self._draw()
                        await self._keep()
                        await asyncio.sleep(max(FRAME, SHARE * (time.monotonic() - began)))
                self._records = None
                if await self._finish():
                    return
            except ServiceError as error:
                if error.code is not Code.UNAVAILABLE:
                    self._tell(error.message)
                    return
                # The process that owns the file went; another one is about to take over.
                self._tell("reconnecting…")
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY[1])

    def _watched(self) -> list[Audience]:
        return [audience for audience in self._audiences.values() if audience.present]

    async def _timeline(self) -> view.Timeline:
        if self._records is None:
            self._records = await self._session.project.read_run(self.workflow_id, self.run_id)
        return await asyncio.to_thread(view.timeline, self._records, time.time_ns())

    async def _draw(self) -> None:
        """Sends a frame to everyone who looks."""
        async with self._drawing:
            if watched := self._watched():
                message = await asyncio.to_thread(frame, await self._timeline())
                for audience in watched:
                    audience.display.send(message)

    async def _keep(self) -> None:
        if time.monotonic() - self._kept < KEEP:
            return
        self._kept = time.monotonic()
        timeline = await self._timeline()
        if timeline.end is None:
            for display in list(self._audiences):
                await asyncio.to_thread(display.keep, timeline)

    async def _finish(self) -> bool:
        timeline = await self._timeline()
        if timeline.end is None:
            return False
        await self._draw()
        for display in list(self._audiences):
            await asyncio.to_thread(display.settle, timeline)
        self._audiences.clear()
        self._done(self)
        return True

    def _tell(self, text: str) -> None:
        for audience in self._watched():
            audience.display.send({"kind": "notice", "text": text})

    # --- what people do

    async def receive(self, display: Display, message: dict[str, Any]) -> None:
        """Acts on a message of a front end."""
        audience = self._audiences.get(display)
        if audience is None:
            return
        audience.heard = time.monotonic()
        kind = message.get("kind")
        try:
            if kind == "shown":
                audience.views += 1
                await self._draw()
            elif kind == "hidden":
                audience.views = max(audience.views - 1, 0)
            elif kind in ("tick", "refresh"):
                if kind == "refresh":
                    self._records = None
                await self._draw()
            elif kind == "details":
                row = int(message["row"])
                html = await asyncio.to_thread(details, await self._timeline(), row)
                display.send({"kind": "details", "row": row, "html": html})
            elif kind in ("cancel", "terminate"):
                await self._end(kind)
                said = "cancellation requested" if kind == "cancel" else "terminated"
                display.send({"kind": "notice", "text": said})
        except (PerdureError, ServiceError) as error:
            display.send({"kind": "notice", "text": str(error)})

    async def _end(self, kind: str) -> None:
        from temporalio.service import RPCError

        handle = self._session.client.get_workflow_handle(self.workflow_id, run_id=self.run_id)
        try:
            await (handle.cancel() if kind == "cancel" else handle.terminate("terminated in the notebook"))
        except RPCError as error:
            raise PerdureError(error.message) from error

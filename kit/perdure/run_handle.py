"""The handle of one run.

A `Run` holds two names, the workflow's id and the run's, and asks the session for everything else. Its
methods block the calling thread, not the engine or the worker, which have their own; `await run` waits on
the caller's loop. While either waits, what the run's activities print appears under the waiting cell."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sys
import time
from collections.abc import Callable, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from perdure.errors import PerdureError, RunError
from perdure.run_errors import WaitTimeout as WaitTimeout
from perdure.run_errors import in_words
from perdure.session import Session, session

if TYPE_CHECKING:
    import pandas as pd
    from temporalio.client import WorkflowHandle

    from perdure.authoring.durations import Duration
    from perdure.engine.records import Output, RunRecords
    from perdure.view import Timeline


Show = Callable[[str, str], None]  # stream, text


_AFTERWARDS = 1.0  # seconds that the last printed lines may take after the result


class Run:
    """A handle of one workflow run.

    Attributes:
        id: the workflow id.
        run_id: the run; "" for the newest of that id.
    """

    def __init__(
        self, id: str, run_id: str = "", *, exact: bool = True, session: Session | None = None
    ) -> None:
        self.id = id
        self.run_id = run_id
        self._exact = exact  # the user named this run; else signals go to its successor, if it has one
        self._session = session
        self._since = time.time_ns()  # what was printed before is not this handle's to show
        self._shown: set[Output] = set()
        self._result_type: Any = None

    @property
    def session(self) -> Session:
        if self._session is None:
            self._session = session()
        elif self._session.closed:
            self._session = _same_home(self._session, self.id)
        return self._session

    @property
    def status(self) -> str:
        """Running, Paused, Completed, Failed, Canceled, Terminated, ContinuedAsNew or TimedOut."""
        from perdure.history.asking import described
        from perdure.history.payloads import status_name

        found = self._wait(described(self.session.client, self.id, self.run_id))
        return status_name(found.workflow_execution_info.status)

    def result(self, timeout: Duration | None = None) -> Any:
        """Waits for the run's end; its result. Ctrl-C and `timeout` end the wait, not the run.

        Raises:
            RunError: the run failed, was cancelled or terminated, or timed out.
            WaitTimeout: it is still open after `timeout`.
        """
        from perdure.starting import seconds

        limit = seconds(timeout, "timeout")
        lines: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        from perdure.frontend.loops import submit

        waiting = submit(
            self.session.loop, self._outcome(lambda stream, text: lines.put((stream, text)), limit)
        )
        waiting.add_done_callback(lambda _: lines.put(None))
        try:
            while (line := lines.get()) is not None:
                _show(*line)
        except KeyboardInterrupt:
            from perdure.session import WaitInterrupted

            waiting.cancel()
            raise WaitInterrupted(self._interrupted()) from None
        return waiting.result()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        from perdure.frontend.loops import hop

        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def show(stream: str, text: str) -> None:
            loop.call_soon_threadsafe(_show, stream, text, context=context)

        waking = asyncio.create_task(_keep_awake())
        try:
            return await hop(self.session.loop, self._outcome(show, None))
        except asyncio.CancelledError as error:
            # How IPython shows it. A subclass could not do this: asyncio.timeout looks for the very type.
            error._render_traceback_ = lambda: [self._interrupted()]  # type: ignore[attr-defined]
            raise
        finally:
            waking.cancel()

    def signal(self, name: str, *args: Any) -> None:
        """Sends a signal; returns when it is in the history."""
        self._wait(self._handle().signal(name, args=list(args)))

    def query(self, name: str, *args: Any) -> Any:
        """Asks the workflow's code, and returns its answer."""
        return self._wait(self._handle().query(name, args=list(args)))

    def update(self, name: str, *args: Any) -> Any:
        """Sends an update, and waits for its result."""
        return self._wait(self._handle().execute_update(name, args=list(args)))

    def cancel(self) -> None:
        """Asks the workflow to end; its code may still clean up."""
        self._wait(self._handle().cancel())

    def terminate(self, reason: str = "") -> None:
        """Ends the run at once; its code is not asked."""
        self._wait(self._handle().terminate(reason=reason or None))

    def reset(self, event: int | None = None, *, to: str = "last", reason: str = "") -> Run:
        """Goes back to a point of the history, and on from there in a new run; this one ends, if it is open.

        Signals and updates that came after the point come again. Activities that completed before it do not run again.

        Args:
            event: go back to before what the workflow did at this event; None: see `to`.
            to: "first" or "last": the workflow task to run again.
        """
        from perdure.rewinding import reset

        run_id = self._wait(reset(self.session.client, self.id, self.run_id, event, to, reason))
        fresh = Run(self.id, run_id, session=self.session)
        fresh._result_type = self._result_type
        return fresh

    def pause(self, reason: str = "") -> None:
        """Holds the run: nothing of it is given to workers until it is resumed. What is running may finish."""
        from perdure.rewinding import pause

        self._wait(pause(self.session.client, self.id, self.run_id, reason))

    def resume(self, reason: str = "") -> None:
        """Lets a paused run go on."""
        from perdure.rewinding import resume

        self._wait(resume(self.session.client, self.id, self.run_id, reason))

    def records(self) -> RunRecords:
        """Everything that the file keeps of this run."""
        records: RunRecords = self._wait(self.session.project.read_run(self.id, self.run_id))
        return records

    def history(self) -> pd.DataFrame:
        """One row an event."""
        from perdure.history import events_frame

        return events_frame(self.records())

    def attempts(self) -> pd.DataFrame:
        """One row an attempt of an activity, with those that Temporal forgets."""
        from perdure.history import attempts_frame

        return attempts_frame(self.records())

    def timeline(self) -> Timeline:
        """The run as a picture of rows, attempts and waits; it draws itself."""
        from perdure.view import timeline

        return timeline(self.records(), time.time_ns())

    def to_json(self) -> str:
        """The history in Temporal's JSON, for its CLI, web UI and Replayer."""
        from perdure.history import to_json

        return to_json(self.records())

    def move(self, version: str | None = None) -> None:
        """Moves the open run to a version of its workflow (None: the current one), if a replay shows that
        it fits.

        Raises:
            RunError: the history does not fit; the event and the line that differ are named.
        """
        self._wait(self._move(version))

    def __repr__(self) -> str:
        return f"<Run {self.id} ({self.run_id})>" if self.run_id else f"<Run {self.id}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The timeline now, as HTML with an inline SVG and as text."""
        try:
            return self.timeline()._repr_mimebundle_(**kwargs)
        except PerdureError as error:
            return {"text/plain": f"{self!r}: {error}"}

    def _interrupted(self) -> str:
        return f"The wait was interrupted; {self.id} goes on. perdure.run({self.id!r}).result() waits again."

    def _handle(self, run_id: str | None = None) -> WorkflowHandle[Any, Any]:
        exact = run_id if run_id is not None else self.run_id if self._exact else ""
        return self.session.client.get_workflow_handle(
            self.id, run_id=exact or None, result_type=self._result_type
        )

    def _wait(self, work: Any) -> Any:
        return self.session.wait(in_words(work, self), f"The wait was interrupted; {self.id} goes on.")

    async def _outcome(self, show: Show, limit: float | None) -> Any:
        """The result, with what is printed meanwhile. On the session's loop."""
        from perdure.troubles import heed, trouble

        watching = asyncio.create_task(self._watch(show))
        heeding = asyncio.create_task(heed(self, show))
        try:
            with self.session.awaiting():
                async with asyncio.timeout(limit):
                    return await in_words(self._handle(self.run_id).result(), self)
        except TimeoutError as error:
            if isinstance(error, WaitTimeout):
                raise
            said, remedy = await trouble(self) or ("", "It goes on; wait again, or look at its timeline.")
            raise WaitTimeout(f"{self.id} is still open after {limit:g} s. {said}".rstrip(), remedy) from None
        finally:
            heeding.cancel()
            await asyncio.wait([watching], timeout=_AFTERWARDS if sys.exception() is None else 0.1)
            watching.cancel()
            await asyncio.gather(watching, heeding, return_exceptions=True)

    async def _watch(self, show: Show) -> None:
        """Shows what the run's activities print from now on, and what they printed since this handle was
        made."""
        source: Any = self.session.project.watch(self.id, self.run_id)
        worker = self.session.worker
        async with aclosing(source):
            first = True
            async for lines in source:
                if first and worker is not None:
                    lines = [*worker.printed(self.run_id, self._since), *lines]
                first = False
                for line in lines:
                    if line not in self._shown:
                        self._shown.add(line)
                        show(line.stream, line.text)

    async def _move(self, version: str | None) -> None:
        from perdure.replay.move import move, target_of, version_of

        session = self.session
        check_pinned(session)
        records = await session.project.read_run(self.id, self.run_id)
        name = records.started.workflow_type
        if records.closed is not None:
            raise RunError(f"{self.id} has ended; only open runs move.", "Start a new one.")
        target = await target_of(session.registry, session.project, name, version)
        if session.worker is not None:
            await session.worker.ready()
        wanted = target.definition.version
        if version_of(records) == wanted:
            return
        found = await move(session.client, session.project, records, target)
        if not found.fits:
            raise RunError(
                f"{self.id} cannot move to version {wanted}: {found.reason}.",
                "It stays on its version; change the code so that what has happened still fits.",
            )


def check_pinned(here: Session) -> None:
    if here.cluster is not None:
        raise RunError(
            f"Runs on {here.home} are not pinned to versions: they go on with the code that this process has now.",
            "Changed steps of open runs need workflow.patched(); see Temporal's pages on versioning.",
        )


def _same_home(before: Session, id: str) -> Session:
    """The default session, if it is where a run of a closed one is. Raises RunError."""
    here = session()
    if here.home == before.home:
        return here
    if before.cluster is not None:
        remedy = f"perdure.connect({before.cluster.target.address!r}) connects to it again."
    else:
        remedy = "perdure.disconnect() goes back to the file."
    raise RunError(f"{id} is a run of {before.home}; this process is at {here.home} now.", remedy)


async def _keep_awake() -> None:
    """Turns the loop over now and then. ipykernel cancels an awaited cell by tornado's `add_callback`,
    which does not wake the loop when a signal handler calls it: an idle loop would hear of the interrupt
    when it wakes next.
    """
    while True:  # noqa: ASYNC110  # waking is the point
        await asyncio.sleep(0.1)


def _show(stream: str, text: str) -> None:
    target = sys.stderr if stream == "stderr" else sys.stdout
    target.write(text)
    target.flush()

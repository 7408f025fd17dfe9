"""What activities print: kept with the run, not thrown into whichever cell ran last.

    print() in an activity ── sys.stdout is a `Redirect` ──┐
    activity.logger.info() ── a logging handler ───────────┤ the attempt's `Printer` (a context variable)
                                                           ▼
                     `Outputs`: batches lines ──> project.output ──> the file, and who watches the run

A context variable tells whose text it is, so it holds for async activities (their task) and for sync ones
(the SDK copies the context into the thread). Text printed anywhere else passes through untouched. A cell
that waits for the run sees the text because it watches the run, in whichever process the activity ran.

The locks here are reentrant: Python's garbage collector may run at any allocation, and what it collects may
print, for example the warning that a coroutine was never awaited. A line then comes while another one is
being taken, on the same thread.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

import temporalio.activity
import temporalio.workflow
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from perdure.engine.errors import ServiceError
from perdure.engine.records import Output
from perdure.engine.rpc.common import Token

WORKFLOW_THREADS = "perdure-workflow"  # how the threads are named that run workflow code
_DELAY = 0.03  # seconds that a line may wait for others
_MOST = 20_000  # lines that are kept while the owner of the file cannot be reached
_RECENT = 1_000  # lines that are kept for a cell that begins to wait a moment after it started a run

_printer: ContextVar[Printer | None] = ContextVar("perdure_printer", default=None)


class Outputs:
    """Collects lines from any thread; sends them in batches from its loop.

    Args:
        send: keeps lines with their runs: `Project.output`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Sequence[Output]], Awaitable[None]],
    ) -> None:
        self._loop = loop
        self._send = send
        self._lines: list[Output] = []
        self._lock = threading.RLock()
        self._scheduled = False
        self._sending = asyncio.Lock()
        self._recent: deque[Output] = deque(maxlen=_RECENT)
        self.error = ""  # why the last batch could not be sent

    def printer(self, info: temporalio.activity.Info) -> Printer:
        return Printer(self, info.workflow_run_id or "", _scheduled_event_id(info.task_token), info.attempt)

    def put(self, line: Output) -> None:
        """Takes a line; from any thread."""
        with self._lock:
            self._lines.append(line)
            self._recent.append(line)
            due = not self._scheduled
            self._scheduled = True
        if due and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._later)

    def recent(self, run_id: str, since: int) -> list[Output]:
        """The last lines of a run that were printed after `since`."""
        with self._lock:
            return [line for line in self._recent if line.run_id == run_id and line.time > since]

    async def flush(self) -> None:
        """Sends what there is. Lines that cannot be sent are kept for the next time."""
        async with self._sending:
            with self._lock:
                lines, self._lines, self._scheduled = self._lines, [], False
            if not lines:
                return
            try:
                await self._send(lines)
                self.error = ""
            except Exception as error:  # printing must never fail an activity; `status` shows it
                self.error = f"{len(lines)} printed lines wait: {error}"
                with self._lock:
                    self._lines = (lines + self._lines)[-_MOST:]

    def detach(self) -> None:
        """Sends nothing any more, and lets go of who sent."""
        self._send = _nowhere

    def _later(self) -> None:
        self._loop.call_later(_DELAY, lambda: asyncio.ensure_future(self.flush()))


async def _nowhere(lines: Sequence[Output]) -> None:
    """What is printed after the session was closed is not kept."""


def _scheduled_event_id(token: bytes) -> int:
    """Of the activity that a task token is for; 0 for a token of another service than perdure's."""
    try:
        return Token.decode(token).id
    except ServiceError:
        return 0


class Printer:
    """The text of one attempt, cut into lines. `activity` 0 is the workflow's own code."""

    def __init__(self, outputs: Outputs, run_id: str, activity: int, attempt: int) -> None:
        self._outputs = outputs
        self._run_id = run_id
        self._activity = activity
        self._attempt = attempt
        self._parts: dict[str, str] = {}
        self._lock = threading.RLock()
        self.printed = False

    def write(self, stream: str, text: str) -> None:
        with self._lock:
            whole, newline, rest = (self._parts.get(stream, "") + text).rpartition("\n")
            self._parts[stream] = rest
            if newline:
                self._put(stream, whole + newline)

    def close(self) -> None:
        """Sends unfinished lines, too."""
        with self._lock:
            for stream, text in self._parts.items():
                if text:
                    self._put(stream, text + "\n")
            self._parts.clear()

    def _put(self, stream: str, text: str) -> None:
        self.printed = True
        self._outputs.put(Output(self._run_id, self._activity, self._attempt, time.time_ns(), stream, text))


class Redirect:
    """Stands for sys.stdout or sys.stderr: an activity's text goes to its printer, all other text where it
    went before."""

    def __init__(self, stream: Any, name: str, workflow: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._name = name
        self._workflow = workflow

    def write(self, text: str) -> int:
        printer = _printer.get()
        if printer is not None:
            printer.write(self._name, text)
        elif (
            threading.current_thread().name.startswith(WORKFLOW_THREADS) and temporalio.workflow.in_workflow()
        ):
            self._workflow(self._name, text)
        else:
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Redirection:
    """Puts the redirects and the log handler in place, and takes them away."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._workflows: dict[str, Printer] = {}
        self._handler = _ActivityLog()

    def install(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, Redirect):
                setattr(sys, name, Redirect(stream, name, self._workflow_text))
        logger = logging.getLogger("temporalio.activity")
        logger.addHandler(self._handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        # The timeline says which activity it was; the SDK would add twelve fields to each message.
        temporalio.activity.logger.activity_info_on_message = False

    def remove(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, Redirect):
                setattr(sys, name, stream._stream)
        logging.getLogger("temporalio.activity").removeHandler(self._handler)

    def _workflow_text(self, stream: str, text: str) -> None:
        """Text of workflow code is kept once: a replay prints it again."""
        if temporalio.workflow.unsafe.is_replaying():
            return
        run_id = temporalio.workflow.info().run_id
        printer = self._workflows.setdefault(run_id, Printer(self._outputs, run_id, 0, 0))
        printer.write(stream, text)


class _ActivityLog(logging.Handler):
    """`activity.logger` -> the run's log. The SDK's own notice of a failed attempt is left out: the history
    has it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        printer = _printer.get()
        if printer is not None and not hasattr(record, "__temporal_error_identifier"):
            printer.write("log", self.format(record) + "\n")


class PrintingInterceptor(Interceptor):
    """Gives each attempt its printer."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Printing(next, self._outputs)


class _Printing(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, outputs: Outputs) -> None:
        super().__init__(next)
        self._outputs = outputs

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        printer = self._outputs.printer(temporalio.activity.info())
        token = _printer.set(printer)
        try:
            return await super().execute_activity(input)
        finally:
            _printer.reset(token)
            printer.close()
            if printer.printed:  # before the result: who waits for the run then sees all that it printed
                await self._outputs.flush()

"""Which line of a definition issued which command, seen while the SDK replays it.

`TracingRunner` wraps the runner that makes workflow instances. While an instance is activated, a trace
function watches the calls: when the SDK adds a command, the innermost frame of the definition's own file is
the line that asked for it. A command that a task issues on its own (one of several awaited together) has no
such frame below it; then it is the line at which the definition was last seen waiting. Commands themselves
are read from each activation's completion.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

_ADDS_COMMAND = "_add_command"  # of the SDK's workflow instance; if it is renamed, only line numbers are lost


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a replay: its field name in the SDK's completion, what it is about, and its line (0:
    unknown)."""

    kind: str
    subject: str
    line: int


@dataclass(slots=True)
class Trace:
    """What a replay did: commands in order, and the first error that the workflow's code raised, if any."""

    file: str
    commands: list[Command] = field(default_factory=list)
    failure: str = ""
    last_line: int = 0


class TracingRunner(WorkflowRunner):
    """Makes the instances of `inner`, and notes what they do.

    Args:
        trace: is filled; `trace.file` is the file name of the definition's code.
    """

    def __init__(self, inner: WorkflowRunner, trace: Trace) -> None:
        self._inner = inner
        self._trace = trace

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Traced(self._inner.create_instance(det), self._trace)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._inner.set_worker_level_failure_exception_types(types)


class _Traced(WorkflowInstance):
    def __init__(self, inner: WorkflowInstance, trace: Trace) -> None:
        self._inner = inner
        self._trace = trace
        self._lines: list[int] = []

    def activate(self, act: Any) -> Any:
        before = sys.gettrace()
        self._lines = []
        sys.settrace(self._on_call)
        try:
            completion = self._inner.activate(act)
        finally:
            sys.settrace(before)
        self._note(completion)
        return completion

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._inner.get_external_store_context(command_info)

    def get_info(self) -> Any:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename == self._trace.file:
            return self._on_line
        if frame.f_code.co_name == _ADDS_COMMAND:
            self._lines.append(self._own_line(frame) or self._trace.last_line)
        return None

    def _on_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self._trace.last_line = frame.f_lineno
        return self._on_line

    def _own_line(self, frame: FrameType | None) -> int:
        while frame is not None and frame.f_code.co_filename != self._trace.file:
            frame = frame.f_back
        return frame.f_lineno if frame is not None else 0

    def _note(self, completion: Any) -> None:
        if completion.HasField("failed"):
            self._trace.failure = self._trace.failure or completion.failed.failure.message
            return
        # A command that was withdrawn in the same activation leaves a line too many: then the last line serves.
        commands = completion.successful.commands
        lines = self._lines if len(self._lines) == len(commands) else [self._trace.last_line] * len(commands)
        self._trace.commands += [
            _command(command, line) for command, line in zip(commands, lines, strict=True)
        ]


def _command(command: Any, line: int) -> Command:
    kind = command.WhichOneof("variant")
    held = getattr(command, kind)
    for name in ("activity_type", "workflow_type", "signal_name", "patch_id"):
        if name in held.DESCRIPTOR.fields_by_name and getattr(held, name):
            return Command(kind, str(getattr(held, name)), line)
    return Command(kind, "", line)

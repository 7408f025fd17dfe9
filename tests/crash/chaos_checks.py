"""What must be true after the kills, told from three accounts: the file, the ledger, and what was acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chaos_flows
import history_rules
from temporalio.api.enums.v1 import EventType
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from perdure.authoring.registry import registry, target_of
from perdure.engine.records import Definition, RunRecords
from perdure.store import Store

_STOPPED = (Status.WORKFLOW_EXECUTION_STATUS_TERMINATED, Status.WORKFLOW_EXECUTION_STATUS_CANCELED)
_CLOSINGS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}


ANY: Any = object()  # an answer that may be any
Step = tuple[str, int, Any]  # what, number, the answer


@dataclass(slots=True)
class Case:
    """A workflow that the driver runs: what it wants of it, and what it was told.

    `acknowledged` and `sends` are by (what, number): ("start", 0), ("signal", n), ("update", n), ("result", 0).
    `steps`: a script (see `chaos_scripts`), if it follows one; `late`: its last part, asked once the case is `calm`.
    `checked`: its last run has completed, with the result that is expected.
    """

    id: str
    workflow: str
    args: list[int]
    expected: int
    signals: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    late: list[Step] = field(default_factory=list)
    checked: bool = True
    calm: bool = False
    acknowledged: dict[tuple[str, int], Any] = field(default_factory=dict)
    sends: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def started(self) -> bool:
        return ("start", 0) in self.acknowledged

    @property
    def ended(self) -> bool:
        if self.steps:
            return not self._left([*self.steps, *self.late])
        return ("result", 0) in self.acknowledged

    @property
    def resting(self) -> bool:
        """Nothing is to be done for it as long as processes are killed."""
        return self.ended or (not self.calm and not self.wanting())

    def _left(self, steps: list[Step]) -> list[tuple[str, int]]:
        return [(what, number) for what, number, _ in steps if (what, number) not in self.acknowledged]

    def wanting(self) -> list[tuple[str, int]]:
        """What is to be done next: the start; then the result, and one signal and one update after another."""
        if self.ended:
            return []
        if self.steps:
            return self._left([*self.steps, *(self.late if self.calm else [])])[:1]
        if not self.started:
            return [("start", 0)]
        wanted = [("result", 0)]
        for what, numbers in (("signal", self.signals), ("update", self.updates)):
            left = [(what, number) for number in numbers if (what, number) not in self.acknowledged]
            wanted += left[:1]
        return wanted

    def acknowledge(self, what: str, number: int, answer: Any) -> None:
        self.acknowledged[what, number] = answer


@dataclass(slots=True)
class Findings:
    """Figures, and every sentence that should not be."""

    cases: int = 0
    runs: int = 0
    activities: int = 0
    attempts: int = 0
    lost: int = 0
    acknowledged: int = 0
    replayed: int = 0
    events: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger; `place` is its number in the file."""

    place: int
    what: str
    type: str
    attempt: int
    token: str
    run: str


Ledger = dict[tuple[str, str], list[Line]]  # by run and activity id


def read_ledger(path: Path) -> Ledger:
    ledger: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    text = path.read_text() if path.exists() else ""
    for place, line in enumerate(text.splitlines()):
        found = json.loads(line)
        said = Line(place, found["what"], found["type"], found["attempt"], found["token"], found["run"])
        ledger[found["run"], found["activity"]].append(said)
    return ledger


def check(file: Path, ledger_path: Path, cases: list[Case]) -> Findings:
    """Everything that must be true, checked."""
    findings = Findings(cases=len(cases), acknowledged=sum(len(case.acknowledged) for case in cases))
    runs, definitions = read_file(file)
    ledger = read_ledger(ledger_path)
    by_id: defaultdict[str, list[RunRecords]] = defaultdict(list)
    for records in runs:
        by_id[records.started.workflow_id].append(records)
    for records in runs:
        chain = [other.started.run_id for other in by_id[records.started.workflow_id]]
        findings.runs += not records.started.division
        findings.events += len(records.events)
        findings.attempts += len(records.attempt_starts)
        findings.lost += sum(end.outcome == "lost" for end in records.attempt_ends)
        where = f"{records.started.workflow_id} ({records.started.run_id})"
        told = [*history_problems(records), *activity_problems(records, chain, ledger, findings)]
        if records.closed is not None and records.closed.new_run_id not in ("", *chain):
            told.append(f"the run that follows, {records.closed.new_run_id}, is not in the file")
        findings.problems += [f"{where}: {problem}" for problem in told]
    findings.problems += paid_twice(ledger)
    for case in cases:
        told = [*answer_problems(case)]
        if case.checked:
            told += case_problems(case, by_id.get(case.id, []), definitions)
        findings.problems += [f"{case.id}: {problem}" for problem in told]
    findings.problems += asyncio.run(replay_problems(runs, definitions, findings))
    return findings


Definitions = dict[tuple[str, str], Definition]  # of workflows, by name and version


def read_file(file: Path) -> tuple[list[RunRecords], Definitions]:
    """Every run in the file, oldest first, and every version of a workflow."""
    store = Store.open(file)
    try:
        ids = [
            str(each)
            for each in store.sql(
                "SELECT run_id FROM journal.runs WHERE NOT division LIKE 'Temporal%' ORDER BY start_time_ns"
            )["run_id"]
        ]

        async def read() -> list[RunRecords]:
            found = [await store.read_run(run_id) for run_id in ids]
            return [records for records in found if records is not None]

        versions = {
            (each.name, each.version): each for each in store.definitions() if each.kind == "workflow"
        }
        return asyncio.run(read()), versions
    finally:
        store.close()


def history_problems(records: RunRecords) -> Iterator[str]:
    ids = [event.event_id for event in records.events]
    if ids != list(range(1, len(ids) + 1)):
        yield f"its event ids are not 1, 2, 3 ...: {ids}"
    if not records.started.division:
        yield from history_rules.problems(records.events)
    if records.closed is None:
        yield "it is still open"
    elif records.closed.history_length != len(ids):
        yield f"it closed with {records.closed.history_length} events and has {len(ids)}"
    if records.buffered:
        yield f"{len(records.buffered)} buffered events never got into the history"


def activity_problems(
    records: RunRecords, chain: list[str], ledger: Ledger, findings: Findings
) -> Iterator[str]:
    """Of one run. After a reset it has results of the run that it was copied from, which is one of `chain`."""
    stopped = records.closed is not None and records.closed.status in _STOPPED
    closings: defaultdict[int, list[HistoryEvent]] = defaultdict(list)
    for event in records.events:
        if event.event_type in _CLOSINGS:
            closed: Any = getattr(event, _CLOSINGS[event.event_type])
            closings[closed.scheduled_event_id].append(event)
    for event in records.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            findings.activities += 1
            scheduled = event.activity_task_scheduled_event_attributes
            name = f"activity {scheduled.activity_id} ({scheduled.activity_type.name})"
            ends = closings.pop(event.event_id, [])
            if not ends and stopped:
                continue
            if len(ends) != 1:
                yield f"{name} has {len(ends)} closing events"
            elif ends[0].event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                found = (ledger.get((run_id, scheduled.activity_id), []) for run_id in chain)
                lines = [line for lines in found for line in lines]
                for problem in completed_problems(ends[0], records, lines):
                    yield f"{name} {problem}"
            elif scheduled.activity_type.name != "pay_once" and not stopped:
                yield f"{name} did not complete"
    for scheduled_id in closings:
        yield f"an activity ended that was never scheduled, as event {scheduled_id}"
    starts = Counter((each.scheduled_event_id, each.attempt) for each in records.attempt_starts)
    ended = Counter((each.scheduled_event_id, each.attempt) for each in records.attempt_ends)
    for change in records.activity_changes:
        if change.action == "reset":  # its attempts are counted anew
            for counts in (starts, ended):
                for known in [key for key in counts if key[0] == change.scheduled_event_id]:
                    del counts[known]
    for each, count in (starts - Counter(dict.fromkeys(starts, 1))).items():
        yield f"attempt {each[1]} of the activity of event {each[0]} started {count + 1} times"
    for each, count in (ended - Counter(dict.fromkeys(ended, 1))).items():
        yield f"attempt {each[1]} of the activity of event {each[0]} ended {count + 1} times"


def completed_problems(event: HistoryEvent, records: RunRecords, lines: list[Line]) -> Iterator[str]:
    """The result came from exactly one execution, and nothing was executed after that."""
    completed = event.activity_task_completed_event_attributes
    token = decode(completed.result.payloads[0])[1]
    found = [line for line in lines if line.token == token]
    if len(found) != 1:
        yield f"has the result of an execution that is {len(found)} times in the ledger"
        return
    later = [line for line in lines if line.run == found[0].run and line.place > found[0].place]
    if later:
        yield f"was executed again after its completion: {later}"
    started = records.events[completed.started_event_id - 1].activity_task_started_event_attributes
    if started.attempt != found[0].attempt:
        yield f"was completed by attempt {found[0].attempt}; the history says attempt {started.attempt}"


def paid_twice(ledger: Ledger) -> Iterator[str]:
    for (run_id, activity_id), lines in ledger.items():
        begun = [line for line in lines if line.what == "begin" and line.type == "pay_once"]
        if len(begun) > 1:
            yield f"run {run_id}: pay_once {activity_id} has maximum_attempts=1 and began {len(begun)} times"


def answer_problems(case: Case) -> Iterator[str]:
    """What a script was told is what its steps must answer."""
    for what, number, expected in [*case.steps, *case.late]:
        answer = case.acknowledged.get((what, number))
        if expected is not ANY and answer != expected:
            yield f"{what} {number} answered {answer}; it must be {expected}"


def case_problems(case: Case, chain: list[RunRecords], definitions: Definitions) -> Iterator[str]:
    """What was acknowledged is in the histories of the workflow's runs."""
    if not chain:
        yield "is not in the file" if case.started else "was never started"
        return
    if len({records.started.first_run_id for records in chain}) != 1:
        yield f"was started {len({records.started.first_run_id for records in chain})} times"
    run_id = case.acknowledged.get(("start", 0))
    if run_id is not None and run_id not in {records.started.run_id for records in chain}:
        yield f"its acknowledged run {run_id} is not in the file"
    events = [event for records in chain for event in records.events]
    signals = signals_of(chain[-1])  # that of the last reset, which has them all again
    for number in case.signals:
        acknowledged, sent = ("signal", number) in case.acknowledged, case.sends["signal", number]
        if not acknowledged <= signals[number] <= sent:
            yield f"signal {number} was sent {sent} times and is {signals[number]} times in the history"
    if ("signal_with_start", 1) in case.acknowledged and signals[1] != 1:
        yield f"its first signal is {signals[1]} times in the history"
    for what, number in case.acknowledged:
        if what == "reset" and case.acknowledged[what, number] not in {r.started.run_id for r in chain}:
            yield f"reset {number} made a run that is not in the file"
    yield from update_problems(case, events)
    final = events[-1].workflow_execution_completed_event_attributes
    results = [decode(payload) for payload in final.result.payloads]
    expected: Any = case.expected
    if case.workflow == "edited":  # its result tells which edition of the cell has run
        source = definitions["edited", chain[-1].started.version].source
        expected = [expected, int(source.partition("EDITION = ")[2].split()[0])]
    told = case.acknowledged.get(("result", 0))
    if not results == [expected] == [told]:
        yield f"its result must be {expected}; the history says {results}, the caller was told {told}"


def update_problems(case: Case, events: list[HistoryEvent]) -> Iterator[str]:
    answers: list[Any] = []
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
            outcome = event.workflow_execution_update_completed_event_attributes.outcome
            answers += [decode(payload) for payload in outcome.success.payloads]
    for number in case.updates:
        if ("update", number) not in case.acknowledged:
            continue  # its answer died with a kernel, and the workflow ended before it could be asked for again
        if case.acknowledged["update", number] != number + 1 or number + 1 not in answers:
            yield f"update {number} was answered with {case.acknowledged['update', number]}; history: {answers}"


def signals_of(records: RunRecords) -> Counter[Any]:
    return Counter(
        decode(event.workflow_execution_signaled_event_attributes.input.payloads[0])
        for event in records.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    )


def decode(payload: Any) -> Any:
    return DataConverter.default.payload_converter.from_payload(payload)


async def replay_problems(runs: list[RunRecords], definitions: Definitions, findings: Findings) -> list[str]:
    """The SDK's own Replayer takes every history, with the version of the workflow that the run is pinned to."""
    problems = []
    plain = [target_of(each) for each in chaos_flows.WORKFLOWS]
    for records in runs:
        if records.started.division:
            continue
        version = records.started.version
        pinned = definitions.get((records.started.workflow_type, version)) if version else None
        workflows = [registry.load(pinned).target] if pinned else plain
        replayer = Replayer(workflows=workflows, workflow_runner=UnsandboxedWorkflowRunner())
        history = WorkflowHistory(records.started.workflow_id, list(records.events))
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        findings.replayed += 1
        if result.replay_failure is not None:
            problems.append(f"{history.workflow_id} does not replay: {result.replay_failure}")
    return problems

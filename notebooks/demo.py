"""The demo: runs the first notebook, kills its kernel half-way, runs it again, and checks the promises.

    make demo

Two records of what happened are compared. The history is what perdure wrote into its file. The ledger is a
text file to which the notebook's steps append a line when they really begin and when they really end; perdure
knows nothing of it. Every claim that is printed at the end was checked against both; if one is not true, the
exit status is 1.

Everything is written into build/demo, which is emptied first.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psutil

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent

    from perdure.engine.records import RunRecords

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "01_first_workflow.ipynb"
BUILD = Path(os.environ.get("DEMO_FOLDER", ROOT / "build" / "demo"))
WORK = BUILD / "work"
HISTORY = BUILD / ".perdure" / "history.duckdb"
WORKFLOW_ID = "flights-2013"
PACE = 0.8  # seconds that each step takes at least; without it the year is read before one can look
SETTLED = 0.3  # seconds without a step's end before the kill, so that every end seen is in the file
PATIENCE = 120.0  # seconds that one run of the notebook may take


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger: at `time`, process `pid` noted that `step` begins, ends or fails."""

    time: float
    pid: int
    what: str
    step: str


@dataclass(slots=True)
class Done:
    """What the history says of one activity."""

    step: str
    attempts: int = 0
    outcomes: list[str] = field(default_factory=list)
    completed: int = 0
    pids: list[int] = field(default_factory=list)


def bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def chapter(title: str) -> None:
    print(f"\n{bold(title)}\n", flush=True)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def read_ledger() -> list[Line]:
    path = WORK / "ledger.txt"
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):  # the last line may be half written
            at, pid, what, step = text.split(maxsplit=3)
            lines.append(Line(float(at), int(pid), what, step.strip()))
    return lines


@contextmanager
def holiday_service() -> Iterator[str]:
    """The HTTP service in a process of its own; it answers its first two calls with 503."""
    service = subprocess.Popen(
        [sys.executable, str(ROOT / "notebooks" / "holiday_service.py"), "--fail", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdin is not None
    try:
        yield service.stdout.readline().strip()
    finally:
        service.stdin.close()
        service.wait(10)


def calls(url: str) -> list[int]:
    """The statuses that the service has answered with."""
    with urllib.request.urlopen(f"{url}/calls", timeout=5) as answer:
        answered: list[int] = json.load(answer)["answered"]
    return answered


def start_notebook(number: int, url: str) -> subprocess.Popen[bytes]:
    """Runs the notebook with papermill, in a kernel of its own, as anyone would from a terminal."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR"]
    command += [str(NOTEBOOK), str(BUILD / f"notebook-{number}.ipynb"), "--cwd", str(ROOT / "notebooks")]
    command += ["-p", "workflow_id", WORKFLOW_ID, "-p", "work_folder", str(WORK)]
    command += ["-p", "holiday_url", url, "-p", "pace", str(PACE)]
    environment = {**os.environ, "PERDURE_HOME": str(BUILD / ".perdure"), "JUPYTER_PREFER_ENV_PATH": "1"}
    with (BUILD / f"papermill-{number}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def follow(papermill: subprocess.Popen[bytes], until: Callable[[list[Line]], bool]) -> None:
    """Prints the ledger's new lines until a condition holds or the notebook has ended."""
    seen = len(read_ledger())
    deadline = time.monotonic() + PATIENCE
    while True:
        ended = papermill.poll() is not None
        lines = read_ledger()
        for line in lines[seen:]:
            clock = time.strftime("%H:%M:%S", time.localtime(line.time))
            say(f"{clock}  kernel {line.pid:<8} {line.step:<27} {line.what}")
        seen = len(lines)
        if ended or until(lines):
            return
        if time.monotonic() > deadline:
            papermill.kill()
            raise SystemExit(f"  The notebook took more than {PATIENCE:.0f} s; see {BUILD}/papermill-*.log")
        time.sleep(0.05)


def half_way(lines: list[Line]) -> bool:
    """Six months are clean, others are under way, and no step has ended just now."""
    ended = [line for line in lines if line.what == "ends"]
    months = sum(line.step.startswith("clean_month") for line in ended)
    return months >= 6 and bool(under_way(lines)) and time.time() - ended[-1].time > SETTLED


def under_way(lines: list[Line]) -> list[str]:
    begun = Counter(line.step for line in lines if line.what == "begins")
    begun.subtract(line.step for line in lines if line.what != "begins")
    return [step for step, count in begun.items() if count > 0]


def kill_kernel(papermill: subprocess.Popen[bytes], pid: int) -> None:
    """Kills the kernel with SIGKILL, after making sure that `pid` is the kernel which papermill started."""
    kernel = psutil.Process(pid)
    children = psutil.Process(papermill.pid).children(recursive=True)
    if kernel not in children or "ipykernel_launcher" not in " ".join(kernel.cmdline()):
        raise SystemExit(
            f"  Process {pid} wrote the ledger but is no kernel of papermill: {kernel.cmdline()}"
        )
    os.kill(pid, signal.SIGKILL)


def saved_state() -> str:
    """What the history says while no process has it open; read with DuckDB alone."""
    with duckdb.connect(str(HISTORY), read_only=True) as file:
        ((status, events),) = file.execute(
            "SELECT any_value(status), count(*) FROM executions JOIN events USING (run_id)"
        ).fetchall()
        counts = file.execute("SELECT status, count(*) FROM activities GROUP BY ALL ORDER BY ALL").fetchall()
    activities = ", ".join(f"{count} {name.lower()}" for name, count in counts)
    return f"the run is {status.lower()}, after {events} events; activities: {activities}"


def label(activity: str, arguments: list[object]) -> str:
    """A step's name in the ledger, from what the history says of the activity."""
    match activity, arguments:
        case "clean_month", [int(month)]:
            return f"clean_month {month:02}"
        case "fit_model", [bool(weather), _]:
            return f"fit_model {'with' if weather else 'without'} weather"
        case "count_late" | "draw_chart", [str(column), _]:
            return f"{activity} {column}"
    return activity


def read_history(records: RunRecords) -> list[Done]:
    """One entry for each activity of the run, in the order in which they were scheduled."""
    done: dict[int, Done] = {}
    for event in records.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            done[event.event_id] = Done(step_of(event))
        elif event.HasField("activity_task_completed_event_attributes"):
            done[event.activity_task_completed_event_attributes.scheduled_event_id].completed += 1
    for start in records.attempt_starts:
        done[start.scheduled_event_id].attempts += 1
        done[start.scheduled_event_id].pids.append(int(start.identity.split("-")[1]))
    for end in records.attempt_ends:
        done[end.scheduled_event_id].outcomes.append(end.outcome)
    return list(done.values())


def step_of(event: HistoryEvent) -> str:
    scheduled = event.activity_task_scheduled_event_attributes
    arguments = [json.loads(payload.data) for payload in scheduled.input.payloads]
    return label(scheduled.activity_type.name, arguments)


def print_table(history: list[Done], lines: list[Line], kernels: list[int]) -> None:
    begun = Counter(line.step for line in lines if line.what == "begins")
    ended = Counter(line.step for line in lines if line.what == "ends")
    names = {pid: str(number) for number, pid in enumerate(kernels, 1)}
    say(f"{'':<27}    history                                       ledger")
    say(f"{'step':<27}    attempts                          completed    begun  ended")
    for done in history:
        tries = ", ".join(
            f"{outcome} in {names.get(pid, pid)}"
            for pid, outcome in zip(done.pids, done.outcomes, strict=False)
        )
        tries = tries.replace("completed in ", "kernel ")
        say(
            f"{done.step:<27}    {tries:<37} {done.completed:>4}"
            f"    {begun[done.step]:>6} {ended[done.step]:>6}"
        )


def claims(
    records: RunRecords, before: list[Line], lines: list[Line], kernels: list[int], answered: list[int]
) -> Iterator[tuple[bool, str]]:
    """Each claim of the demo, and whether it is true."""
    from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status

    history = read_history(records)
    begun = Counter(line.step for line in lines if line.what == "begins")
    ended = Counter(line.step for line in lines if line.what == "ends")
    saved = {line.step for line in before if line.what == "ends"}
    again = {line.step for line in lines if line.pid == kernels[-1] and line.what == "begins"}
    holidays = next(done for done in history if done.step == "fetch_holidays")

    completed = (
        records.closed is not None and records.closed.status == Status.WORKFLOW_EXECUTION_STATUS_COMPLETED
    )
    yield completed, "the run completed, although its kernel was killed"
    yield len(history) >= 12, f"it has {len(history)} activities"
    yield (
        all(done.completed == 1 for done in history),
        "history: every activity completed exactly once",
    )
    yield (
        set(ended) == {done.step for done in history} and all(count == 1 for count in ended.values()),
        "ledger: the same activities, and each ended exactly once",
    )
    yield (
        not saved & again and all(begun[step] == 1 + fails(lines, step) for step in saved),
        f"the {len(saved)} activities that were completed before the kill did not run again",
    )
    yield (
        len(kernels) == 2 and not psutil.pid_exists(kernels[0]) and bool(again),
        "both kernels worked on the run, and the first is dead",
    )
    yield (
        answered[:2] == [503, 503] and answered[-1] == 200 and holidays.attempts >= 3,
        f"the holiday service answered {', '.join(map(str, answered))}; all attempts are in the history",
    )


def fails(lines: list[Line], step: str) -> int:
    return sum(line.what == "fails" and line.step == step for line in lines)


def read_run() -> tuple[RunRecords, str, list[str]]:
    """The run's records, its timeline as text, and why the history would not be sound: nothing, one hopes."""
    from perdure import Run, Session, view
    from perdure.authoring.registry import registry
    from perdure.replay.check import check as replay_check

    with Session(HISTORY, worker=False) as session:
        records = Run(WORKFLOW_ID, session=session).records()
        definitions = session.wait(session.project.definitions())
    written = {(item.kind, item.version): item for item in definitions}
    workflow = registry.load(written["workflow", records.started.version])
    replay = asyncio.run(replay_check(records, workflow))

    timeline = view.timeline(records, time.time_ns())
    (BUILD / "timeline.svg").write_text(view.svg(timeline, width=960), encoding="utf-8")
    (BUILD / "timeline.html").write_text(view.page(timeline), encoding="utf-8")
    width = min(shutil.get_terminal_size((110, 40)).columns, 140)
    drawing = view.text(timeline, width=width, colour=sys.stdout.isatty())
    return records, drawing, [] if replay.fits else [replay.reason]


def main() -> int:
    started = time.monotonic()
    shutil.rmtree(BUILD, ignore_errors=True)
    WORK.mkdir(parents=True)
    with holiday_service() as url:
        chapter("1  The notebook runs: a year of flights, month by month")
        say(f"papermill {NOTEBOOK.relative_to(ROOT)}, with a holiday service at {url} that fails two calls\n")
        papermill = start_notebook(1, url)
        follow(papermill, half_way)
        before = read_ledger()
        if papermill.poll() is not None or not before:
            raise SystemExit(f"  The notebook ended before it could be killed; see {BUILD}/papermill-1.log")
        first = before[-1].pid

        chapter("2  Its kernel is killed")
        kill_kernel(papermill, first)
        say(f"kill -9 {first}, while these were under way: {', '.join(under_way(before))}")
        status = papermill.wait(PATIENCE)
        say(f"papermill ended with status {status}: its kernel died. Nothing is running now; the file says:")
        say(saved_state())
        before = read_ledger()

        chapter("3  The notebook runs again, in a new kernel")
        papermill = start_notebook(2, url)
        follow(papermill, lambda lines: False)
        if papermill.wait(PATIENCE) != 0:
            print((BUILD / "papermill-2.log").read_text(encoding="utf-8")[-3000:])
            raise SystemExit("  The second run of the notebook failed.")
        answered = calls(url)

    lines = read_ledger()
    kernels = list(dict.fromkeys(line.pid for line in lines))
    records, drawing, faults = read_run()
    chapter("4  The run, with the work of both kernels")
    print(drawing)
    chapter("5  Every activity completed exactly once")
    print_table(read_history(records), lines, kernels)
    print()
    true = [check(holds, text) for holds, text in claims(records, before, lines, kernels, answered)]
    true.append(check(status != 0, f"papermill said that its kernel had died, with status {status}"))
    true.append(check(not faults, "; ".join(["Temporal's Replayer accepts the history", *faults])))
    chapter("6  Look at it")
    for name, what in FILES.items():
        say(f"{what:<30} {show(BUILD / name)}")
    say(f"{'':<30} ({time.monotonic() - started:.0f} seconds)")
    return 0 if all(true) else 1


FILES = {
    "timeline.html": "the run's page",
    "work/report.html": "what the run wrote",
    "notebook-2.ipynb": "the notebook, as it ran",
    "work/ledger.txt": "the ledger",
    ".perdure/history.duckdb": "the history (a DuckDB file)",
}


def check(holds: bool, text: str) -> bool:
    say(f"{'✓' if holds else '✗ NOT TRUE:'} {text}")
    return holds


def show(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())

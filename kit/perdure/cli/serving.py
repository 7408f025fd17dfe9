"""Subcommands that serve: a worker without a notebook; where other clients connect."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perdure.cli.words import Add, import_module, open_project, takes_modules, unknown, workflows
from perdure.errors import RunError


def add_serving(add: Add) -> None:
    worker = add(
        "worker", _worker, "Continues open runs without a notebook, from the sources in the file.", ""
    )
    takes_modules(worker, "a module with definitions that this process runs, too")
    worker.add_argument(
        "--until-idle",
        action="store_true",
        help="ends when the runs that are open now have ended; 1 if one failed",
    )
    add("address", _address, "Where Temporal clients connect: HOST:PORT.", "")
    add("token", _token, "The API key that Temporal clients must give.", "")


def _worker(line: argparse.Namespace) -> int:
    """Runs until Ctrl-C or SIGTERM: open runs go on from the definitions that the file keeps."""
    sys.path.insert(0, str(Path.cwd()))
    for module in line.modules:
        import_module(module)
    began = datetime.now(UTC).replace(tzinfo=None)
    opened = open_project(line, worker=True, make=True)
    assert opened.worker is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ended = _Ended()
    try:
        opened.worker.need()
        print(f"working for {opened.path} ({opened.role}, {opened.address}); Ctrl-C ends it", flush=True)
        if line.until_idle:
            # on a thread of its own: a signal then interrupts this one's wait, and nothing that is half done
            ended.begin(_until_idle, opened, began)
        return ended.wait()
    except KeyboardInterrupt:
        print("\nending; what is under way is tried again by the next worker", file=sys.stderr)
    finally:
        opened.close()
        ended.forget()
    return 130 if line.until_idle else 0


class _Ended:
    """The end of a piece of work on another thread: its answer, or its error."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def forget(self) -> None:
        """Lets go of work that was given up: the session that it waited for is closed, so it ends now."""
        if self._thread is not None:
            self._thread.join(2.0)
        self._error = None

    def begin(self, work: Callable[..., int], *arguments: Any) -> None:
        self._thread = threading.Thread(target=self._by, args=(work, *arguments), daemon=True)
        self._thread.start()

    def _by(self, work: Callable[..., int], *arguments: Any) -> None:
        try:
            self._answer = work(*arguments)
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def wait(self) -> int:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._answer


def _until_idle(opened: Any, began: datetime) -> int:
    """Waits for every run that was open when the worker began; 1 if one of them fails, or has no definition."""
    from perdure.run_handle import Run
    from perdure.runs import runs

    failed = 0
    frame = runs(limit=None)
    open_then = frame["closed"].isna() | (frame["closed"] >= began)  # some end before they can be listed
    frame = frame[open_then]
    known = workflows(opened)
    rows = zip(*(frame[column].tolist() for column in ("id", "run_id", "type")), strict=True)
    for workflow_id, run_id, workflow in rows:
        if workflow not in known:
            failed = 1
            reason = unknown(workflow, known)
            print(f"{workflow_id} is left open: {reason}", file=sys.stderr, flush=True)
            continue
        try:
            Run(workflow_id, run_id, session=opened).result()
            print(f"{workflow_id} completed", flush=True)
        except RunError as error:
            failed = 1
            print(error.message, file=sys.stderr, flush=True)
    return failed


def _address(line: argparse.Namespace) -> int:
    opened = open_project(line)
    if opened.role == "owner":
        print("Nobody serves this project now: start a notebook or `perdure worker` first.", file=sys.stderr)
        return 1
    print(opened.address)
    return 0


def _token(line: argparse.Namespace) -> int:
    print(open_project(line).token)
    return 0

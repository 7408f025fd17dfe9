"""`perdure worker` finishes what a notebook began, from the sources in the file, without the notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import nbformat
import pytest

CELLS = [
    "%load_ext perdure",
    "%%activity --retries 0\ndef first() -> int:\n    return 1",
    "%%activity --retries 0\ndef second(number: int) -> int:\n    return number + 1",
    "%%activity --retries 0\ndef third(number: int) -> int:\n    return number + 1",
    "%%workflow\nasync def counting() -> int:\n"
    "    number = await first()\n    await asyncio.sleep(1.5)\n    return await third(await second(number))",
    "run = counting.start(id='counting-1')",
    "import time\n\nwhile 'TimerStarted' not in list(run.history()['type']):\n    time.sleep(0.05)",
]


def leave_open(cells: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the cells in a kernel of its own, which is gone afterwards."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PERDURE_HOME", str(folder))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=30, kernel_name="python3").execute()


def work_until_idle() -> subprocess.CompletedProcess[str]:
    program = "from perdure.cli import main; raise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "worker", "--until-idle"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_worker_finishes_a_run_whose_notebook_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each activity has one attempt, and the worker's process has not loaded it yet when it is scheduled."""
    leave_open(CELLS, tmp_path, monkeypatch)
    done = work_until_idle()
    assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(tmp_path / "history.duckdb"), read_only=True) as file:
        attempts = file.execute("SELECT activity_type, attempt, outcome FROM attempts ORDER BY 1").fetchall()
    assert attempts == [(name, 1, "completed") for name in ("first", "second", "third")]


def test_worker_tells_of_a_run_that_fails_before_it_could_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its only attempt was lost with the kernel, which the engine knows as soon as it opens the file."""
    cells = [
        "%load_ext perdure",
        "%%activity --retries 0\ndef endless() -> None:\n    import threading\n    threading.Event().wait()",
        "%%workflow\nasync def stuck() -> None:\n    await endless()",
        "run = stuck.start(id='stuck-1')\nimport time\n\nwhile not run.attempts()['started'].notna().any():\n"
        "    time.sleep(0.05)",
        "import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)",
    ]
    from nbclient.exceptions import DeadKernelError

    with pytest.raises(DeadKernelError):
        leave_open(cells, tmp_path, monkeypatch)
    done = work_until_idle()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stuck-1 failed" in done.stderr

"""Loading, waiting, interrupting and killing, in real kernels."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from kernels import Kernel, kernel

DEFINE = """
import perdure
%load_ext perdure
"""
NAP = """%%activity --timeout 60s
async def nap(name: str) -> str:
    import asyncio
    from pathlib import Path
    print("nap", name)
    while not Path(f"wake-{name}").exists():
        await asyncio.sleep(0.05)
    return f"{name} is awake"
"""
SLEEPER = """%%workflow
async def sleeper(name: str) -> str:
    return await nap(name)
"""
FAILING = """%%activity --retries 0
def bad() -> None:
    raise ValueError("no money")
"""
BROKEN = """%%workflow
async def broken() -> None:
    await bad()
"""


def prepared(shell: Kernel) -> Kernel:
    for cell in (DEFINE, NAP, SLEEPER, FAILING, BROKEN):
        shell.ok(cell)
    return shell


def printed(shell: Kernel, sent: str) -> str:
    """Waits until the running cell prints something."""
    return next(m["content"]["text"] for m in shell.messages(sent) if m["header"]["msg_type"] == "stream")


def test_loading_takes_less_than_50_ms_and_imports_nothing_heavy(tmp_path: Path) -> None:
    with kernel(tmp_path) as shell:
        cell = shell.ok(
            "import sys, time\n"
            "began = time.perf_counter()\n"
            "%load_ext perdure\n"
            "print(time.perf_counter() - began)\n"
            "print([name for name in ('temporalio', 'pandas', 'duckdb', 'ipywidgets') if name in sys.modules])"
        )
        seconds, heavy = cell.text.splitlines()
        assert float(seconds) < 0.05
        assert heavy == "[]"


@pytest.mark.parametrize("wait", ["run.result()", "await run"])
def test_an_interrupt_ends_the_wait_and_not_the_run(tmp_path: Path, wait: str) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        sent = shell.start(f"run = sleeper.start('a', id='sleep-a')\n{wait}")
        assert printed(shell, sent) == "nap a\n"
        shell.manager.interrupt_kernel()
        cell = shell.finish(sent)
        assert cell.error.startswith("The wait was interrupted; sleep-a goes on.")
        assert len(cell.error.splitlines()) == 1
        assert shell.ok("run.status").result == "'Running'"
        (tmp_path / "wake-a").touch()
        assert shell.ok(wait).result == "'a is awake'"


@pytest.mark.parametrize("wait", ["run.result()", "await run"])
def test_what_activities_print_appears_under_the_cell_that_waits(tmp_path: Path, wait: str) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        sent = shell.start(f"run = sleeper.start('b')\n{wait}")
        assert printed(shell, sent) == "nap b\n"
        (tmp_path / "wake-b").touch()
        assert shell.finish(sent).result == "'b is awake'"


@pytest.mark.parametrize("wait", ["broken.start(id='x').result()", "await broken.start(id='x')"])
def test_a_failed_run_fails_the_cell_in_a_few_lines(tmp_path: Path, wait: str) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        for code in (wait, "%workflow result x"):
            error = shell.run(code).error
            assert error.startswith("RunError: x failed")
            assert "ValueError: no money" in error
            assert len(error.splitlines()) <= 4


def test_a_killed_kernels_runs_continue_when_the_extension_is_loaded(tmp_path: Path) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        sent = shell.start(
            "runs = [sleeper.start(name, id=f'sleep-{name}') for name in 'abcde']\nruns[-1].result()"
        )
        assert printed(shell, sent) == "nap e\n"
        shell.manager.signal_kernel(signal.SIGKILL)
    for name in "abcde":
        (tmp_path / f"wake-{name}").touch()
    with kernel(tmp_path) as shell:
        loaded = shell.start("%load_ext perdure")
        assert printed(shell, loaded).startswith("5 runs continue: sleep-e, sleep-d, sleep-c and 2 more")
        # Nothing was defined here: the file has the sources.
        assert shell.ok("%workflow result sleep-c").result == "'c is awake'"


def test_a_damaged_file_is_reported_and_the_notebook_stays_usable(tmp_path: Path) -> None:
    (tmp_path / "history.duckdb").write_bytes(b"no database" * 100)
    with kernel(tmp_path) as shell:
        loaded = shell.start("%load_ext perdure")
        said = printed(shell, loaded)
        assert said.startswith("DamagedFileError: ")
        assert "Traceback" not in said
        assert shell.ok("1 + 1").result == "2"
        assert "DamagedFileError" in shell.run("%workflow list").error


def test_without_a_front_end_the_file_is_opened_before_the_next_cell(tmp_path: Path) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        shell.ok("sleeper.start('a', id='sleep-a'); None")
    with kernel(tmp_path, front_end=False) as shell:
        assert shell.ok("%load_ext perdure").text == "1 run continues: sleep-a\n"
        (tmp_path / "wake-a").touch()
        assert shell.ok("%workflow result sleep-a").result == "'a is awake'"


def test_unload_takes_everything_out_and_reload_is_safe(tmp_path: Path) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        shell.ok("%reload_ext perdure")
        shell.ok("%load_ext perdure")
        assert shell.ok("len(get_ipython().Completer.custom_matchers)").result == "1"
        shell.ok("run = sleeper.start('a', id='sleep-a'); run")
        shell.ok("%unload_ext perdure")
        assert "not found" in shell.run("%workflow list").text
        assert shell.ok("len(get_ipython().Completer.custom_matchers)").result == "0"
        assert shell.ok("run.status").result == "'Running'"
        (tmp_path / "wake-a").touch()
        shell.ok("%load_ext perdure")
        assert shell.ok("%workflow result sleep-a").result == "'a is awake'"


def test_a_display_is_one_bundle_and_static_where_nobody_looks(tmp_path: Path) -> None:
    with kernel(tmp_path) as shell:
        prepared(shell)
        cell = shell.ok("run = sleeper.start('a', id='sleep-a'); run")
        (live,) = cell.shown
        assert set(live) == {"text/html", "text/plain"}
        (model,) = [
            opened["data"]["state"] for opened in cell.of("comm_open") if "frame" in opened["data"]["state"]
        ]
        assert model["frame"]["open"] is True
        assert f'data-live="{model["output"]}"' in live["text/html"]
        (tmp_path / "wake-a").touch()
        shell.ok("run.result()")
        (closed,) = shell.ok("run").shown
        assert set(closed) == {"text/html", "text/plain"}
        assert "completed" in closed["text/plain"]
        (timeline,) = shell.ok("run.timeline()").shown
        assert "perdure-image" in timeline["text/html"]
        shell.ok("import os; os.environ['VSCODE_PID'] = '1'")  # a front end that frames its outputs
        (framed,) = shell.ok("sleeper.start('c', id='sleep-c')").shown
        assert set(framed) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
        shell.front_end = False
        (static,) = shell.ok("sleeper.start('b', id='sleep-b')").shown
        assert set(static) == {"text/html", "text/plain"}
        assert len(str(static)) < 100_000

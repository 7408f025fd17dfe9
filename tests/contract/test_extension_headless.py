"""Notebooks without a front end: nbclient, papermill, nbconvert; and IPython in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

CHARGE = "%%activity --retries 0\ndef charge(amount: int) -> str:\n    assert amount, 'nothing to pay'\n    return f'charge-{amount}'"
PAYMENT = "%%workflow\nasync def payment(amount: int) -> str:\n    return await charge(amount)"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a notebook that defines a payment and goes on with the given cells."""
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "project"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def write_it(*cells: str) -> Path:
        path = tmp_path / "in.ipynb"
        sources = ["%load_ext perdure", CHARGE, PAYMENT, *cells]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, path)
        return path

    return write_it


def papermill(path: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(path),
        str(path.with_name("out.ipynb")),
        "--no-progress-bar",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=path.parent)


def test_nbclient_keeps_the_static_picture_and_no_widget_state(write: Callable[..., Path]) -> None:
    notebook = nbformat.read(write("run = payment.start(3, id='p')\nrun.result()", "run"), as_version=4)
    NotebookClient(notebook, timeout=60).execute()
    assert notebook.cells[3].outputs[0]["data"]["text/plain"] == "'charge-3'"
    (output,) = notebook.cells[4].outputs
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "completed" in output["data"]["text/plain"]
    assert len(json.dumps(output)) < 100_000
    assert not notebook.metadata.get("widgets", {})

    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "perdure-image" in page
    assert "charge" in page


def test_papermill_succeeds_when_the_workflow_does(write: Callable[..., Path]) -> None:
    path = write("%workflow start payment --id p 3", "%workflow result p")
    done = papermill(path)
    assert done.returncode == 0, done.stderr
    saved = nbformat.read(path.with_name("out.ipynb"), as_version=4)
    assert saved.cells[-1].outputs[0]["data"]["text/plain"] == "'charge-3'"


@pytest.mark.parametrize(
    "wait", ["%workflow result p", "await perdure.run('p')", "perdure.run('p').result()"]
)
def test_papermill_fails_when_the_workflow_does_and_says_why(write: Callable[..., Path], wait: str) -> None:
    done = papermill(write("import perdure\nrun = payment.start(0, id='p')\nNone", wait))
    assert done.returncode != 0
    assert "RunError: p failed" in done.stderr
    assert "nothing to pay" in done.stderr
    assert "%workflow" in done.stderr or "perdure.run" in done.stderr


def test_nbclient_shows_a_mistake_in_a_magic(write: Callable[..., Path]) -> None:
    notebook = nbformat.read(write("%workflow strat"), as_version=4)
    with pytest.raises(CellExecutionError, match="Did you mean start"):
        NotebookClient(notebook, timeout=60).execute()


def test_a_terminal_shows_text_and_short_errors(tmp_path: Path) -> None:
    lines = [
        "%load_ext perdure",
        "from payments import payment",
        "run = payment.start(3, id='p'); run.result()",
        "run",
        "%workflow strat",
    ]
    (tmp_path / "payments.py").write_text(
        "import perdure\n\n\n@perdure.activity\ndef charge(amount: int) -> str:\n    return f'charge-{amount}'\n\n\n"
        "@perdure.workflow\nasync def payment(amount: int) -> str:\n    return await charge(amount)\n"
    )
    environment = os.environ | {
        "PERDURE_HOME": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "TERM": "dumb",
    }
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"],
        input="\n".join(lines) + "\nexit\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment,
    )
    assert "'charge-3'" in done.stdout
    assert "✓ completed" in done.stdout
    assert "Did you mean start?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

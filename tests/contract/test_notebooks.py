"""Every notebook runs from top to bottom without a front end: with nbclient, and with papermill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))

FAILING_CELLS = [
    "%load_ext perdure",
    "%%activity --retries 2\ndef refuse() -> None:\n    raise ValueError('no such order')",
    "%%workflow\nasync def refusing() -> None:\n    await refuse()",
    "run = refusing.start(id='refused')\nawait run",
    "raise AssertionError('a cell ran after the one that failed')",
]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Kernels that are started now keep their history in `tmp_path`, and are this Python's."""
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / ".perdure"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    return dict(os.environ)


def papermill(source: Path, target: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(source), str(target), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not outputs(notebook)
    assert all(cell.get("execution_count") is None for cell in notebook.cells)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
@pytest.mark.usefixtures("environment")
def test_notebook_runs_with_nbclient(path: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\nwork_folder = {str(tmp_path / 'work')!r}"
    done = NotebookClient(
        notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}
    ).execute()
    assert any(
        "image/svg+xml" in o.get("data", {}) or "<svg" in o.get("data", {}).get("text/html", "")
        for o in outputs(done)
    )
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
@pytest.mark.usefixtures("environment")
def test_notebook_runs_from_the_command_line_with_papermill(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.ipynb"
    done = papermill(path, target, "--cwd", str(NOTEBOOKS), "-p", "work_folder", str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    assert not [
        output for output in outputs(nbformat.read(target, as_version=4)) if output.output_type == "error"
    ]


@pytest.mark.usefixtures("environment")
def test_papermill_exits_non_zero_when_a_workflow_failed(tmp_path: Path) -> None:
    source, target = tmp_path / "failing.ipynb", tmp_path / "out.ipynb"
    cells = [nbformat.v4.new_code_cell(text) for text in FAILING_CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), source)

    done = papermill(source, target)

    assert done.returncode != 0
    assert "no such order" in done.stderr
    assert "a cell ran after" not in done.stderr

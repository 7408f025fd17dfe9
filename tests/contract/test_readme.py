"""The code in the README and in the docs is run as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, section: str = "") -> list[str]:
    """The Python blocks of a page, or of its section that begins with `section`."""
    text = path.read_text(encoding="utf-8")
    if section:
        assert section in text, f"{path.name} has no {section!r}"
        text = text.partition(section)[2].partition("\n## ")[0]
    return BLOCK.findall(text)


def magics_of(path: Path, section: str) -> list[str]:
    """The indented lines of a section that begin with %workflow."""
    text = path.read_text(encoding="utf-8").partition(section)[2].partition("\n## ")[0]
    return re.findall(r"^    (%workflow .*)$", text, re.MULTILINE)


def run_cells(cells: list[str], folder: Path) -> list[str]:
    """Runs the texts as the cells of one notebook in `folder`; the last plain text that each of them shows."""
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    client = NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    shown = []
    for cell in client.execute().cells:
        texts = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        shown.append(texts[-1] if texts else "")
    return shown


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels keep their history in the test's folder, and are this Python's."""
    monkeypatch.delenv("PERDURE_HOME", raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


def test_readme_example_runs_as_printed(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    example = blocks(readme, "## A complete example")
    tour = blocks(readme, "## A tour in five minutes")
    outside = blocks(readme, "## Other processes and other languages")
    magics = magics_of(readme, "## A tour in five minutes")
    assert example and tour and outside and magics

    shown = run_cells([*example, *magics, *tour, *outside], tmp_path)

    assert shown[len(example) - 1] == "{'charge': 'charge-7'}"
    assert "payment" in shown[-1 - len(outside)]
    assert shown[-1] == "{'charge': 'charge-7'}"


def test_readme_connects_to_a_cluster_and_comes_back(tmp_path: Path, temporal_server: str) -> None:
    example = blocks(ROOT / "README.md", "## A complete example")
    here, elsewhere, back = magics_of(ROOT / "README.md", "## You never outgrow it")
    assert "--api-key-env" in elsewhere

    shown = run_cells(
        [example[0], here.replace("localhost:7233", temporal_server), *example[1:], back], tmp_path
    )

    assert temporal_server in shown[1] and temporal_server in shown[-1]
    assert shown[-2] == "{'charge': 'charge-7'}"


def test_authoring_page_runs_as_printed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "authoring.md"
    modules = blocks(page, "## In modules")
    assert len(modules) == 3

    shown = run_cells(
        ["%load_ext perdure", *blocks(page, "## In cells"), "import perdure", *modules[1:]], tmp_path
    )

    assert shown[-1] == "'approved'"

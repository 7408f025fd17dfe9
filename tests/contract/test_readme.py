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
    magics = re.findall(r"^    (%workflow .*)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    assert example and tour and outside and magics

    shown = run_cells([*example, *magics, *tour, *outside], tmp_path)

    assert shown[len(example) - 1] == "{'charge': 'charge-7'}"
    assert "payment" in shown[-1 - len(outside)]
    assert shown[-1] == "{'charge': 'charge-7'}"


def test_authoring_page_runs_as_printed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "authoring.md"
    modules = blocks(page, "## In modules")
    assert len(modules) == 3

    shown = run_cells(
        ["%load_ext perdure", *blocks(page, "## In cells"), "import perdure", *modules[1:]], tmp_path
    )

    assert shown[-1] == "'approved'"

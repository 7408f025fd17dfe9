"""The benchmarks run and write what they promise. Nothing here looks at how long anything took."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not find_spec("psutil"), reason="psutil is missing: pip install 'perdure[bench]'")
def test_one_command_prints_the_table_and_writes_the_picture(tmp_path: Path) -> None:
    only = [
        "--only",
        "chain",
        "imports",
        "recovery",
        "history",
        "parked",
        "--sides",
        "perdure",
        "disk",
        "engine",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--folder", str(tmp_path), *only],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for title in ("Chain of 200", "%load_ext perdure", "kill -9 amid", "bare disk"):
        assert title in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["results"]["chain"].keys() == {"perdure", "disk"}
    assert results["results"]["parked"].keys() == {"engine"}
    assert results["results"]["recovery"]["perdure"].keys() == {"first", "all"}
    assert any("duckdb" in line for line in results["machine"])
    drawn = ElementTree.parse(tmp_path / "results.svg")
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}rect")) >= 8
    assert (tmp_path / "results.md").read_text(encoding="utf-8").startswith("|")

"""`make demo` does what it says: it exits with 0 only if every claim that it prints is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (".perdure/history.duckdb", "timeline.html", "timeline.svg", "work/report.html", "work/ledger.txt")


@pytest.mark.timeout(300)
def test_demo_kills_a_kernel_and_loses_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "DEMO_FOLDER": str(tmp_path / "demo")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "notebooks" / "demo.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT TRUE" not in done.stdout
    assert "kill -9" in done.stdout
    assert done.stdout.count("✓") >= 7
    for name in FILES:
        assert (tmp_path / "demo" / name).stat().st_size > 0, name

"""What Temporal's own server made of each script, the engine makes, too: event by event, attribute by attribute.

The recordings lie in tests/golden/real; `golden.normal` is what they and the plays here are seen through.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden.normal import differences, normal
from golden.record import FOLDER
from golden.scripts import SCRIPTS
from golden.stage import perform_here

NOT_YET = set((Path(__file__).parent / "golden_not_yet.txt").read_text().split())


def _case(name: str) -> Any:
    return pytest.param(
        name, marks=pytest.mark.xfail(reason="not yet as the server") if name in NOT_YET else ()
    )


@pytest.mark.parametrize("name", [_case(name) for name in SCRIPTS])
def test_the_engine_does_as_the_server_did(name: str) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    played = normal(asyncio.run(asyncio.wait_for(perform_here(SCRIPTS[name]), 20)))
    found = differences(recorded, played)
    assert not found, "\n".join(found)


def test_every_recording_has_a_script() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCRIPTS)

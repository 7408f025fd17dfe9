"""What Temporal's own server made of each script, the engine makes, too: event by event, attribute by attribute.

The recordings lie in tests/golden/real; `golden.normal` is what they and the plays here are seen through.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden.normal import differences, normal
from golden.record import FOLDER
from golden.scripts import SCRIPTS
from golden.stage import perform_here

# where the engine differs on purpose, by the end of the path: docs/conformance.md says why
_WORKER = "workflowTaskStartedEventAttributes/identity"
ON_PURPOSE = {
    "update_rejected_while_a_signal_waits": _WORKER,
    "update_sent_when_the_run_is_terminated": _WORKER,
    "update_task_times_out": _WORKER,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_engine_does_as_the_server_did(name: str) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    played = normal(asyncio.run(asyncio.wait_for(perform_here(SCRIPTS[name]), 20)))
    found = differences(recorded, played)
    if meant := ON_PURPOSE.get(name):
        assert any(meant in each for each in found)  # else it need not stand there any more
        found = [each for each in found if meant not in each]
    assert not found, "\n".join(found)


def test_every_recording_has_a_script() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCRIPTS)

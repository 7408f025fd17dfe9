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
from golden.stage import Crashing, Embedded, perform_here

# where the engine differs on purpose, by the end of the path: docs/conformance.md says why
_WORKER = "workflowTaskStartedEventAttributes/identity"
ON_PURPOSE = {
    "described_in_all_it_waits_for": "searchAttributes/indexedFields",
    "history_of_a_task_for_an_update": _WORKER,
    "update_rejected_while_a_signal_waits": _WORKER,
    "update_sent_when_the_run_is_terminated": _WORKER,
    "update_task_times_out": _WORKER,
}


# what stands in memory only, and so not in these scripts when the engine dies: stickiness, later attempts of workflow tasks,
# the order of a queue
IN_MEMORY = {
    "priority_is_inherited",
    "bad_command_in_a_later_attempt", "child_with_nothing_given", "query_while_a_task_keeps_failing",
    "query_on_the_sticky_queue", "query_that_nobody_takes_from_the_sticky_queue",
    "history_of_an_attempt", "signal_to_a_run_that_tries_to_close", "update_on_the_sticky_queue",
    "update_that_nobody_takes_from_the_sticky_queue", "update_and_the_run_closes_over_a_signal",
    "update_while_the_task_keeps_failing", "task_fails_and_then_completes",
    "task_fails_without_a_cause", "task_fails_three_times", "task_attempt_gets_a_signal_while_started",
    "task_attempt_fails_while_a_signal_waits", "task_times_out", "task_times_out_twice",
    "task_sticks_to_its_worker", "task_left_on_the_sticky_queue", "task_on_the_sticky_queue_fails",
    "task_on_the_sticky_queue_times_out", "task_of_a_worker_that_has_shut_down",
    "task_with_more_than_it_can_hold",
}  # fmt: skip


def found(name: str, kind: type[Embedded]) -> list[str]:
    """Where the engine's play differs from the recording."""
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    played = normal(asyncio.run(asyncio.wait_for(perform_here(SCRIPTS[name], kind), 20)))
    meant = ON_PURPOSE.get(name, "nothing")
    return [each for each in differences(recorded, played) if meant not in each]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_engine_does_as_the_server_did(name: str) -> None:
    assert not found(name, Embedded)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in IN_MEMORY])
def test_a_crash_before_every_request_changes_nothing(name: str) -> None:
    assert not found(name, Crashing)


def test_every_recording_has_a_script() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCRIPTS)

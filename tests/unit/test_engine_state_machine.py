"""Random programs of commands, signals, updates, failures, crashes and time: what Temporal promises holds after each step.

`PERDURE_EXAMPLES=2000 pytest tests/unit/test_engine_state_machine.py` looks much longer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from engine_driver import Driver
from engine_world import STEPS, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

EXAMPLES = int(os.environ.get("PERDURE_EXAMPLES", "40"))

seeds = st.integers(0, 2**16)


class Programs(RuleBasedStateMachine):
    """One engine in memory, and everyone around it. Each rule takes one step of `World`, then checks all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        driver = Driver()
        self._await(driver.engine.start())
        self._world = World(driver)

    def _await(self, work: Awaitable[None]) -> None:
        self._loop.run_until_complete(asyncio.wait_for(work, 30))

    def _step(self, name: str, seed: int) -> None:
        self._await(getattr(self._world, name)(Random(seed)))
        self._await(self._world.check())

    def teardown(self) -> None:
        try:
            self._await(self._world.end())
        finally:
            self._loop.close()


def _rule(step: str) -> Callable[..., Any]:
    def take(self: Programs, seed: int) -> None:
        self._step(step, seed)

    take.__name__ = step
    return rule(seed=seeds)(take)


for _step in STEPS:
    for _number in range(
        1 + STEPS[_step] // 10
    ):  # hypothesis has no weights; what happens often has more rules
        setattr(Programs, f"{_step}_{_number}", _rule(f"{_step}"))

TestPrograms = Programs.TestCase
TestPrograms.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=60,
    deadline=None,
    derandomize="PERDURE_EXAMPLES" not in os.environ,  # a build fails for what was changed, not by chance
    suppress_health_check=list(HealthCheck),
)

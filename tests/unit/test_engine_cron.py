"""Cron schedules of workflows: the dialect, and the rules of chains.

`tests/golden/cron.json` was recorded from Go's robfig/cron 3.0.1, which Temporal uses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine import cron
from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "cron.json").read_text())
NOON = 1_767_268_800 * SECOND  # 2026-01-01 12:00 UTC


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["cron"] or "empty")
def test_times_are_those_of_robfig(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ValueError):
            cron.parse(case["cron"])
        return
    schedule = cron.parse(case["cron"])
    for after, offsets in case["windows"]:
        when: int | None = after * SECOND
        for offset in offsets:
            assert when is not None
            when = schedule.next(when)
            assert when == (after + offset) * SECOND


@given(
    st.sampled_from([case["cron"] for case in GOLDEN if "error" not in case]),
    st.integers(0, 10**6),
    st.integers(0, 10**13),
)
def test_first_from_is_what_a_walk_from_time_to_time_finds(text: str, begin: int, later: int) -> None:
    schedule = cron.parse(text)
    begin, now = NOON + begin * 1_000_003, NOON + later
    when = schedule.next(begin)
    for _ in range(300):
        if when is None or when >= now:
            break
        when = schedule.next(when)
    else:
        return  # too far to walk
    assert schedule.first_from(begin, now) == when


def test_the_next_run_waits_full_seconds_and_leaves_out_what_it_missed() -> None:
    assert cron.backoff("@every 90s", NOON, NOON + 10 * SECOND + 1) == 80 * SECOND
    assert cron.backoff("@every 90s", NOON, NOON + 100 * SECOND) == 80 * SECOND
    assert cron.backoff("30 * * * *", NOON, NOON + 45 * 60 * SECOND) == 45 * 60 * SECOND
    assert cron.backoff("30 * * * *", NOON + 5 * SECOND, NOON) == 5 * SECOND
    assert cron.backoff("", NOON, NOON) is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("* * *", "invalid CronSchedule."),
        ("CRON_TZ=Nowhere * * * * *", "invalid CronSchedule."),
        ("0 0 30 2 *", "invalid CronSchedule, no time can be found to satisfy the schedule"),
    ],
)
def test_a_bad_cron_schedule_is_refused(text: str, said: str) -> None:
    with pytest.raises(ServiceError) as refused:
        cron.check(text)
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, said)

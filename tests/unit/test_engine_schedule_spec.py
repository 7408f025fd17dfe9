"""When schedules are due: Temporal's own answers, and what must hold for every specification.

`tests/golden/schedules.json` was recorded from a Temporal server through CreateSchedule, DescribeSchedule and ListScheduleMatchingTimes:
specifications, their canonical forms, times after given moments (many of them around changes of the clock), and texts of refusals.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.schedule.v1 import IntervalSpec, Range, ScheduleSpec, StructuredCalendarSpec

from perdure.engine.protos import SECOND, duration, timestamp
from perdure.engine.schedules.spec import Times, TooManyExclusionsError, canonical, filled
from perdure.engine.schedules.zones import zone

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "schedules.json").read_text())
MINUTE, DAY = 60 * SECOND, 86400 * SECOND


def spec(given: dict[str, Any]) -> ScheduleSpec:
    return ParseDict(given, ScheduleSpec())


def upcoming(times: Times, after: int, until: int, most: int) -> list[int]:
    found: list[int] = []
    while len(found) < most and (due := times.next(after)) is not None and due.actual <= until:
        after = due.actual
        found.append(after)
    return found


@pytest.mark.parametrize("case", GOLDEN["times"], ids=lambda case: json.dumps(case["spec"])[:60])
def test_times_and_canonical_form_are_those_of_temporal(case: dict[str, Any]) -> None:
    form = canonical(spec(case["spec"]))
    assert MessageToDict(filled(form)) == case["canonical"]
    times = Times(form)
    for start, end, offsets in case["windows"]:
        found = upcoming(times, start * SECOND, end * SECOND, len(offsets) or 1)
        assert [when // SECOND - start for when in found] == offsets


@pytest.mark.parametrize("case", GOLDEN["errors"], ids=lambda case: json.dumps(case["spec"])[:60])
def test_what_temporal_refuses_is_refused_with_its_text(case: dict[str, Any]) -> None:
    try:
        canonical(spec(case["spec"]))
    except ValueError as error:
        assert f"Invalid schedule spec: {error}" == case["error"]
    else:
        assert case["error"] is None


def test_the_canonical_form_is_a_fixed_point() -> None:
    for case in GOLDEN["times"]:
        form = canonical(spec(case["spec"]))
        assert canonical(form) == form
        assert canonical(filled(form)) == filled(form)


# --- properties

_zones = st.sampled_from(["", "Asia/Kolkata", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"])
_moments = st.integers(1_700_000_000, 1_900_000_000).map(lambda second: second * SECOND)


def _ranges(low: int, high: int) -> st.SearchStrategy[list[Range]]:
    part = st.builds(
        lambda a, b, step: Range(start=min(a, b), end=max(a, b), step=step),
        st.integers(low, high),
        st.integers(low, high),
        st.integers(0, 9),
    )
    return st.lists(part, min_size=1, max_size=2)


_calendars = st.builds(
    StructuredCalendarSpec,
    second=st.just([Range()]),
    minute=_ranges(0, 59),
    hour=_ranges(0, 23),
    day_of_month=st.one_of(st.just([Range(start=1, end=31)]), _ranges(1, 31)),
    month=st.one_of(st.just([Range(start=1, end=12)]), _ranges(1, 12)),
    day_of_week=st.one_of(st.just([Range(end=6)]), _ranges(0, 6)),
)
_intervals = st.builds(
    lambda length, phase: IntervalSpec(
        interval=duration(length * SECOND), phase=duration(phase % length * SECOND)
    ),
    st.integers(60, 100_000),
    st.integers(0, 100_000),
)
_specs = st.builds(
    ScheduleSpec,
    structured_calendar=st.lists(_calendars, max_size=2),
    interval=st.lists(_intervals, max_size=2),
    timezone_name=_zones,
    jitter=st.one_of(st.none(), st.integers(0, 10**13).map(duration)),
)


@given(_specs, _moments)
def test_times_only_grow_and_jitter_stays_within_its_bounds(given_spec: ScheduleSpec, after: int) -> None:
    times = Times(given_spec, "seed")
    for _ in range(5):
        due = times.next(after)
        if due is None:
            break
        assert due.nominal > after - after % SECOND and due.actual > after
        jitter = given_spec.jitter.ToNanoseconds() if given_spec.HasField("jitter") else 0
        assert 0 <= due.actual - due.nominal <= jitter
        assert Times(given_spec, "seed").next(after) == due
        after = due.actual


@given(_specs, _moments)
def test_what_next_gives_matches(given_spec: ScheduleSpec, after: int) -> None:
    given_spec.ClearField("jitter")
    given_spec.timezone_name = ""
    times = Times(given_spec)
    due = times.next(after)
    if due is not None:
        assert times.matches(due.nominal)
        assert not times.matches(due.nominal + 1)


@given(_calendars, st.sampled_from(["", "Asia/Kolkata"]), _moments)
def test_a_scan_of_minutes_finds_the_same(calendar: StructuredCalendarSpec, name: str, after: int) -> None:
    """Where the clock never changes, the next time is simply the first minute that matches."""
    due = Times(ScheduleSpec(structured_calendar=[calendar], timezone_name=name)).next(after)
    minute, until = after - after % MINUTE + MINUTE, after + DAY
    while minute <= until and not _fits(calendar, zone(name).local(minute // SECOND)):
        minute += MINUTE
    if minute <= until:
        assert due is not None and due.nominal == minute
    else:
        assert due is None or due.nominal > until


def _fits(calendar: StructuredCalendarSpec, local: datetime) -> bool:
    shown = {
        "minute": local.minute,
        "hour": local.hour,
        "day_of_month": local.day,
        "month": local.month,
        "day_of_week": local.isoweekday() % 7,
    }
    return all(
        any(value in range(r.start, max(r.start, r.end) + 1, r.step or 1) for r in getattr(calendar, name))
        for name, value in shown.items()
    )


def test_exclusions_and_limits() -> None:
    form = canonical(
        ScheduleSpec(
            cron_string=["0 12 * * *"],
            exclude_structured_calendar=[
                StructuredCalendarSpec(
                    second=[Range(end=59)],
                    minute=[Range(end=59)],
                    hour=[Range(end=23)],
                    day_of_month=[Range(start=1, end=31)],
                    month=[Range(start=1, end=12)],
                    day_of_week=[Range(), Range(start=6)],
                )
            ],
            start_time=timestamp(int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * SECOND),
            end_time=timestamp(int(datetime(2026, 5, 5, 12, tzinfo=UTC).timestamp()) * SECOND),
        )
    )
    found = upcoming(Times(form), 0, 1 << 62, 10)
    assert [datetime.fromtimestamp(when // SECOND, UTC).day for when in found] == [1, 4, 5]


def test_a_specification_that_excludes_everything_ends() -> None:
    every = StructuredCalendarSpec(
        second=[Range(end=59)],
        minute=[Range(end=59)],
        hour=[Range(end=23)],
        day_of_month=[Range(start=1, end=31)],
        month=[Range(start=1, end=12)],
        day_of_week=[Range(end=6)],
    )
    excluding = ScheduleSpec(
        interval=[IntervalSpec(interval=duration(SECOND))], exclude_structured_calendar=[every]
    )
    with pytest.raises(TooManyExclusionsError, match="too many exclusions"):
        Times(excluding).next(0)


def test_a_time_zone_may_come_as_a_file() -> None:
    import importlib.resources

    data = importlib.resources.files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes()
    named = canonical(ScheduleSpec(cron_string=["0 3 * * *"], timezone_name="Europe/Berlin"))
    carried = canonical(ScheduleSpec(cron_string=["0 3 * * *"], timezone_name="x", timezone_data=data))
    after = int(datetime(2026, 3, 27, tzinfo=UTC).timestamp()) * SECOND
    assert upcoming(Times(named), after, 1 << 62, 5) == upcoming(Times(carried), after, 1 << 62, 5)

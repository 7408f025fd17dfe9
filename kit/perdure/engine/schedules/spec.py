"""When a schedule is due: its specification in canonical form, and the times that match it.

The canonical form has structured calendars and intervals only; texts are read once, when a schedule is created or updated. Times that
match are those of any calendar or interval, less what an exclusion matches, within start and end. Jitter moves each time by an
amount that depends on the schedule and the time alone, so that it comes out the same after a restart.

No library serves here: Temporal's rules (ranges with years and seconds, day of month *and* day of week, what happens to hours that a
clock change skips or repeats) are its own, and cron libraries differ from them in each of these.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from temporalio.api.schedule.v1 import IntervalSpec, ScheduleSpec

from perdure.engine.protos import MILLISECOND, SECOND, from_duration, from_timestamp
from perdure.engine.schedules import ranges
from perdure.engine.schedules.calendars import Calendar
from perdure.engine.schedules.ranges import MAX_YEAR
from perdure.engine.schedules.zones import zone

_START_OF_TIME = -62_135_500_000  # in s: the first days of the year 1
_END_OF_TIME = 4_133_980_800  # 2101-01-01 UTC, in s
_MOST_EXCLUDED = (
    200_000  # candidates in a row: more than two days of seconds; then the specification is given up
)
_LONGEST_JITTER = (1 << 32) - 1  # ms


class TooManyExclusionsError(ValueError):
    """The exclusions leave no time that could be found within a bounded search."""


def canonical(spec: ScheduleSpec) -> ScheduleSpec:
    """The specification without texts. Raises ValueError with Temporal's text for one that is not valid."""
    result = ScheduleSpec()
    result.CopyFrom(spec)
    for name in ("calendar", "cron_string", "exclude_calendar"):
        result.ClearField(name)
    for interval in spec.interval:
        _check_duration("interval", interval.interval)
        _check_duration("phase", interval.phase)
    result.structured_calendar.extend(ranges.structured(calendar) for calendar in spec.calendar)
    result.exclude_structured_calendar.extend(
        ranges.structured(calendar) for calendar in spec.exclude_calendar
    )
    _add_crons(result, spec)
    for calendar in result.structured_calendar:
        ranges.check_calendar(calendar)
    for interval in result.interval:
        _check_interval(interval)
    zone(result.timezone_name, result.timezone_data)
    return result


def _add_crons(result: ScheduleSpec, spec: ScheduleSpec) -> None:
    zones = set()
    for text in spec.cron_string:
        cron = ranges.cron(text)
        zones.add(cron.zone)
        if len(zones) > 1:
            raise ValueError("conflicting timezone names")
        if cron.calendar is not None:
            result.structured_calendar.append(cron.calendar)
        if cron.interval is not None:
            result.interval.append(cron.interval)
    if name := next(iter(zones), ""):
        if spec.timezone_data or spec.timezone_name not in ("", name):
            raise ValueError("conflicting timezone names")
        result.timezone_name = name


def _check_duration(name: str, length: Duration) -> None:
    seconds, nanos = length.seconds, length.nanos
    if abs(nanos) >= SECOND:
        problem = "has out-of-range nanos"
    elif seconds * nanos < 0:
        problem = "has seconds and nanos with different signs"
    elif abs(seconds) > 315_576_000_000:
        problem = f"exceeds {'+' if seconds > 0 else '-'}10000 years"
    else:
        return
    raise ValueError(f"{name} is not a valid duration: proto: duration ({length.seconds}s) {problem}")


def _check_interval(interval: IntervalSpec) -> None:
    length, phase = from_duration(interval.interval), from_duration(interval.phase)
    if length < SECOND:
        raise ValueError("interval is too small")
    if phase < 0:
        raise ValueError("phase is negative")
    if phase >= length:
        raise ValueError("phase cannot be greater than Interval")


def filled(spec: ScheduleSpec) -> ScheduleSpec:
    """A canonical specification as it is shown: with every end and step written out."""
    result = ScheduleSpec()
    result.CopyFrom(spec)
    for calendar in (*result.structured_calendar, *result.exclude_structured_calendar):
        ranges.fill(calendar)
    return result


@dataclass(frozen=True, slots=True)
class Due:
    """A time of a schedule (ns): as the specification says, and as jitter moved it."""

    nominal: int
    actual: int


class Times:
    """The times of a canonical specification.

    Args:
        spec: in canonical form.
        seed: tells one schedule's jitter from another's.
    """

    def __init__(self, spec: ScheduleSpec, seed: str = "") -> None:
        self._seed = seed.encode()
        where = zone(spec.timezone_name, spec.timezone_data)
        self._calendars = [Calendar(fields, where) for fields in spec.structured_calendar]
        self._excluded = [Calendar(fields, where) for fields in spec.exclude_structured_calendar]
        self._intervals = [_seconds(interval) for interval in spec.interval]
        self._start = from_timestamp(spec.start_time)
        self._end = from_timestamp(spec.end_time) if spec.HasField("end_time") else None
        self._jitter = max(0, from_duration(spec.jitter))

    def next(self, after: int) -> Due | None:
        """The first time after `after` (ns); None when there is none. Raises TooManyExclusionsError."""
        at = max(max(after, self._start - SECOND) // SECOND, _START_OF_TIME)
        for _ in range(_MOST_EXCLUDED):
            nominal = self._raw(at)
            if nominal is None or nominal >= _END_OF_TIME:
                return None
            if self._end is not None and nominal * SECOND > self._end:
                return None
            if not any(calendar.matches(nominal) for calendar in self._excluded):
                return Due(nominal * SECOND, nominal * SECOND + self._moved(nominal))
            at = nominal
        raise TooManyExclusionsError(
            "the schedule calendar specification has too many exclusions. Please modify the specification."
        )

    def matches(self, when: int) -> bool:
        """Whether a whole second (ns) is a nominal time of the specification."""
        return when % SECOND == 0 and (due := self.next(when - SECOND)) is not None and due.nominal == when

    def _raw(self, after: int) -> int | None:
        """The next time (s) of any calendar or interval."""
        if after >= _END_OF_TIME:
            return None
        found = [when for calendar in self._calendars if (when := calendar.next(after)) is not None]
        for interval, phase in self._intervals:
            # the division rounds towards zero, as Temporal's does
            done = (after - phase) // interval if after >= phase else -((phase - after) // interval)
            found.append((done + 1) * interval + phase)
        return min(found, default=None)

    def _moved(self, nominal: int) -> int:
        """How far (ns) jitter moves a time; never past the one that follows."""
        if not self._jitter:
            return 0
        following = self._raw(nominal)
        most = self._jitter if following is None else min(self._jitter, (following - nominal) * SECOND)
        digest = hashlib.blake2b(nominal.to_bytes(8, "big", signed=True) + self._seed, digest_size=4).digest()
        return (int.from_bytes(digest) * min(most // MILLISECOND, _LONGEST_JITTER) >> 32) * MILLISECOND


def _seconds(interval: IntervalSpec) -> tuple[int, int]:
    return from_duration(interval.interval) // SECOND, from_duration(interval.phase) // SECOND


@lru_cache(maxsize=256)
def times(spec: bytes, seed: str) -> Times:
    """The times of a serialised canonical specification; the last few are remembered."""
    return Times(ScheduleSpec.FromString(spec), seed)


assert MAX_YEAR == 2100, "_END_OF_TIME is the year after"

"""Cron schedules of workflows: when the next run of a chain begins. TEMPORAL.md, section 11.

This is the older notation, not that of schedules (`perdure.engine.schedules`): five fields in the dialect of Go's robfig/cron, whose
day of month and day of week are joined by *or* when both are restricted, whose Sunday is 0 only, and which knows `?`, `@every 90s` and
`CRON_TZ=`. The search moves an instant on, field by field, because that decides what happens where a clock change skips an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from perdure.engine.errors import invalid
from perdure.engine.protos import SECOND
from perdure.engine.schedules.go_values import duration, integer
from perdure.engine.schedules.ranges import NAMED
from perdure.engine.schedules.zones import Zone, zone

_MINUTE, _HOUR = 60, 3600
_YEARS_AHEAD = 5  # a schedule without a time for so long has none
_A_LEAP_YEAR_IS_NEAR = (
    1_767_225_600 * SECOND
)  # 2026: what has a time at all has one in the five years from here
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Cron(Protocol):
    def next(self, after: int) -> int | None:
        """The first time (ns) after `after`; None when there is none."""
        ...

    def first_from(self, begin: int, now: int) -> int | None:
        """Of the times that follow one another after `begin`, the first that is not before `now`."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """@every: a constant delay (s)."""

    delay: int

    def next(self, after: int) -> int:
        return (after // SECOND + self.delay) * SECOND

    def first_from(self, begin: int, now: int) -> int:
        delay, first = self.delay * SECOND, self.next(begin)
        return first + max(0, -((first - now) // delay)) * delay


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers that a field matches. `star`: it is not restricted."""

    values: frozenset[int]
    star: bool

    def __contains__(self, value: int) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Fields:
    """Five fields in a time zone."""

    minutes: _Numbers
    hours: _Numbers
    days: _Numbers
    months: _Numbers
    weekdays: _Numbers
    zone: Zone

    def first_from(self, begin: int, now: int) -> int | None:
        return self.next(max(begin, now - 1))

    def next(self, after: int) -> int | None:
        if not all(f.values for f in (self.minutes, self.hours, self.months)):
            return None
        when = after // SECOND + 1
        last_year = self.zone.local(when).year + _YEARS_AHEAD
        checks: Sequence[
            tuple[Callable[[datetime], bool], Callable[[datetime, int, bool], int], int, str]
        ] = (
            (lambda local: local.month in self.months, self._next_month, 1, "month"),
            (self._day_matches, self._next_day, 1, "day"),
            (lambda local: local.hour in self.hours, self._next_hour, 0, "hour"),
            (lambda local: local.minute in self.minutes, _next_minute, 0, "minute"),
            (lambda local: local.second == 0, _next_second, 0, "second"),
        )
        field, moved = 0, False
        while field < len(checks):
            local = self.zone.local(when)
            if field == 0 and local.year > last_year:
                return None
            matches, move, first, name = checks[field]
            if matches(local):
                field += 1
                continue
            when, moved = move(local, when, moved), True
            if getattr(self.zone.local(when), name) == first:
                field = 0  # wrapped around: the larger fields are looked at again
        return when * SECOND

    def _day_matches(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (day and weekday) if self.days.star or self.weekdays.star else (day or weekday)

    def _next_month(self, local: datetime, when: int, moved: bool) -> int:
        """`moved`: the smaller fields start over already, as they must from the first move on."""
        clock = (local.hour, local.minute, local.second) if moved else (0, 0, 0)
        return self.zone.instant(
            local.year + local.month // 12, local.month % 12 + 1, local.day if moved else 1, *clock
        )

    def _next_day(self, local: datetime, when: int, moved: bool) -> int:
        clock = (local.hour, local.minute, local.second) if moved else (0, 0, 0)
        when = self.zone.instant(local.year, local.month, local.day + 1, *clock)
        hour = self.zone.local(when).hour  # not midnight where the clock changes at midnight
        return when + (24 - hour if hour > 12 else -hour) * _HOUR

    def _next_hour(self, local: datetime, when: int, moved: bool) -> int:
        if not moved:
            when = self.zone.instant(local.year, local.month, local.day, local.hour)
        return when + _HOUR


def _next_minute(local: datetime, when: int, moved: bool) -> int:
    return (when if moved else when - when % _MINUTE) + _MINUTE


def _next_second(local: datetime, when: int, moved: bool) -> int:
    return when + 1


# --- reading


@lru_cache(maxsize=256)
def parse(text: str) -> Cron:
    """Reads a cron schedule. Raises ValueError."""
    where = zone("")
    if text.startswith(("TZ=", "CRON_TZ=")):
        head, space, text = text.partition(" ")
        if not space:
            raise ValueError("a time zone without fields")
        where, text = zone(head.partition("=")[2]), text.strip()
    if text.startswith("@every "):
        return Every(max(1, duration(text.removeprefix("@every ")) // SECOND))
    fields = NAMED.get(text, text).split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}")
    minute, hour, day, month, weekday = fields
    return Fields(
        _numbers(minute, 0, 59),
        _numbers(hour, 0, 23),
        _numbers(day, 1, 31),
        _numbers(month, 1, 12, _MONTHS),
        _numbers(weekday, 0, 6, _DAYS),
        where,
    )


def _numbers(text: str, low: int, high: int, names: Sequence[str] = ()) -> _Numbers:
    values: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        span, *steps = part.split("/")
        if len(steps) > 1:
            raise ValueError(f"too many slashes: {part}")
        step = _number(steps[0]) if steps else 1
        first, *ends = span.split("-")
        if first in ("*", "?"):
            begin, end = low, high
            star = star or step <= 1
        elif len(ends) > 1:
            raise ValueError(f"too many hyphens: {part}")
        else:
            begin = _number(first, low, names)
            end = _number(ends[0], low, names) if ends else high if steps else begin
        if not low <= begin <= end <= high or not step:
            raise ValueError(f"out of range: {part}")
        values.update(range(begin, end + 1, step))
    return _Numbers(frozenset(values), star)


def _number(text: str, low: int = 0, names: Sequence[str] = ()) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    value = integer(text)
    if value < 0:
        raise ValueError(f"negative number ({value}) not allowed: {text}")
    return value


# --- rules


def check(text: str) -> None:
    """Raises INVALID_ARGUMENT for a cron schedule that is not one, or that has no time."""
    if not text:
        return
    try:
        cron = parse(text)
    except ValueError:
        raise invalid("invalid CronSchedule.") from None
    if cron.next(_A_LEAP_YEAR_IS_NEAR) is None:
        raise invalid("invalid CronSchedule, no time can be found to satisfy the schedule")


def backoff(text: str, execution_time: int, now: int) -> int | None:
    """How long (ns, full seconds) the next run waits; None without a cron schedule, or when it names no time.

    Times are counted from when the run before was due, so that a run that took too long leaves times out and delays none.
    """
    if not text:
        return None
    try:
        cron = parse(text)
    except ValueError:  # a continue-as-new command may bring anything
        return None
    when = execution_time if now < execution_time else cron.first_from(execution_time, now)
    return None if when is None else -(-(when - now) // SECOND) * SECOND

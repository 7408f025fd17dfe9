"""The times that match one calendar.

The search goes over wall-clock places, outermost field first: a field that does not match is moved on by one, and what is inside it
starts over. A repeated hour is gone through a second time (`again`); a place in a skipped hour is passed over.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass

from temporalio.api.schedule.v1 import StructuredCalendarSpec

from perdure.engine.schedules.ranges import MAX_YEAR, numbers
from perdure.engine.schedules.zones import Zone

HOUR = 3600


@dataclass(slots=True)
class _Place:
    """A place on the wall clock. `again`: in the second pass through an hour that occurs twice."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    again: bool


class Calendar:
    """One calendar in one time zone. Times are whole seconds since the epoch."""

    def __init__(self, fields: StructuredCalendarSpec, zone: Zone) -> None:
        self._zone = zone
        self._years = numbers(fields.year)
        self._months = numbers(fields.month)
        self._days = numbers(fields.day_of_month)
        self._weekdays = numbers(fields.day_of_week)
        self._hours = numbers(fields.hour)
        self._minutes = numbers(fields.minute)
        self._seconds = numbers(fields.second)

    def matches(self, when: int) -> bool:
        local = self._zone.local(when)
        return (
            (not self._years or local.year in self._years)
            and local.month in self._months
            and local.day in self._days
            and local.isoweekday() % 7 in self._weekdays
            and local.hour in self._hours
            and local.minute in self._minutes
            and local.second in self._seconds
        )

    def next(self, after: int) -> int | None:
        """The first matching time after `after`; None when there is none up to the year 2100."""
        local = self._zone.local(after)
        again = self._zone.local(after - HOUR).hour == local.hour
        place = _Place(local.year, local.month, local.day, local.hour, local.minute, local.second + 1, again)
        while True:
            self._carry(place)
            if place.year > MAX_YEAR:
                return None
            if not self._settle(place):
                continue
            when = self._instant(place)
            if self._zone.local(when).hour == place.hour:
                return when + HOUR if place.again else when
            place.hour, place.minute, place.second = place.hour + 1, 0, 0  # there is no such hour on this day

    def _instant(self, place: _Place) -> int:
        return self._zone.instant(place.year, place.month, place.day, place.hour, place.minute, place.second)

    def _carry(self, place: _Place) -> None:
        """Overflowing fields into the next larger ones; at the end of an hour that occurs twice, back to its start."""
        if place.second >= 60:
            place.minute, place.second = place.minute + 1, 0
        if place.minute >= 60:
            place.minute = 0
            begin = self._zone.instant(place.year, place.month, place.day, place.hour)
            end = self._zone.instant(place.year, place.month, place.day, place.hour + 1)
            place.again = not place.again and end - begin > HOUR
            if not place.again:
                place.hour += 1
        if place.hour >= 24:
            place.day, place.hour = place.day + 1, 0
        if place.month <= 12 and place.day > calendar.monthrange(place.year, place.month)[1]:
            place.month, place.day = place.month + 1, 1
        if place.month > 12:
            place.year, place.month = place.year + 1, 1

    def _settle(self, place: _Place) -> bool:
        """Moves on in the outermost field that does not match; True when all match already."""
        if self._years and place.year not in self._years:
            place.year, place.month, place.day = place.year + 1, 1, 1
        elif place.month not in self._months:
            place.month, place.day = place.month + 1, 1
        elif place.day not in self._days or self._weekday(place) not in self._weekdays:
            place.day += 1
        elif place.hour not in self._hours:
            place.hour += 1
            place.minute = place.second = 0
            place.again = False
            return False
        else:
            return self._settle_minute(place)
        place.hour = place.minute = place.second = 0
        place.again = False
        return False

    def _weekday(self, place: _Place) -> int:
        """0 is Sunday."""
        return self._zone.local(self._instant(place)).isoweekday() % 7

    def _settle_minute(self, place: _Place) -> bool:
        while place.minute not in self._minutes:
            place.minute, place.second = place.minute + 1, 0
            if place.minute >= 60:
                return False
        while place.second not in self._seconds:
            place.second += 1
            if place.second >= 60:
                return False
        return True

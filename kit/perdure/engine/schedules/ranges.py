"""Cron strings and calendar fields, as people write them, to ranges of numbers.

A field is a list of parts with commas between: `*`, `5`, `mon`, `1-5`, `*/15`, `3/5` (from 3 to the end), `1-20/2`. Months and days of
the week have names, of which the first three or two letters suffice; Sunday is 0 and 7. Errors are ValueErrors with Temporal's texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.schedule.v1 import CalendarSpec, IntervalSpec, Range, StructuredCalendarSpec

from perdure.engine.protos import duration as to_duration
from perdure.engine.schedules.go_values import duration, integer

MIN_YEAR, MAX_YEAR = 2000, 2100
_COMMENT_LENGTH = 200
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a calendar. `names` count from `low`; `letters` of a name must be given at least."""

    title: str
    attribute: str
    default: str
    low: int
    high: int
    names: Sequence[str] = ()
    letters: int = 0


FIELDS = (
    _Field("Second", "second", "0", 0, 59),
    _Field("Minute", "minute", "0", 0, 59),
    _Field("Hour", "hour", "0", 0, 23),
    _Field("DayOfWeek", "day_of_week", "*", 0, 7, _DAYS, 2),
    _Field("DayOfMonth", "day_of_month", "*", 1, 31),
    _Field("Month", "month", "*", 1, 12, _MONTHS, 3),
    _Field("Year", "year", "*", MIN_YEAR, MAX_YEAR),
)


def structured(calendar: CalendarSpec) -> StructuredCalendarSpec:
    """The ranges of a calendar whose fields are texts."""
    errors: list[str] = []
    ranges: dict[str, list[Range]] = {}
    for field in FIELDS:
        text = getattr(calendar, field.attribute).strip() or field.default
        try:
            ranges[field.attribute] = _ranges(text, field)
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError(", ".join(errors))
    result = StructuredCalendarSpec(comment=calendar.comment)
    for name, values in ranges.items():
        getattr(result, name).extend(values)
    return result


def _ranges(text: str, field: _Field) -> list[Range]:
    if text == "*" and field.attribute == "year":
        return []  # every year is no range at all
    found: list[Range] = []
    for part in text.split(","):
        found += _part(part, field)
    return found


def _part(text: str, field: _Field) -> Iterable[Range]:
    span, step = _step(text, field)
    low, high = _span(span, field, open_ended=step is not None)
    step = step or 1
    if field.attribute == "day_of_week" and high == 7:
        # Sunday as 7 moves to the front, unless the range up to Saturday covers it or does not reach it
        if (7 - low) % step == 0 and (step > 1 or low > 1):
            yield Range()
            if low == 7:
                return
        high = 6
    # what is implied is left out: an end that is the start, a step of one
    yield Range(start=low, end=0 if low == high else high, step=0 if step == 1 else step)


def _step(text: str, field: _Field) -> tuple[str, int | None]:
    span, *steps = text.split("/")
    if len(steps) > 1:
        raise ValueError(f"{field.title} has too many slashes")
    if not steps:
        return span, None
    if not steps[0]:
        raise ValueError(f"{field.title} missing step value")
    step = integer(steps[0])
    if step < 1:
        raise ValueError(f"{field.title} has invalid Step")
    return span, step


def _span(text: str, field: _Field, *, open_ended: bool) -> tuple[int, int]:
    limits = f"not in range [{field.low}-{field.high}]"
    if text == "*":
        return field.low, field.high
    first, *others = text.split("-")
    if len(others) > 1:
        raise ValueError(f"{field.title} has too many dashes")
    if not others:
        low = _value(first, field)
        if low is None:
            raise ValueError(f"{field.title} is {limits}")
        return low, field.high if open_ended else low
    low, high = _value(first, field), _value(others[0], field)
    if low is None:
        raise ValueError(f"{field.title} Start is {limits}")
    if high is None or high < low:
        raise ValueError(f"{field.title} End is before Start or {limits}")
    return low, high


def _value(text: str, field: _Field) -> int | None:
    """A number of the field, or a name; None for anything else."""
    if field.names and len(text) >= field.letters:
        for index, name in enumerate(field.names):
            if name.startswith(text.lower()):
                return index + field.low
    try:
        value = integer(text)
    except ValueError:
        return None
    return value if field.low <= value <= field.high else None


@dataclass(frozen=True, slots=True)
class Cron:
    """What a cron string means: a calendar or an interval, and the time zone that it names ("" for none)."""

    calendar: StructuredCalendarSpec | None = None
    interval: IntervalSpec | None = None
    zone: str = ""


def cron(text: str) -> Cron:
    """Reads a cron string: 5 fields, 6 with a year at the end, 7 with seconds in front as well; or one of the @ forms."""
    text, zone = text.strip(), ""
    if text.startswith(("TZ=", "CRON_TZ=")):
        head, space, text = text.partition(" ")
        if not space:
            raise ValueError("CronString has time zone but missing fields")
        zone = head.partition("=")[2]
    text, _, comment = text.partition("#")
    text, comment = text.strip(), comment.strip()
    if text.startswith("@every"):
        return Cron(interval=_every(text))
    fields = NAMED.get(text, text).split()
    if not 5 <= len(fields) <= 7:
        raise ValueError("CronString does not have 5-7 fields")
    if len(fields) < 7:
        fields = ["", *fields]
    minute, hour, day_of_month, month, day_of_week, year = (*fields[1:], "")[:6]
    calendar = CalendarSpec(
        second=fields[0],
        minute=minute,
        hour=hour,
        day_of_month=day_of_month,
        month=month,
        day_of_week=day_of_week,
        year=year,
        comment=comment,
    )
    return Cron(structured(calendar), zone=zone)


def _every(text: str) -> IntervalSpec:
    """@every 1h30m, or with a phase @every 12h/3h."""
    _, space, lengths = text.partition(" ")
    if not space:
        raise ValueError("CronString does not have interval after @every")
    interval, _, phase = lengths.partition("/")
    spec = IntervalSpec(interval=to_duration(duration(interval, days=True)))
    if phase:
        spec.phase.CopyFrom(to_duration(duration(phase, days=True)))
    return spec


def check_calendar(calendar: StructuredCalendarSpec) -> None:
    """Raises ValueError for a calendar with numbers out of range."""
    errors = []
    for field in sorted(FIELDS, key=lambda f: _CHECKED.index(f.attribute)):
        high = 6 if field.attribute == "day_of_week" else field.high
        limits = f"not in range [{field.low}-{high}]"
        for part in getattr(calendar, field.attribute):
            if not field.low <= part.start <= high:
                errors.append(f"{field.title} Start is {limits}")
            if part.end and not part.start <= part.end <= high:
                errors.append(f"{field.title} End is before Start or {limits}")
            if part.step < 0:
                errors.append(f"{field.title} has invalid Step")
    if len(calendar.comment.encode()) > _COMMENT_LENGTH:
        errors.append("comment is too long")
    if errors:
        raise ValueError("invalid calendar spec: " + ", ".join(errors))


_CHECKED = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")


def fill(calendar: StructuredCalendarSpec) -> None:
    """Writes out what ranges leave to be understood: an end that is the start, a step of one."""
    for field in FIELDS:
        for part in getattr(calendar, field.attribute):
            part.end = max(part.start, part.end)
            part.step = part.step or 1


def numbers(ranges: Iterable[Range]) -> frozenset[int]:
    """All numbers of the ranges."""
    return frozenset(
        number
        for part in ranges
        for number in range(
            max(part.start, 0), min(max(part.start, part.end), MAX_YEAR) + 1, max(part.step, 1)
        )
    )

"""Durations as people write them: "30s", "5 minutes", "1h30m", "250ms", "2 days", 2.5, timedelta.

A text is one or more pairs of a number and a unit, with or without spaces, commas or "and" between them; a
bare number counts seconds. Months and years are refused: they have no fixed length.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from typing import TypeAlias

from perdure.errors import DefinitionError

Duration: TypeAlias = str | int | float | timedelta

_UNITS = {
    "us": 1, "µs": 1, "μs": 1, "microsecond": 1, "microseconds": 1,
    "ms": 1_000, "millisecond": 1_000, "milliseconds": 1_000, "millis": 1_000,
    "s": 1_000_000, "sec": 1_000_000, "secs": 1_000_000, "second": 1_000_000, "seconds": 1_000_000,
    "m": 60_000_000, "min": 60_000_000, "mins": 60_000_000, "minute": 60_000_000, "minutes": 60_000_000,
    "h": 3_600_000_000, "hr": 3_600_000_000, "hrs": 3_600_000_000,
    "hour": 3_600_000_000, "hours": 3_600_000_000,
    "d": 86_400_000_000, "day": 86_400_000_000, "days": 86_400_000_000,
    "w": 604_800_000_000, "week": 604_800_000_000, "weeks": 604_800_000_000,
}  # fmt: skip
_PAIR = re.compile(r"\s*(?:,|and\b)?\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)")
_BARE = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_EXAMPLES = 'Write it like "30s", "5 minutes", "1h30m" or "250ms", or give seconds as a number.'


def parse_duration(value: Duration, what: str = "duration") -> timedelta:
    """The duration that `value` names.

    Args:
        value: a text, a number of seconds, or a timedelta.
        what: what the value is for; it opens the error's message.

    Raises:
        DefinitionError: the value is no duration, is negative, or is too long for a timedelta.
    """
    if isinstance(value, timedelta):
        result = value
    elif isinstance(value, str):
        result = _parse_text(value, what)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DefinitionError(f"{what} {value!r} is not finite.", _EXAMPLES)
        result = _of_microseconds(value * 1_000_000, value, what)
    else:
        raise DefinitionError(f"{what} {value!r} is a {type(value).__name__}, not a duration.", _EXAMPLES)
    if result < timedelta(0):
        raise DefinitionError(f"{what} {value!r} is negative.", _EXAMPLES)
    return result


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as `value`, such as "1h30m"."""
    left = value // timedelta(microseconds=1)
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _parse_text(text: str, what: str) -> timedelta:
    folded = text.strip().lower()
    if _BARE.fullmatch(folded):
        return _of_microseconds(round(Decimal(folded) * 1_000_000), text, what)
    total, position = 0, 0
    while position < len(folded):
        pair = _PAIR.match(folded, position)
        if pair is None:
            raise DefinitionError(f"{what} {text!r} is not a duration.", _EXAMPLES)
        number, unit = pair.groups()
        if unit not in _UNITS:
            raise DefinitionError(f"{what} {text!r} has the unknown unit {unit!r}.", _remedy_for(unit))
        total += round(Decimal(number) * _UNITS[unit])
        position = pair.end()
    if position == 0:
        raise DefinitionError(f"{what} is empty.", _EXAMPLES)
    return _of_microseconds(total, text, what)


def _remedy_for(unit: str) -> str:
    if unit.startswith(("month", "mo", "year", "y")):
        return "Months and years differ in length; give days or weeks."
    return "Units are us, ms, s, m, h, d and w, also written out."


def _of_microseconds(count: float, value: object, what: str) -> timedelta:
    try:
        return timedelta(microseconds=round(count))
    except OverflowError:
        raise DefinitionError(f"{what} {value!r} is too long.", "Give at most 2,700,000 years.") from None

"""Numbers and durations in the notation of Go, which Temporal's users write in cron strings. The texts of errors are Go's, too."""

from __future__ import annotations

import re
from fractions import Fraction

_INTEGER = re.compile(r"[+-]?[0-9]+")
_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)")
_DAYS = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)d")
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,  # the Greek letter, besides the sign
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_MOST = (1 << 63) - 1


def integer(text: str) -> int:
    """A decimal integer. Raises ValueError."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    value = int(text)
    if not -_MOST - 1 <= value <= _MOST:
        raise ValueError(f'strconv.Atoi: parsing "{text}": value out of range')
    return value


def duration(text: str, *, days: bool = False) -> int:
    """A duration such as "1h30m", in ns; with `days` also "2d". Raises ValueError."""
    if days:
        text = _DAYS.sub(lambda match: f"{24 * float(match[1]):f}h", text)
    rest, negative = text.removeprefix("-"), text.startswith("-")
    if not negative:
        rest = rest.removeprefix("+")
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = Fraction(0)
    while rest:
        match = _PART.match(rest)
        assert match is not None
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if not whole and fraction in ("", "."):
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += Fraction(f"{whole or 0}{fraction if fraction != '.' else ''}") * _UNITS[unit]
        rest = rest[match.end() :]
    value = int(total)
    if value > _MOST:
        raise ValueError(f'time: invalid duration "{text}"')
    return -value if negative else value

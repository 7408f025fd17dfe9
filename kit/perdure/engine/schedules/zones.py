"""Wall clocks of time zones, in whole seconds, with Temporal's reading of hours that a change of the clock skips or repeats.

A wall time that occurs twice, or never, is read with the offset that holds at the same digits in UTC, corrected once. In zones west of
Greenwich this is the first of two; in zones east of it, the second. Temporal's times depend on it, so it is kept.
"""

from __future__ import annotations

import io
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@dataclass(frozen=True, slots=True)
class Zone:
    info: tzinfo

    def local(self, when: int) -> datetime:
        """What the clock on the wall shows at a time (s)."""
        return datetime.fromtimestamp(when, self.info)

    def offset(self, when: int) -> int:
        """How far the wall clock is ahead of UTC (s)."""
        ahead = self.local(when).utcoffset()
        return int(ahead.total_seconds()) if ahead is not None else 0

    def instant(self, year: int, month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> int:
        """The time (s) at which the clock shows this; an hour of 24 is the next day's first."""
        digits = timegm((year, month, day, hour, minute, second))
        ahead = self.offset(digits)
        return digits - (ahead if self.offset(digits - ahead) == ahead else self.offset(digits - ahead))


def zone(name: str, data: bytes = b"") -> Zone:
    """A time zone of the IANA database, or one that comes as a file's bytes. Raises ValueError."""
    if data:
        try:
            return Zone(ZoneInfo.from_file(io.BytesIO(data), key=name or None))
        except (ValueError, OSError, IndexError, EOFError):
            raise ValueError("malformed time zone information") from None
    return _named(name)


@lru_cache(maxsize=256)
def _named(name: str) -> Zone:
    if name in ("", "UTC"):
        return Zone(UTC)
    if ".." in name or name.startswith(("/", "\\")):
        raise ValueError("time: invalid location name")
    try:
        return Zone(ZoneInfo(name))
    except IsADirectoryError:
        raise ValueError("is a directory") from None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None

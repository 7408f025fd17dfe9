"""Time and identity, injected.

The engine asks one `Clock` for the time and for waking up, and one `Ids` for run ids. The real ones are below;
`perdure.testing` has a clock that jumps to the next due timer when all is idle, so that no test sleeps.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Protocol, runtime_checkable
from uuid import UUID


class Clock(Protocol):
    """What the engine knows of time. Times are integers: nanoseconds since 1970-01-01 UTC."""

    def now(self) -> int:
        """The time now, in nanoseconds since the epoch."""
        ...

    async def sleep_until(self, when: int | None, wake: asyncio.Event) -> None:
        """Returns at `when` (never, if None), or as soon as `wake` is set."""
        ...


@runtime_checkable
class SkippingClock(Clock, Protocol):
    """A clock that may skip the time in which nothing is in flight: `perdure.testing`'s. TestService steers it."""

    def hold(self) -> None:
        """Skips nothing until the matching `release`."""
        ...

    def release(self) -> None: ...

    async def pass_time(self, nanoseconds: int) -> None:
        """Lets so much time pass at once, with all that becomes due on the way."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns()

    async def sleep_until(self, when: int | None, wake: asyncio.Event) -> None:
        delay = None if when is None else max(0.0, (when - self.now()) / 1e9)
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            pass


def uuid7(now: int, random: bytes) -> str:
    """A version 7 UUID: `now` (ns) to the millisecond, then 74 of the 80 bits of `random` (10 bytes). RFC 9562, 5.7."""
    value = (now // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(random)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(UUID(int=value))


class Ids:
    """New run ids; Temporal's server gives version 7 UUIDs, and its SDKs' tests ask for that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self) -> str:
        return uuid7(self._clock.now(), os.urandom(10))

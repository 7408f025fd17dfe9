"""Temporal's TestService: time for tests, one clock for all runs. TEMPORAL.md, section 23.

It works where the engine's clock can skip time (`perdure.testing`); elsewhere it is as unknown as to Temporal's own server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from temporalio.api.testservice.v1 import (
    GetCurrentTimeResponse,
    LockTimeSkippingRequest,
    LockTimeSkippingResponse,
    SleepRequest,
    SleepResponse,
    SleepUntilRequest,
    UnlockTimeSkippingRequest,
    UnlockTimeSkippingResponse,
)

from perdure.engine.clock import SkippingClock
from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import from_duration, from_timestamp, timestamp
from perdure.engine.rpc.common import Handlers

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def _clock(engine: Engine) -> SkippingClock:
    if not isinstance(engine.clock, SkippingClock):
        raise ServiceError(
            Code.UNIMPLEMENTED,
            "TestService: time goes its own way here; perdure.testing.time_skipping() and perdure-test-server have time that skips",
        )
    return engine.clock


async def lock_time_skipping(
    engine: Engine, request: LockTimeSkippingRequest, metadata: Mapping[str, str]
) -> LockTimeSkippingResponse:
    _clock(engine).hold()
    return LockTimeSkippingResponse()


async def unlock_time_skipping(
    engine: Engine, request: UnlockTimeSkippingRequest, metadata: Mapping[str, str]
) -> UnlockTimeSkippingResponse:
    _clock(engine).release()
    return UnlockTimeSkippingResponse()


async def sleep(engine: Engine, request: SleepRequest, metadata: Mapping[str, str]) -> SleepResponse:
    """Waits on this clock. It is skipped like any other wait, once nothing holds the clock."""
    clock = _clock(engine)
    await clock.sleep_until(clock.now() + from_duration(request.duration), asyncio.Event())
    return SleepResponse()


async def sleep_until(
    engine: Engine, request: SleepUntilRequest, metadata: Mapping[str, str]
) -> SleepResponse:
    await _clock(engine).sleep_until(from_timestamp(request.timestamp), asyncio.Event())
    return SleepResponse()


async def unlock_time_skipping_with_sleep(
    engine: Engine, request: SleepRequest, metadata: Mapping[str, str]
) -> SleepResponse:
    await _clock(engine).pass_time(from_duration(request.duration))
    return SleepResponse()


async def get_current_time(
    engine: Engine, request: Empty, metadata: Mapping[str, str]
) -> GetCurrentTimeResponse:
    return GetCurrentTimeResponse(time=timestamp(_clock(engine).now()))


HANDLERS: Handlers = {
    "LockTimeSkipping": lock_time_skipping,
    "UnlockTimeSkipping": unlock_time_skipping,
    "Sleep": sleep,
    "SleepUntil": sleep_until,
    "UnlockTimeSkippingWithSleep": unlock_time_skipping_with_sleep,
    "GetCurrentTime": get_current_time,
}

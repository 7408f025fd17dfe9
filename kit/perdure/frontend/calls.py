"""The one door to the service: both frontends call through it.

It turns whatever a handler raises into a ServiceError, and knows all calls that are under way, so that
closing the engine ends long polls at once and tells their callers UNAVAILABLE ("come again": SDKs do)
instead of a cancellation that they would take for their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from perdure.engine.errors import Code, ServiceError
from perdure.frontend.status import as_service_error

T = TypeVar("T")


class Service(Protocol):
    """What a frontend needs of the engine's service."""

    async def call(self, method: str, request: Any, metadata: Mapping[str, str] = {}) -> Message: ...


class Calls:
    """The calls under way on one engine. To be used on the engine's loop.

    Args:
        service: the engine's.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def call(self, method: str, request: Message, metadata: Mapping[str, str]) -> Message:
        """The service's answer. Raises ServiceError, and nothing else."""
        return await self.run(method, self._service.call(method, request, metadata))

    async def run(self, what: str, work: Awaitable[T]) -> T:
        """Awaits `work` as part of the calling task. Raises ServiceError, and nothing else."""
        try:
            return await self.guard(work)
        except Exception as error:
            raise as_service_error(error, what) from error

    async def guard(self, work: Awaitable[T]) -> T:
        """Awaits `work` as part of the calling task; ServiceError UNAVAILABLE ends it when the engine closes."""
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            if asyncio.iscoroutine(work):
                work.close()
            raise _closing_error()
        self._under_way.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            if not self._closing:
                raise
            task.uncancel()
            raise _closing_error() from None
        finally:
            self._under_way.discard(task)

    def close(self) -> None:
        """Ends all calls, and refuses new ones, with UNAVAILABLE."""
        self._closing = True
        for task in self._under_way:
            task.cancel()


def _closing_error() -> ServiceError:
    return ServiceError(Code.UNAVAILABLE, "This project is being closed here; another process may take over.")

"""Temporal's testing environment, with the engine of this process for its server: nothing is downloaded.

    async with await perdure.testing.time_skipping() as env:
        async with Worker(env.client, task_queue="q", workflows=[Reminder]):
            await env.client.execute_workflow(Reminder.run, id="r", task_queue="q")  # sleeps for 30 days: at once

It is a `temporalio.testing.WorkflowEnvironment`: time skips while a result is awaited, `sleep` lets time pass, and
`auto_time_skipping_disabled` leaves it alone. There is one clock for all runs of an environment.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from google.protobuf.empty_pb2 import Empty
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, SleepRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from perdure.frontend.host import EngineHost
from perdure.testing.clock import JumpingClock
from perdure.testing.flights import Flights
from perdure.testing.project import watched


async def time_skipping(
    path: str | Path | None = None, *, interceptors: Sequence[Interceptor] = (), **options: Any
) -> TimeSkippingEnvironment:
    """Starts an engine whose time skips, and an environment for it; `async with` ends both.

    Args:
        path: the engine's file; None is a temporary one.
        interceptors: of the client.
        options: of `temporalio.client.Client.connect`: data_converter, plugins, namespace, identity ...
    """
    flights = Flights()
    clock = JumpingClock(None, running=True, flights=flights)
    clock.hold()
    folder = tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True)
    try:
        file = Path(path) if path is not None else Path(folder.name) / "test.duckdb"
        host = EngineHost(file, clock=clock, open_engine=watched(clock, flights))
        try:
            client = await Client.connect(
                host.address, api_key=host.token, tls=False, interceptors=interceptors, **options
            )
            environment = TimeSkippingEnvironment.from_client(client)
        except BaseException:
            host.close()
            raise
    except BaseException:
        folder.cleanup()
        raise
    assert isinstance(environment, TimeSkippingEnvironment)
    environment.owns(host, folder)
    return environment


class TimeSkippingEnvironment(WorkflowEnvironment):
    """Made by `time_skipping`; or with `from_client`, for a server that has Temporal's TestService."""

    def __init__(self, client: Client) -> None:
        config = client.config()
        config["interceptors"] = [*config["interceptors"], _Skipping(self)]
        super().__init__(Client(**config))
        self._automatic = True
        self._owned: tuple[EngineHost, tempfile.TemporaryDirectory[str]] | None = None

    def owns(self, host: EngineHost, folder: tempfile.TemporaryDirectory[str]) -> None:
        """What ends with this environment."""
        self._owned = (host, folder)

    async def shutdown(self) -> None:
        """Stops the engine, and removes its temporary file."""
        if self._owned is not None:
            host, folder = self._owned
            self._owned = None
            host.close()
            folder.cleanup()

    @property
    def supports_time_skipping_v1(self) -> bool:
        """True: `sleep`, `get_current_time` and awaited results use the server's clock."""
        return True

    async def sleep(self, duration: timedelta | float) -> None:
        """Lets so much of the server's time pass, at once."""
        request = SleepRequest()
        request.duration.FromTimedelta(
            duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        )
        await self.client.test_service.unlock_time_skipping_with_sleep(request)

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """The server's time."""
        response = await self.client.test_service.get_current_time(Empty())
        return response.time.ToDatetime(tzinfo=UTC)

    @contextmanager
    def auto_time_skipping_disabled(self) -> Iterator[None]:
        """No skipping inside, though results are awaited."""
        before, self._automatic = self._automatic, False
        try:
            yield
        finally:
            self._automatic = before

    @asynccontextmanager
    async def skipping(self) -> AsyncIterator[None]:
        """Time skips inside, unless that is disabled."""
        if not self._automatic:
            yield
            return
        await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            yield
        finally:
            await self.client.test_service.lock_time_skipping(LockTimeSkippingRequest())


class _Skipping(Interceptor):
    """Gives handles of started workflows whose result is awaited with skipping time."""

    def __init__(self, environment: TimeSkippingEnvironment) -> None:
        self._environment = environment

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _SkippingOutbound(next, self._environment)


class _SkippingOutbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, environment: TimeSkippingEnvironment) -> None:
        super().__init__(next)
        self._environment = environment

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        handle = cast(_SkippingHandle, await super().start_workflow(input))
        handle.__class__ = _SkippingHandle  # the SDK makes the handle; only its `result` is another
        handle.environment = self._environment
        return handle


class _SkippingHandle(WorkflowHandle[Any, Any]):
    environment: TimeSkippingEnvironment

    async def result(
        self,
        *,
        follow_runs: bool = True,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        async with self.environment.skipping():
            return await super().result(
                follow_runs=follow_runs, rpc_metadata=rpc_metadata, rpc_timeout=rpc_timeout
            )

"""The engine and its frontends, started and stopped together.

`ServedEngine` lives on the loop that it is started on. `EngineHost` gives it a thread and a loop of its
own: for tests, `perdure serve` and whoever needs no takeover. Sessions use `membership.Membership`, which
is the same with ownership.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from temporalio.client import Client

from perdure.engine.clock import Clock, SystemClock
from perdure.engine.project import Project
from perdure.errors import StoreError
from perdure.frontend.calls import Calls, Service
from perdure.frontend.forks import close_copies, is_socket_of, refuse_fork, watch_forks
from perdure.frontend.grpc_server import Gate, Server, TemporalHandler, Tls, serve
from perdure.frontend.local import local_client
from perdure.frontend.loops import LoopThread
from perdure.frontend.project_service import ProjectHandler

logger = logging.getLogger(__name__)


class RunningEngine(Protocol):
    """What the frontends need: an engine that has recovered, with its store."""

    @property
    def service(self) -> Service: ...

    @property
    def project(self) -> Project: ...

    async def parquet(self, query: str) -> bytes: ...

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        """Calls back, on any thread, when a commit has failed: nothing more is kept."""
        ...

    async def stop(self) -> None:
        """Stops the engine and closes the file."""
        ...


OpenEngine: TypeAlias = Callable[[Path], Awaitable[RunningEngine]]


class ServedEngine:
    """An engine with its gRPC server. Made by `start`; to be used on the loop that started it.

    Attributes:
        broken: set when the file has failed, and the engine with it.
        failure: why.
    """

    def __init__(self, engine: RunningEngine, calls: Calls, server: Server, token: str) -> None:
        self.engine = engine
        self.calls = calls
        self.server = server
        self.token = token
        self.loop = asyncio.get_running_loop()
        self.broken = asyncio.Event()
        self.failure: StoreError | None = None
        engine.on_failure(self._fail)

    @classmethod
    async def start(
        cls,
        file: Path,
        open_engine: OpenEngine,
        *,
        token: str,
        ports: Sequence[int] = (),
        host: str = "127.0.0.1",
        tls: Tls | None = None,
        where: str = "frontend.json",
    ) -> ServedEngine:
        """Opens the file, recovers, serves. `where`: in which file a user finds the token."""
        engine = await open_engine(file)
        try:
            calls, gate = Calls(engine.service), Gate(token, where)
            project = ProjectHandler(engine.project, engine.parquet, calls, gate, {"file": str(file)})
            handlers = (TemporalHandler(calls, gate), project)
            server = await serve(handlers, ports=ports, host=host, token=token, tls=tls)
        except BaseException:
            await engine.stop()
            raise
        return cls(engine, calls, server, token)

    def _fail(self, error: StoreError) -> None:
        logger.error("The project's file has failed: %s", error)
        self.failure = error
        self.loop.call_soon_threadsafe(self.broken.set)

    async def lost(self) -> StoreError | None:
        """Returns when the file has failed, with the reason."""
        await self.broken.wait()
        return self.failure

    async def close(self) -> None:
        """Ends all calls with UNAVAILABLE, hangs up, stops the engine and closes the file."""
        self.calls.close()
        await self.server.close()
        await self.engine.stop()


class EngineHost:
    """A thread with an engine that is served on 127.0.0.1.

    Args:
        path: the DuckDB file.
        port: to serve on; 0 for any.
        token: that clients must bring; made up when "".
        clock: the engine's time.
        open_engine: how to open the file; tests may put another engine there.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        port: int = 0,
        token: str = "",
        host: str = "127.0.0.1",
        tls: Tls | None = None,
        clock: Clock | None = None,
        open_engine: OpenEngine | None = None,
    ) -> None:
        refuse_fork()
        file = Path(path).expanduser().resolve()
        self.token = token or secrets.token_urlsafe(32)
        self._thread = LoopThread("perdure-engine")
        start = ServedEngine.start(
            file,
            open_engine or real_engine(clock),
            token=self.token,
            ports=[port] if port else [],
            host=host,
            tls=tls,
        )
        try:
            self._served = self._thread.run(start)
        except BaseException:
            self._thread.close()
            raise

        watch_forks(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's."""
        return self._thread.loop

    @property
    def engine(self) -> Any:
        """The Engine. To be used on `loop` only."""
        return self._served.engine

    @property
    def calls(self) -> Calls:
        return self._served.calls

    @property
    def address(self) -> str:
        return self._served.server.address

    async def local_client(self, namespace: str = "default", identity: str = "") -> Client:
        """A Temporal client of this engine without sockets, for any loop."""
        return await local_client(
            self.calls, self.loop, self.address, self.token, namespace=namespace, identity=identity
        )

    def close(self) -> None:
        """Stops everything and closes the file. Idempotent."""
        if self._thread.usable:
            self._thread.run(self._served.close(), timeout=30)
            self._thread.close()

    def in_fork(self) -> None:
        """See forks.py."""
        close_copies(lambda descriptor: is_socket_of(descriptor, self._served.server.port))

    def __enter__(self) -> EngineHost:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def real_engine(clock: Clock | None = None) -> OpenEngine:
    """How perdure's own engine is opened, on a DuckDB file."""
    from perdure.frontend.stored import (
        stored_engine,
    )  # late: tests of the frontends need neither engine nor DuckDB

    return stored_engine(clock or SystemClock())

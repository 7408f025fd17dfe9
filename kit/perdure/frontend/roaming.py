"""The project and its Temporal service, whoever owns them now.

These follow a `Membership` through changes of the owner: a call goes to the owner of the moment, waits
while there is none, and is made once more when the owner went away under it. Calls that must not be made
twice are safe: Temporal's requests carry request ids, and perdure's own are idempotent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from google.protobuf.message import Message
from temporalio.service import RPCError, RPCStatusCode, ServiceClient, _BridgeServiceClient

from perdure.engine.errors import Code, ServiceError
from perdure.engine.project import Notice
from perdure.engine.records import Definition, Output, RunRecords
from perdure.errors import PerdureError
from perdure.frontend.connection import Connection
from perdure.frontend.local import connect_config
from perdure.frontend.loops import hop, hop_each

if TYPE_CHECKING:
    import asyncio

    import pandas as pd

MessageT = TypeVar("MessageT", bound=Message)

_TAKEOVER: Final = 60.0  # seconds in which a new owner should have recovered the file


class Membership(Protocol):
    """What roaming needs of membership.Membership."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def now(self) -> Connection | None: ...

    async def settled(self, wait: float = ...) -> Connection: ...

    async def successor(self, connection: Connection, wait: float = ...) -> Connection: ...


class RoamingProject:
    """engine.project.Project, for any loop."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        """The lease with the owner of the moment. Ends or raises UNAVAILABLE with it: then attend again."""

        async def notices() -> AsyncIterator[Notice]:
            connection = await self._membership.settled()
            source = connection.project.attend(process, adopts=adopts)
            async for notice in _guarded(connection, source):
                yield notice

        return hop_each(self._membership.loop, notices)

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        await self._call("declare", process, definitions)

    async def definitions(self) -> list[Definition]:
        found: list[Definition] = await self._call("definitions")
        return found

    async def pinned(self, run_id: str) -> str:
        version: str = await self._call("pinned", run_id)
        return version

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        records: RunRecords = await self._call("read_run", workflow_id, run_id)
        return records

    async def output(self, lines: Sequence[Output]) -> None:
        await self._call("output", lines)

    def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        """Goes on with the next owner when one goes."""
        return hop_each(self._membership.loop, lambda: self._watch(workflow_id, run_id))

    async def sql(self, query: str) -> pd.DataFrame:
        table: pd.DataFrame = await self._call("sql", query)
        return table

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await hop(self._membership.loop, self._ask(method, arguments))

    async def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        connection = await self._membership.settled()
        try:
            return await connection.guard(getattr(connection.project, method)(*arguments))
        except ServiceError as error:
            if error.code != Code.UNAVAILABLE:
                raise
        connection = await self._membership.successor(connection)
        return await connection.guard(getattr(connection.project, method)(*arguments))

    async def _watch(self, workflow_id: str, run_id: str) -> AsyncIterator[tuple[Output, ...]]:
        latest = 0  # a new owner tells all output again
        while True:
            connection = await self._membership.settled()
            known = latest
            try:
                async for lines in _guarded(connection, connection.project.watch(workflow_id, run_id)):
                    fresh = tuple(line for line in lines if line.time > known)
                    latest = max((latest, *(line.time for line in fresh)))
                    yield fresh
                return
            except ServiceError as error:
                if error.code != Code.UNAVAILABLE:
                    raise
            if await self._membership.successor(connection, _TAKEOVER) is connection:
                raise ServiceError(Code.UNAVAILABLE, "The owner of the project does not answer.")


async def _guarded(connection: Connection, source: Any) -> AsyncIterator[Any]:
    """The items of `source`, until the connection ends."""
    end = object()
    async with aclosing(source):
        while (item := await connection.guard(anext(source, end))) is not end:
            yield item


class RoamingServiceClient(ServiceClient):
    """Temporal's service of the project, for any loop.

    Args:
        membership: whose owner it calls.
        identity: of the client; "" for the SDK's default.
    """

    def __init__(self, membership: Membership, identity: str) -> None:
        super().__init__(connect_config("", "", identity))
        self._membership = membership
        self._metadata: dict[str, str | bytes] = {}

    @property
    def worker_service_client(self) -> _BridgeServiceClient:
        """The gRPC connection to the owner of the moment; it finds a new owner on the same port by itself."""
        connection = self._membership.now
        if connection is None:
            raise PerdureError("The project has no owner at the moment.", "Try again in a moment.")
        return connection.service_client.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self._metadata = dict(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        raise PerdureError(
            "A client of this project takes its token from the project.", "Leave api_key alone."
        )

    async def _rpc_call(
        self,
        rpc: str,
        req: Message,
        resp_type: type[MessageT],
        *,
        service: str,
        retry: bool,
        metadata: Mapping[str, str | bytes],
        timeout: timedelta | None,  # noqa: ASYNC109  # the base class has it
    ) -> MessageT:
        async def ask(connection: Connection) -> MessageT:
            return await connection.service_client._rpc_call(
                rpc,
                req,
                resp_type,
                service=service,
                retry=retry,
                metadata={**self._metadata, **metadata},
                timeout=timeout,
            )

        connection = self._membership.now or await self._next(self._membership.settled(_TAKEOVER))
        try:
            return await ask(connection)
        except RPCError as error:
            if error.status != RPCStatusCode.UNAVAILABLE or not retry:
                raise
            following = await self._next(self._membership.successor(connection, _TAKEOVER))
            if following is connection:
                raise
        return await ask(following)

    async def _next(self, work: Coroutine[Any, Any, Connection]) -> Connection:
        try:
            return await hop(self._membership.loop, work)
        except PerdureError as error:
            raise RPCError(str(error), RPCStatusCode.UNAVAILABLE, b"") from error

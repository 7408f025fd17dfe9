"""The project of another process: engine.project.Project, forwarded over gRPC to the owner.

The client half of `project_service.py`. Errors arrive as what they were: ServiceErrors with their details,
PerdureErrors (a refused query, say) with their remedy. When the owner is gone, calls raise ServiceError
UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from perdure import errors
from perdure.engine.errors import Code, ServiceError
from perdure.engine.project import Notice
from perdure.engine.records import Definition, Output, RunRecords
from perdure.frontend.codec import decode, encode
from perdure.frontend.grpc_server import MESSAGE_LIMIT
from perdure.frontend.project_service import ERROR_KEY, SERVICE
from perdure.frontend.status import DETAILS_KEY, service_error
from perdure.store import from_parquet

if TYPE_CHECKING:
    import pandas as pd

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.use_local_subchannel_pool", 1),  # a new owner on the same address gets a new connection at once
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class RemoteProject:
    """The owner's project. Everything is to be used on the loop that it was made on.

    Args:
        address: of the owner's frontend, HOST:PORT.
        token: that it asks for.
    """

    def __init__(self, address: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._closed = False
        self._leases: dict[str, asyncio.Event] = {}  # of processes that attend; set once the owner knows

    async def close(self) -> None:
        """Ends what is under way with ServiceError UNAVAILABLE, as the end of the owner does."""
        self._closed = True
        await self._channel.close()

    async def presence(self) -> AsyncGenerator[dict[str, Any], None]:
        """Says who serves which file; then is silent until the owner goes, and raises ServiceError."""
        async for hello in self._frames("Presence"):
            yield decode(hello)

    async def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        taken = self._leases[process] = asyncio.Event()
        try:
            async for frame in self._frames("Attend", process, adopts):
                notice = decode(frame)
                if notice is not None:
                    yield notice
                taken.set()
        finally:
            taken.set()
            if self._leases.get(process) is taken:
                del self._leases[process]

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        """After the lease that is being taken, if one is: a declaration belongs to a lease."""
        if (lease := self._leases.get(process)) is not None:
            await lease.wait()
        await self._call("Declare", process, list(definitions))

    async def definitions(self) -> list[Definition]:
        found: list[Definition] = await self._call("Definitions")
        return found

    async def pinned(self, run_id: str) -> str:
        version: str = await self._call("Pinned", run_id)
        return version

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        records: RunRecords = await self._call("ReadRun", workflow_id, run_id)
        return records

    async def output(self, lines: Sequence[Output]) -> None:
        await self._call("Output", list(lines))

    async def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        async for frame in self._frames("Watch", workflow_id, run_id):
            yield decode(frame)

    async def sql(self, query: str) -> pd.DataFrame:
        return await asyncio.to_thread(from_parquet, await self._call("Sql", query))

    async def _call(self, method: str, *arguments: Any) -> Any:
        return decode(b"".join([chunk async for chunk in self._frames(method, *arguments)]))

    async def _frames(self, method: str, *arguments: Any) -> AsyncIterator[bytes]:
        if self._closed:
            raise _gone()
        stream: Any = self._channel.unary_stream(f"/{SERVICE}/{method}")
        call = stream(encode(list(arguments)), metadata=self._metadata)
        try:
            async for frame in call:
                yield frame
        except grpc.aio.AioRpcError as error:
            raise _original(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            raise _gone() from None  # not the caller but the channel has ended it
        finally:
            call.cancel()


def _gone() -> ServiceError:
    return ServiceError(Code.UNAVAILABLE, "The owner of the project has gone.")


def _original(error: grpc.aio.AioRpcError) -> Exception:
    """What the owner raised."""
    trailers = dict(error.trailing_metadata() or ())
    if (told := trailers.get(ERROR_KEY)) is not None:
        name, message, remedy = json.loads(told)
        kind = getattr(errors, name, errors.PerdureError)
        return kind(message, remedy)
    raw = trailers.get(DETAILS_KEY)
    return service_error(
        error.code().value[0], error.details() or "", raw if isinstance(raw, bytes) else None
    )

"""perdure's own gRPC service, `perdure.v1.Project`: the server half of `remote.py`.

Every method takes one frame (see `codec.py`). A call streams its answer back in chunks of one frame, so
that no answer is too large for a message; `Attend` and `Watch` stream one frame for each item. `Presence`
says hello and then stays open until the owner goes: it is how joined processes know at once.

`Attend` is a process's lease. It ends when the process does, however that dies, because the kernel closes
its socket: grpc.aio cancels the handler, and the engine's iterator is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc

from perdure.engine.errors import ServiceError, invalid
from perdure.engine.project import Project
from perdure.errors import PerdureError
from perdure.frontend.calls import Calls
from perdure.frontend.codec import PROTOCOL, decode, encode
from perdure.frontend.grpc_server import Gate, refuse

SERVICE: Final = "perdure.v1.Project"
ERROR_KEY: Final = "perdure-error-bin"
CALLS: Final = {
    "Declare": "declare",
    "Definitions": "definitions",
    "Output": "output",
    "Pinned": "pinned",
    "ReadRun": "read_run",
}

_CHUNK: Final = 1 << 20

Answer: TypeAlias = Callable[[list[Any], Any], Coroutine[Any, Any, None]]


class ProjectHandler(grpc.GenericRpcHandler):
    """perdure.v1.Project over a Project.

    Args:
        project: the engine's.
        parquet: a query's result as the bytes of a parquet file; a table travels so.
        calls: the engine's door, which ends what is under way when the engine closes.
        hello: what `Presence` says: which file this is, and who serves it.
    """

    def __init__(
        self,
        project: Project,
        parquet: Callable[[str], Awaitable[bytes]],
        calls: Calls,
        gate: Gate,
        hello: dict[str, Any],
    ) -> None:
        self._project = project
        self._calls = calls
        self._gate = gate
        self._hello = {**hello, "pid": os.getpid(), "protocol": PROTOCOL}
        calls_of = {**{name: getattr(project, method) for name, method in CALLS.items()}, "Sql": parquet}
        streams: dict[str, Callable[..., AsyncIterator[Any]]] = {
            "Attend": self._attend,
            "Watch": project.watch,
            "Presence": self._presence,
        }
        answers = {
            **{name: _answer_once(method) for name, method in calls_of.items()},
            **{name: _answer_each(method) for name, method in streams.items()},
        }
        self._handlers: dict[str, Any] = {
            f"/{SERVICE}/{name}": grpc.unary_stream_rpc_method_handler(self._guarded(name, answer))
            for name, answer in answers.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)

    async def _attend(self, process: str, adopts: bool) -> AsyncIterator[Any]:
        """None once the lease is taken, so that the client knows; then the notices."""
        source: Any = self._project.attend(process, adopts=adopts)
        first = asyncio.ensure_future(anext(source))
        try:
            await asyncio.sleep(0)  # the lease is taken in the first step of the iteration
            yield None
            yield await first
            async for notice in source:
                yield notice
        except StopAsyncIteration:
            pass
        finally:
            first.cancel()
            await asyncio.wait([first])
            await source.aclose()

    async def _presence(self) -> AsyncIterator[dict[str, Any]]:
        yield self._hello
        await asyncio.Event().wait()

    def _guarded(self, name: str, answer: Answer) -> Callable[[bytes, Any], Awaitable[None]]:
        """`answer` behind the gate and the door, its errors told to the client."""

        async def guarded(frame: bytes, context: Any) -> None:
            try:
                self._gate.admit(dict(context.invocation_metadata()))
                await self._calls.run(f"{SERVICE}.{name}", answer(_arguments(frame), context))
            except ServiceError as error:
                cause = error.__cause__
                told = ((ERROR_KEY, error_bytes(cause)),) if isinstance(cause, PerdureError) else ()
                await refuse(context, error, *told)

        return guarded


def _arguments(frame: bytes) -> list[Any]:
    try:
        return list(decode(frame))
    except (ValueError, TypeError) as error:
        raise invalid(str(error)) from error


def _answer_once(method: Callable[..., Awaitable[Any]]) -> Answer:
    async def answer(arguments: list[Any], context: Any) -> None:
        reply = encode(await method(*arguments))
        for at in range(0, len(reply), _CHUNK):
            await context.write(reply[at : at + _CHUNK])

    return answer


def _answer_each(method: Callable[..., AsyncIterator[Any]]) -> Answer:
    """Writes instead of yielding: a generator that grpc drops while it is suspended would be closed late."""

    async def answer(arguments: list[Any], context: Any) -> None:
        source: Any = method(*arguments)
        async with aclosing(source):
            async for item in source:
                await context.write(encode(item))

    return answer


def error_bytes(error: PerdureError) -> bytes:
    """A PerdureError in trailing metadata: which one, and its two texts."""
    return json.dumps([type(error).__name__, error.message[:2000], error.remedy[:1000]]).encode()

"""The local frontend: a Temporal client of the process that has the engine, without sockets.

`LocalServiceClient` is a `temporalio.service.ServiceClient`, so an ordinary `temporalio.client.Client`
works on it, from any thread and any loop. It behaves as the SDK's own gRPC client does: same status codes
and details, same default deadlines, same retries of codes that mean "come again". Messages are copied on
the way in and out, so that neither side can change what the other keeps.

A Worker's polls are made by the SDK's Rust core, which knows only sockets: `worker_service_client` is a
gRPC client of the same engine, connected beforehand.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, TypeVar, cast

from google.protobuf.message import Message
from temporalio.client import Client
from temporalio.service import (
    ConnectConfig,
    GrpcCompression,
    RetryConfig,
    RPCError,
    RPCStatusCode,
    ServiceClient,
    _BridgeServiceClient,
)
from temporalio.service import __version__ as sdk_version

from perdure.engine.errors import Code, ServiceError
from perdure.frontend.calls import Calls
from perdure.frontend.grpc_server import health
from perdure.frontend.loops import ClosedLoopError, hop
from perdure.frontend.rpcs import find
from perdure.frontend.status import status_bytes

MessageT = TypeVar("MessageT", bound=Message)

# The SDK's core gives these to calls that name no timeout; long polls end by themselves before.
_LONG_CALLS: Final = frozenset(
    {
        "GetWorkflowExecutionHistory",
        "PollActivityTaskQueue",
        "PollNexusTaskQueue",
        "PollWorkflowExecutionUpdate",
        "PollWorkflowTaskQueue",
        "UpdateWorkflowExecution",
    }
)
_LONG_TIMEOUT: Final = 70.0
_TIMEOUT: Final = 30.0

_SDK: Final = {"client-name": "temporal-python", "client-version": sdk_version}

_RETRIED: Final = frozenset({Code.RESOURCE_EXHAUSTED, Code.ABORTED, Code.INTERNAL, Code.UNAVAILABLE})


class LocalServiceClient(ServiceClient):
    """Calls the engine of this process.

    Args:
        calls: the engine's door.
        loop: the engine's loop.
        config: of the gRPC frontend of the same engine; its identity, metadata and retry settings hold here
            too.
        workers: a connected gRPC client, for Workers made with this client.
    """

    def __init__(
        self,
        calls: Calls,
        loop: asyncio.AbstractEventLoop,
        config: ConnectConfig,
        workers: ServiceClient | None = None,
    ) -> None:
        super().__init__(config)
        self._calls = calls
        self._loop = loop
        self._workers = workers
        self._metadata = _text(config.rpc_metadata)

    @property
    def worker_service_client(self) -> _BridgeServiceClient:
        if self._workers is None:
            raise RuntimeError("A Worker needs a client made by local_client(..., workers=True).")
        return self._workers.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self._metadata = _text(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        """No key is needed within the process; passed on to the Workers' connection."""
        if self._workers is not None:
            self._workers.update_api_key(api_key)

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
        try:
            if service == "health":
                return resp_type.FromString(health(req.SerializeToString()))
            found = find(service, rpc)
            if found is None:
                raise ServiceError(Code.UNIMPLEMENTED, f"{rpc} of the {service} service is not implemented.")
            default = _LONG_TIMEOUT if found.name in _LONG_CALLS else _TIMEOUT
            seconds = timeout.total_seconds() if timeout else default
            headers = {**_SDK, **self._metadata, **_text(metadata)}
            answer = await self._attempts(found.name, _copy(req), headers, seconds, retry)
        except ServiceError as error:
            raise _rpc_error(error) from error
        except ClosedLoopError as error:
            raise _rpc_error(ServiceError(Code.UNAVAILABLE, str(error))) from error
        return _copy(cast(MessageT, answer))

    async def _attempts(
        self, method: str, request: Message, metadata: dict[str, str], seconds: float, retry: bool
    ) -> Message:
        """One call; with `retry`, as many as the settings allow while the answer is "come again"."""
        config = self.config.retry_config or RetryConfig()
        pause, waited, most = config.initial_interval_millis, 0.0, config.max_elapsed_time_millis
        retries = config.max_retries if retry else 0
        while True:
            try:
                return await self._attempt(method, request, metadata, seconds)
            except ServiceError as error:
                if error.code not in _RETRIED or retries <= 0 or (most is not None and waited + pause > most):
                    raise
            spread = pause * (1 + config.randomization_factor * random.uniform(-1, 1))
            await asyncio.sleep(spread / 1000)
            waited, retries = waited + spread, retries - 1
            pause = min(int(pause * config.multiplier), config.max_interval_millis)

    async def _attempt(
        self, method: str, request: Message, metadata: dict[str, str], seconds: float
    ) -> Message:
        try:
            async with asyncio.timeout(seconds):
                return await hop(self._loop, self._calls.call(method, request, metadata))
        except TimeoutError:
            late = f"{method} was not answered within {seconds:g} s."
            raise ServiceError(Code.DEADLINE_EXCEEDED, late) from None


def connect_config(address: str, token: str, identity: str = "") -> ConnectConfig:
    """How the SDK's gRPC client reaches a perdure on this machine. Without gzip: it costs time here."""
    return ConnectConfig(
        target_host=address,
        api_key=token,
        tls=False,
        identity=identity,
        grpc_compression=GrpcCompression.NONE,
    )


async def local_client(
    calls: Calls,
    loop: asyncio.AbstractEventLoop,
    address: str,
    token: str,
    *,
    namespace: str = "default",
    identity: str = "",
    workers: bool = True,
) -> Client:
    """A Client of the engine in this process; `workers`: it can also be given to a Worker."""
    config = connect_config(address, token, identity)
    grpc_client = await ServiceClient.connect(config) if workers else None
    return Client(LocalServiceClient(calls, loop, config, grpc_client), namespace=namespace)


def _copy(message: MessageT) -> MessageT:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _text(metadata: Mapping[str, str | bytes]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def _rpc_error(error: ServiceError) -> RPCError:
    return RPCError(error.message, RPCStatusCode(int(error.code)), status_bytes(error))

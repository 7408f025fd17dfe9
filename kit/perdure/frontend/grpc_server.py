"""The gRPC frontend: other processes, the `temporal` CLI, SDKs of any language.

One generic handler looks an RPC up in the tables by its path; there are no interceptors and no generated
stubs, because each layer costs CPU on every call. grpc.aio cancels a handler's task when its client goes
away or its deadline passes, which is what ends the engine's long polls.

Everyone on the machine can reach 127.0.0.1, so every call must bring the token (as SDKs send an API key:
`authorization: Bearer ...`). An address that other machines reach needs TLS as well, or the server does not
start.

`project_service.py` adds perdure's own service to the same server.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from perdure.engine.errors import Code, ServiceError, invalid
from perdure.errors import PerdureError
from perdure.frontend.calls import Calls
from perdure.frontend.rpcs import HEALTH_PATH, HEALTHY_NAMES, RPCS, Rpc
from perdure.frontend.status import DETAILS_KEY, cut, status_bytes

MESSAGE_LIMIT: Final = 64 << 20

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
    # SDKs ping idle connections every 30 s; grpc's default takes that for abuse and hangs up
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)

STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Tls:
    """A server's certificate chain and private key, PEM."""

    certificate: bytes
    key: bytes


class Gate:
    """Who may come in: those who bring the token."""

    def __init__(self, token: str, where: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._where = where

    def admit(self, metadata: dict[str, Any]) -> None:
        """Raises ServiceError UNAUTHENTICATED unless the metadata of a call hold the token."""
        given = metadata.get("authorization", "")
        if not hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._expected):
            raise ServiceError(
                Code.UNAUTHENTICATED,
                f"{'A wrong token' if given else 'No token'} came with the call. Connect with tls=False and "
                f"api_key=<the token in {self._where}>; only the project's user can read that file.",
            )


class OpenGate(Gate):
    """Lets everyone on this machine in: for the servers of tests, whose clients know no token."""

    def __init__(self) -> None:
        super().__init__("", "")

    def admit(self, metadata: dict[str, Any]) -> None:
        pass


class TemporalHandler(grpc.GenericRpcHandler):
    """Temporal's services, and the health check, over `Calls`."""

    def __init__(self, calls: Calls, gate: Gate) -> None:
        self._calls = calls
        self._gate = gate
        self._handlers = {path: self._handler(rpc) for path, rpc in RPCS.items()}
        self._handlers[HEALTH_PATH] = grpc.unary_unary_rpc_method_handler(self._health)

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)

    def _handler(self, rpc: Rpc) -> Any:
        """Bytes in, bytes out: parsing here instead of in grpc turns a bad request into INVALID_ARGUMENT."""
        parse = rpc.request.FromString

        async def answer(raw: bytes, context: Any) -> bytes:
            metadata = dict(context.invocation_metadata())
            try:
                self._gate.admit(metadata)
                try:
                    request = parse(raw)
                except DecodeError as error:
                    raise invalid(f"The request is no {rpc.request.DESCRIPTOR.full_name}: {error}") from error
                return (await self._calls.call(rpc.name, request, metadata)).SerializeToString()
            except ServiceError as error:
                return await refuse(context, error)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _health(self, raw: bytes, context: Any) -> bytes:
        try:
            self._gate.admit(dict(context.invocation_metadata()))
            return health(raw)
        except ServiceError as error:
            return await refuse(context, error)


def health(request: bytes) -> bytes:
    """Answers a grpc.health.v1.HealthCheckRequest (field 1: a service's name): SERVING, or NOT_FOUND."""
    name = request[2:].decode(errors="replace") if request[:1] == b"\x0a" else ""
    if name not in HEALTHY_NAMES:
        raise ServiceError(Code.NOT_FOUND, f"There is no service named {name!r} here.")
    return b"\x08\x01"  # field 1, status: SERVING


async def refuse(context: Any, error: ServiceError, *more: tuple[str, bytes]) -> bytes:
    """Ends a call with an error. Never returns; typed so that handlers can `return await` it."""
    context.set_trailing_metadata(((DETAILS_KEY, status_bytes(error)), *more))
    await context.abort(STATUS_CODES[int(error.code)], cut(error.message))
    raise AssertionError("abort returned")


class Server:
    """A started gRPC server. Made by `serve`."""

    def __init__(self, server: Any, host: str, port: int) -> None:
        self._server = server
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def close(self) -> None:
        """Stops listening, gives calls that are ending a moment to send their last word, then hangs up."""
        await self._server.stop(0.5)


async def serve(
    handlers: Iterable[Any],
    *,
    ports: Iterable[int],
    host: str = "127.0.0.1",
    token: str | None,
    tls: Tls | None = None,
) -> Server:
    """Starts a server on the first of `ports` that is free; on any free port when none is.

    `token`: None where everyone on this machine may come in.

    Raises:
        PerdureError: `host` can be reached from other machines and there is no token or no TLS, or nothing
            can be bound.
    """
    _check_exposure(host, token, tls)
    for port in (*ports, 0):
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(handlers))
        bound = _bind(server, host, port, tls)
        if bound:
            started = Server(server, host, bound)
            try:
                await server.start()
            except BaseException:
                await started.close()
                raise
            return started
    raise PerdureError(f"No port of {host} can be bound.", "Check that the address is one of this machine's.")


def _bind(server: Any, host: str, port: int, tls: Tls | None) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
        return int(server.add_secure_port(address, credentials))
    except RuntimeError:  # how grpc says that the port is taken
        return 0


def _check_exposure(host: str, token: str | None, tls: Tls | None) -> None:
    if token is None and not is_loopback(host):
        raise PerdureError(
            f"Other machines can reach {host}, and everyone who can is let in.", "Listen on 127.0.0.1."
        )
    if token == "":
        raise PerdureError(
            "A frontend does not start without a token.", "Give it one: secrets.token_urlsafe(32)."
        )
    if tls is None and not is_loopback(host):
        raise PerdureError(
            f"Other machines can reach {host}, and the frontend has no TLS certificate: the token and all "
            "data would pass in the clear.",
            "Give a certificate and key, or listen on 127.0.0.1 and forward the port with ssh.",
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: it may resolve to anything

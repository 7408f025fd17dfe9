"""A Temporal cluster in the place of a project's file: one gRPC connection, and a loop for those who wait.

    cluster = Cluster.enter(Target("localhost:7233"))
    cluster.client          a plain temporalio Client
    cluster.project         what perdure asks beside Temporal's API, as far as a cluster can answer (`cluster_project`)

Whatever keeps a connection from being made becomes a `ConnectError` that names the address, the rule and what to do: the SDK's
own words are those of its transport.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetSystemInfoRequest,
    ListNamespacesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from perdure.errors import ConnectError
from perdure.frontend.cluster_project import ClusterProject
from perdure.frontend.loops import LoopThread

PORT = 7233  # Temporal's own
_PATIENCE = 10.0  # seconds that a connection may take
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^\s:/]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster is meant, and how it is reached.

    Attributes:
        address: HOST:PORT of its frontend.
        tls: True, a TLSConfig, or False; None is TLS exactly when there is an API key.
        api_key: sent with each call.
        task_queue: where this process's workers poll, and its runs are started.
    """

    address: str
    namespace: str = "default"
    tls: bool | TLSConfig | None = None
    api_key: str | None = None
    task_queue: str = "perdure"

    @property
    def encrypted(self) -> bool:
        return bool(self.tls) if self.tls is not None else self.api_key is not None

    def check(self) -> None:
        """Raises ConnectError for an address that cannot be one."""
        found = _ADDRESS.fullmatch(self.address)
        if found is not None and int(found["port"]) < 65_536:
            return
        bare = re.sub(r"^[a-z]+://", "", self.address).rstrip("/")
        guess = bare if _ADDRESS.fullmatch(bare) and found is None else f"{bare.partition(':')[0]}:{PORT}"
        raise ConnectError(
            f"{self.address!r} is no address of a Temporal cluster: it is HOST:PORT, without http://.",
            f"Try {guess!r}.",
        )

    async def connect(self, identity: str = "") -> Client:
        """A client with a connection of its own. Raises ConnectError."""
        tls = self.tls if self.tls is not None else self.api_key is not None
        try:
            async with asyncio.timeout(_PATIENCE):
                return await Client.connect(
                    self.address,
                    namespace=self.namespace,
                    api_key=self.api_key,
                    tls=tls,
                    identity=identity or None,
                )
        except TimeoutError:
            raise ConnectError(
                f"{self.address} did not answer within {_PATIENCE:g} s.",
                "Check the address, and that no firewall is between.",
            ) from None
        except (RuntimeError, ValueError) as error:
            raise self._refused(str(error)) from error

    def _refused(self, text: str) -> ConnectError:
        """What went wrong, by the words of the SDK's transport."""
        if "ConnectionRefused" in text:
            return ConnectError(
                f"Nothing listens at {self.address}: the connection was refused.",
                "Start the server there (`temporal server start-dev` listens on localhost:7233), or correct the address.",
            )
        if "dns error" in text:
            return ConnectError(
                f"{self.address}: there is no such host.", "Correct the host's name, or use its IP address."
            )
        if "Unauthenticated" in text or "PermissionDenied" in text:
            return ConnectError(
                f"{self.address} refused the credentials: {_said(text)}",
                "Give an api_key that is valid for it, or the client certificate that it asks for in tls.",
            )
        if self.encrypted and _tls(text):
            return ConnectError(
                f"{self.address} and this process do not agree on TLS: {_cause(text)}.",
                "tls=False is for servers without TLS, such as a dev server; else give a TLSConfig with the server's CA "
                "(server_root_ca_cert) and, if it asks for one, a client certificate.",
            )
        if not self.encrypted and _hung_up(text):
            return ConnectError(
                f"{self.address} ended the connection before it said anything: it may expect TLS.",
                "Try tls=True, or an api_key, which implies it.",
            )
        return ConnectError(
            f"{self.address} cannot be connected to: {_cause(text)}.", "Check address, tls and api_key."
        )


class Cluster:
    """A connection to a cluster. Made by `enter`.

    Attributes:
        target: which one.
        client: of its namespace.
        project: for its loop only.
        server: the version that it tells of itself.
    """

    def __init__(self, target: Target, thread: LoopThread, client: Client, server: str) -> None:
        self.target = target
        self.client = client
        self.project = ClusterProject(client)
        self.server = server
        self._thread = thread

    @classmethod
    def enter(cls, target: Target) -> Cluster:
        """Connects, and asks for the namespace. Blocks. Raises ConnectError."""
        target.check()
        thread = LoopThread(f"perdure-cluster {target.address}")
        try:
            client, server = thread.run(_entered(target))
        except BaseException:
            thread.close()
            raise
        return cls(target, thread, client, server)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._thread.loop

    @property
    def name(self) -> str:
        """For people: the address, and the namespace unless it is the usual one."""
        namespace = self.target.namespace
        return self.target.address + ("" if namespace == "default" else f", namespace {namespace}")

    def close(self) -> None:
        self._thread.close()


async def _entered(target: Target) -> tuple[Client, str]:
    client = await target.connect()
    service = client.workflow_service
    try:
        request = DescribeNamespaceRequest(namespace=target.namespace)
        await service.describe_namespace(request)
        info = await service.get_system_info(GetSystemInfoRequest())
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise ConnectError(
                f"{target.address} has no namespace {target.namespace!r}.", await _known_namespaces(client)
            ) from error
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise ConnectError(
                f"{target.address} refused access to namespace {target.namespace!r}: {error.message}",
                "Check the namespace, and that the api_key or certificate is valid for it.",
            ) from error
        raise ConnectError(
            f"{target.address} does not answer as Temporal does: {error.message}", ""
        ) from error
    return client, info.server_version


async def _known_namespaces(client: Client) -> str:
    try:
        answer = await client.workflow_service.list_namespaces(ListNamespacesRequest(page_size=20))
    except RPCError:
        return "Name one that exists: namespace=..."
    names = ", ".join(repr(each.namespace_info.name) for each in answer.namespaces)
    return f"It has {names}: namespace=..." if names else "Name one that exists: namespace=..."


def _said(text: str) -> str:
    found = re.search(r'message: "((?:[^"\\]|\\.)*)"', text)
    return found[1] if found else text


def _cause(text: str) -> str:
    """The innermost part of the transport's words."""
    inner = re.findall(r'error: "([^"]*)"|message: "([^"]*)"|(?:Error|error)[:(] *([A-Za-z]+)', text)
    words = [next(filter(None, each)) for each in inner if any(each)]
    return words[-1] if words else text


def _tls(text: str) -> bool:
    signs = (
        "InvalidMessage",
        "InvalidContentType",
        "ertificate",
        "AlertReceived",
        "UnknownIssuer",
        "Tls",
        "tls",
    )
    return any(sign in text for sign in signs) or _hung_up(text)


def _hung_up(text: str) -> bool:
    signs = (
        "UnexpectedEof",
        "ConnectionReset",
        "BrokenPipe",
        "h2 protocol error",
        "connection closed",
        "GoAway",
    )
    return any(sign in text for sign in signs)

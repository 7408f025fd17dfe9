"""One connection of a process to its project: the engine in this process, or the owner's frontend.

It holds until it is lost; `membership.py` then makes another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from temporalio.client import Client
from temporalio.service import ServiceClient

from perdure.engine.errors import ServiceError
from perdure.engine.project import Project
from perdure.errors import PerdureError
from perdure.frontend.host import ServedEngine
from perdure.frontend.local import LocalServiceClient, connect_config
from perdure.frontend.ownership import Notice
from perdure.frontend.remote import RemoteProject

Role: TypeAlias = Literal["owner", "joined"]


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """How this process reaches its project now.

    Attributes:
        role: "owner" when the engine is in this process, else "joined".
        address: of the owner's gRPC frontend, HOST:PORT.
        token: that it asks for.
        project: the owner's Project. For the membership's loop only.
        service_client: Temporal's service; without sockets when this process is the owner.
        guard: awaits what `project` does; ServiceError UNAVAILABLE ends the wait with the connection.
        lost: returns when the connection has ended by itself; with the reason, if it is this process's own file that
            failed. For the membership's loop only.
        close: ends it. For the membership's loop only.
    """

    role: Role
    address: str
    token: str = field(repr=False)
    project: Project
    service_client: ServiceClient
    guard: Callable[[Awaitable[Any]], Awaitable[Any]]
    lost: Callable[[], Awaitable[PerdureError | None]]
    close: Callable[[], Coroutine[Any, Any, None]]

    async def connect_client(self, namespace: str = "default", identity: str = "") -> Client:
        """A Temporal client with a gRPC connection of its own, as Workers want one."""
        service_client = await ServiceClient.connect(connect_config(self.address, self.token, identity))
        return Client(service_client, namespace=namespace)


async def owner_connection(served: ServedEngine) -> Connection:
    """The connection of a process to its own engine. Closing it stops the engine."""
    config = connect_config(served.server.address, served.token)
    workers = await ServiceClient.connect(config)
    return Connection(
        role="owner",
        address=served.server.address,
        token=served.token,
        project=served.engine.project,
        service_client=LocalServiceClient(served.calls, served.loop, config, workers),
        guard=served.calls.guard,
        lost=served.lost,
        close=served.close,
    )


async def joined_connection(
    notice: Notice, project: RemoteProject, presence: AsyncIterator[dict[str, Any]]
) -> Connection:
    """The connection to the owner that `notice` names, whose `presence` has said hello."""

    async def guard(work: Awaitable[Any]) -> Any:
        return await work  # gRPC itself ends it

    async def lost() -> None:
        with suppress(ServiceError):
            async for _ in presence:
                pass

    return Connection(
        role="joined",
        address=notice.address,
        token=notice.token,
        project=project,
        service_client=await ServiceClient.connect(connect_config(notice.address, notice.token)),
        guard=guard,
        lost=lost,
        close=project.close,
    )

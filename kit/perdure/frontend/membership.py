"""A process's membership of a project: the owner of its file, or joined to the owner, and how that changes.

    enter ──> take the lock ──────────────> owner: open the file, serve it, write the notice
                 │ held by another                        ▲ └──> read its notice, connect ──> joined ┘ when
                 the owner goes: everyone races for the lock, the winner
                                                            serves on the same port with the same token, the
                                                            others join it

A joined process keeps one stream open to the owner (`Presence`); the operating system ends it the moment
the owner dies, so nothing is polled. Everything lives on one thread's loop for as long as the membership
lasts.

What users of a membership hold stays valid through changes: `project` and the clients of `client()` go to
whoever is the owner now, and wait for the next one while there is none. Leases (`attend`) end with their
owner: take them again in `on_change`.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from temporalio.client import Client

from perdure.engine.errors import ServiceError
from perdure.errors import FileInUseError, PerdureError
from perdure.frontend.codec import PROTOCOL
from perdure.frontend.connection import Connection, joined_connection, owner_connection
from perdure.frontend.forks import close_copies, is_file, is_socket_of, refuse_fork, watch_forks
from perdure.frontend.host import OpenEngine, ServedEngine, real_engine
from perdure.frontend.loops import LoopThread, to_the_end
from perdure.frontend.ownership import Notice, Ownership
from perdure.frontend.remote import RemoteProject
from perdure.frontend.roaming import RoamingProject, RoamingServiceClient

logger = logging.getLogger(__name__)

_ANSWER: Final = 5.0  # seconds in which an owner must say hello
_NOTICED: Final = 2.0  # seconds after which the end of an owner must have been noticed
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25
_PATIENCE: Final = 15.0  # with an owner that does not answer
_OPENING_PATIENCE: Final = 120.0  # with an owner that is still opening the file: it may have much to recover
_RETRY: Final = 2.0  # between tries to own a file that cannot be opened


class Membership:
    """Membership of the project in `file`. Made by `enter`.

    Attributes:
        file: the project's DuckDB file.
        project: the project, whoever owns it; for any loop.
    """

    def __init__(
        self,
        file: Path,
        open_engine: OpenEngine,
        on_change: Callable[[Connection], None],
        on_lost: Callable[[PerdureError], None],
        patience: float,
    ) -> None:
        self._ownership = Ownership(file)
        self.file = self._ownership.file
        self._open_engine = open_engine
        self._on_change = on_change
        self._on_lost = on_lost
        self._patience = patience
        self._thread = LoopThread("perdure-engine")
        self._connection: Connection | None = None
        self._error: PerdureError | None = None
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None
        self._port = 0
        self.project = RoamingProject(self)
        watch_forks(self)

    @classmethod
    def enter(
        cls,
        file: str | Path,
        *,
        on_change: Callable[[Connection], None] = lambda connection: None,
        on_lost: Callable[[PerdureError], None] = lambda error: None,
        open_engine: OpenEngine | None = None,
        patience: float = _PATIENCE,
    ) -> Membership:
        """Becomes the owner of `file`, or joins the owner.

        Args:
            on_change: called on `loop` with each later connection: this process has become the owner, or
                joined a new one.
            on_lost: called on `loop` when the owner has gone and this process cannot replace it (it keeps
                trying).
            open_engine: how to open the file; tests may put another engine there.
            patience: seconds to wait for an owner that does not answer.

        Raises:
            FileInUseError: another process holds the file, and does not serve it to this one.
            StoreError: the file, or its folder, cannot be used.
            ForkedError: this process is a fork of a member.
        """
        refuse_fork()
        opener = open_engine or real_engine()
        membership = cls(Path(file), opener, on_change, on_lost, patience)
        try:
            membership._thread.run(membership._start())
        except BaseException:
            membership._thread.close()
            raise
        atexit.register(membership.close)
        return membership

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the engine, or the connection to it, lives."""
        return self._thread.loop

    @property
    def connection(self) -> Connection:
        """The connection now. Raises PerdureError while there is none."""
        if self._connection is not None:
            return self._connection
        raise self._error or PerdureError(
            f"The owner of {self.file} has gone; there is no new one yet.", "Try again in a moment."
        )

    def client(self, namespace: str = "default", identity: str = "") -> Client:
        """A Temporal client of whoever owns the project, for any loop, and for Workers."""
        return Client(RoamingServiceClient(self, identity), namespace=namespace)

    @property
    def now(self) -> Connection | None:
        """The connection, if there is one."""
        return self._connection

    async def settled(self, wait: float = _PATIENCE) -> Connection:
        """The connection, once there is one. To be used on `loop`.

        Raises:
            PerdureError: there was none within `wait` seconds, or this process has tried and cannot be the owner.
        """
        if self._connection is None:
            await self._changes(lambda: self._connection is not None or self._error is not None, wait)
        return self.connection

    async def successor(self, connection: Connection, wait: float = _PATIENCE) -> Connection:
        """The connection after `connection`, over which a call has failed: that end is noticed at once, if it
        is one. If not, `connection` itself. To be used on `loop`. Raises PerdureError as `settled` does."""
        await self._changes(lambda: self._connection is not connection, _NOTICED)
        return await self.settled(wait)

    async def _changes(self, condition: Callable[[], bool], wait: float) -> None:
        """Returns when `condition` holds, or `wait` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait), self._changed:
                await self._changed.wait_for(condition)

    def close(self) -> None:
        """Leaves: an owner closes the file and makes room for another. Does nothing twice, or in a fork."""
        atexit.unregister(self.close)
        if not self._thread.usable:
            return
        try:
            self._thread.run(self._leave(), timeout=30)
        finally:
            self._thread.close()

    def __enter__(self) -> Membership:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def in_fork(self) -> None:
        """See forks.py."""
        port, lock = self._port, self._ownership.lock_path
        close_copies(lambda descriptor: is_socket_of(descriptor, port) or is_file(descriptor, lock))

    async def _start(self) -> None:
        await self._set(await self._connect(self._patience))
        self._keeper = asyncio.create_task(self._keep(), name="perdure membership")

    async def _leave(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        connection, self._connection = self._connection, None
        self._error = PerdureError(
            f"{self.file} is closed in this process.", "Open it again: perdure.session()."
        )
        if connection is not None:
            await connection.close()
        self._ownership.release()

    async def _set(self, connection: Connection | None) -> None:
        async with self._changed:
            self._connection = connection
            self._changed.notify_all()
        if connection is not None:
            self._error = None
            self._port = int(connection.address.rpartition(":")[2])

    async def _keep(self) -> None:
        """Waits for the end of each connection and makes the next one."""
        while True:
            connection = self.connection
            if (failure := await connection.lost()) is not None:
                self._lose(failure)  # whoever waits for an owner is told now; it is this process's own file
            await self._set(None)
            await to_the_end(connection.close())
            if connection.role == "owner":
                self._ownership.release()
                await asyncio.sleep(_RETRY)
            await self._set(await self._reconnect())
            try:
                self._on_change(self.connection)
            except Exception:
                logger.exception("on_change failed after the owner of %s changed", self.file)

    async def _reconnect(self) -> Connection:
        while True:
            try:
                return await self._connect(self._patience)
            except PerdureError as error:
                self._lose(error)
            except Exception as error:
                logger.exception("%s cannot be entered again", self.file)
                self._lose(PerdureError(f"{self.file} cannot be entered again: {error}"))
            await asyncio.sleep(_RETRY)

    def _lose(self, error: PerdureError) -> None:
        if self._error is None:
            logger.warning("Nobody owns %s now, and this process cannot: %s", self.file, error)
            self._on_lost(error)
        self._error = error

    async def _connect(self, patience: float) -> Connection:
        """Owns the file or joins its owner, whichever comes first."""
        clock = asyncio.get_running_loop().time
        started, pause = clock(), _FIRST_PAUSE
        while True:
            if self._ownership.take():
                try:
                    return await self._own(clock() + patience)
                except BaseException:
                    self._ownership.release()
                    raise
            notice = self._ownership.read()
            if notice is not None and notice.address and notice.alive and not notice.elsewhere:
                joined = await self._join(notice)
                if joined is not None:
                    return joined
            opening = notice is not None and not notice.address and notice.alive
            if clock() - started > (max(patience, _OPENING_PATIENCE) if opening else patience):
                raise _in_use(self.file, notice)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def _own(self, until: float) -> Connection:
        """Opens and serves the file, whose lock is held.

        An owner that was killed may hold DuckDB's lock a moment longer than ours, so that one is waited for.
        """
        token, ports = self._ownership.token(), self._ownership.ports()
        self._ownership.announce("", ports[0], token)
        while True:
            try:
                where = str(self._ownership.notice_path)
                served = await ServedEngine.start(
                    self.file, self._open_engine, token=token, ports=ports, where=where
                )
                break
            except FileInUseError:
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(_LONGEST_PAUSE)
        try:
            self._ownership.announce(served.server.address, served.server.port, token)
            return await owner_connection(served)
        except BaseException:
            await to_the_end(served.close())
            raise

    async def _join(self, notice: Notice) -> Connection | None:
        """A connection to the owner that the notice names; None if it does not answer or refuses."""
        if notice.protocol != PROTOCOL:
            raise FileInUseError(
                f"{self.file} is open in process {notice.pid}, which runs perdure {notice.version}; "
                "this process runs another version, which it cannot join.",
                "Use one version: upgrade, and restart the older kernel.",
            )
        project = RemoteProject(notice.address, notice.token)
        presence = project.presence()
        try:
            async with asyncio.timeout(min(_ANSWER, max(1.0, self._patience))):
                hello = await anext(presence)
            if hello["file"] == str(self.file):
                return await joined_connection(notice, project, presence)
        except (TimeoutError, ServiceError, StopAsyncIteration, RuntimeError) as error:
            logger.debug("The owner at %s does not take us: %s", notice.address, error)
        await presence.aclose()
        await project.close()
        return None


def _in_use(file: Path, notice: Notice | None) -> FileInUseError:
    if notice is None:
        return FileInUseError(
            f"{file} is held by another process, which does not say how to reach it.",
            "End that process; `fuser` or `lsof` on owner.lock names it.",
        )
    if notice.elsewhere:
        return FileInUseError(
            f"{file} is open in process {notice.pid} on the machine {notice.host}.",
            "Work there, or end that process: only processes of one machine can share a project.",
        )
    return FileInUseError(
        f"{file} is held by process {notice.pid}, which does not answer.",
        f"Restart that kernel, or end the process: kill {notice.pid}.",
    )

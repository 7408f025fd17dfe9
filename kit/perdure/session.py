"""A process's session with a project: its file, its engine or the way to the owner's, its worker.

    Session ── Membership (frontend): owns the file or joins the owner, and changes between the two by itself
            ── WorkerHost (worker): runs what is defined in this process
            ── Client (temporalio): goes to whoever owns the project now

A session that is connected to a Temporal cluster (`perdure.connecting`) has a Cluster in the membership's place.

The engine and the worker have threads and loops of their own; nothing of them runs on the kernel's loop. So
a cell that blocks in `wait` stops nothing, and Ctrl-C ends only the wait. `session()` gives the process's
default session, opened on first use and closed at exit.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from perdure.errors import PerdureError
from perdure.project_file import project_file

if TYPE_CHECKING:
    from temporalio.client import Client

    from perdure.authoring.registry import Registered, Registry
    from perdure.engine.project import Project
    from perdure.frontend.cluster import Cluster, Target
    from perdure.frontend.connection import Connection
    from perdure.frontend.host import OpenEngine
    from perdure.frontend.membership import Membership
    from perdure.worker.host import WorkerHost

T = TypeVar("T")

NAMESPACE = "default"


class WaitInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a wait. The run that was waited for goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one line instead of our frames."""
        return [self.message]


class Session:
    """An open project.

    Args:
        path: a DuckDB file, or the project's folder; None finds it (see `project_file`).
        worker: whether this process runs definitions; without, it only starts, asks and looks.
        registry: the definitions that it runs; None is the process's own.
        open_engine: how the file is opened; tests put another clock there.
        cluster: the Temporal cluster that takes the file's place.

    Raises:
        StoreError: the file, or its folder, cannot be used.
        FileInUseError: another process holds the file and does not serve it.
        ConnectError: the cluster cannot be connected to.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        worker: bool = True,
        registry: Registry | None = None,
        open_engine: OpenEngine | None = None,
        cluster: Target | None = None,
    ) -> None:
        preload()
        from perdure.worker.runtime import runtime

        runtime()
        self.cluster: Cluster | None = None
        self._closed = False
        self.say: Callable[[str], None] = _print  # tells the user one line; a front end may put another here
        self.awaiting: Callable[[], AbstractContextManager[None]] = (
            nullcontext  # around each wait for a result
        )
        self._pid = os.getpid()
        if cluster is None:
            self._member = self._enter(project_file(path), open_engine)
        else:
            from perdure.frontend.cluster import Cluster

            self.cluster = Cluster.enter(cluster)
        self.namespace = NAMESPACE if cluster is None else cluster.namespace
        self.client: Client = _converting(self._plain_client())
        self.worker: WorkerHost | None = None
        self._registry = registry
        if worker:
            self.begin_work()
        atexit.register(self.close)

    def begin_work(self) -> None:
        """Runs definitions from here on."""
        if self.worker is None:
            self.worker = self._start_worker()

    def _enter(self, file: Path, open_engine: OpenEngine | None) -> Membership:
        from perdure.frontend.membership import Membership

        member = Membership.enter(
            file, on_change=self._on_change, on_lost=self._on_lost, open_engine=open_engine
        )
        self._address = member.connection.address
        self._owned = member.connection.role == "owner"
        return member

    def _plain_client(self) -> Client:
        if self.cluster is not None:
            return self.cluster.client
        return self._member.client(NAMESPACE, f"perdure-client-{os.getpid()}")

    @property
    def _membership(self) -> Membership:
        """The file's, which a cluster has none of."""
        if self.cluster is not None:
            raise PerdureError(
                f"This session has no file: it is connected to {self.cluster.name}.",
                "perdure.disconnect() goes back to the file.",
            )
        return self._member

    @property
    def home(self) -> str:
        """Where its runs are, for people: the file's path, or the cluster's address."""
        return self.cluster.name if self.cluster is not None else str(self._member.file)

    @property
    def path(self) -> Path:
        """The project's DuckDB file."""
        return self._membership.file

    @property
    def role(self) -> Literal["owner", "joined", "connected"]:
        """Whether this process has the file open, or another one, which serves it; or a cluster is its place."""
        return "connected" if self.cluster is not None else self._connection().role

    @property
    def task_queue(self) -> str:
        """Where its worker polls, and its runs are started, unless a definition says otherwise."""
        from perdure.worker.host import TASK_QUEUE

        return self.cluster.target.task_queue if self.cluster is not None else TASK_QUEUE

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the engine, or of the connection to it; `wait` runs coroutines there."""
        return self.cluster.loop if self.cluster is not None else self._member.loop

    @property
    def project(self) -> Project:
        """What perdure's processes ask of the engine beside Temporal's API."""
        return self.cluster.project if self.cluster is not None else self._member.project

    @property
    def registry(self) -> Registry:
        """The definitions of this process."""
        if self._registry is None:
            from perdure.authoring.registry import registry

            self._registry = registry
        return self._registry

    @property
    def address(self) -> str:
        """HOST:PORT where Temporal clients of other processes connect."""
        return self.cluster.target.address if self.cluster is not None else self._connection().address

    @property
    def token(self) -> str:
        """The API key that they must give."""
        return self._connection().token

    @property
    def closed(self) -> bool:
        return self._closed

    def wait(self, work: Coroutine[Any, Any, T], what: str = "") -> T:
        """Blocks this thread until `work` is done on the session's loop. Ctrl-C ends the wait only.

        Args:
            what: said after Ctrl-C, for example how to wait again.
        """
        from perdure.frontend.loops import submit

        if _running_loop() is self.loop:
            work.close()
            raise RuntimeError("The session's own loop cannot wait for itself; await the coroutine instead.")
        future = submit(self.loop, work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise WaitInterrupted(what or "The wait was interrupted.") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stops the worker, and leaves the project: an owner closes the file, and another process may take
        over."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self.worker is not None:
            self.worker.close()
        if self.cluster is not None:
            self.cluster.close()
        else:
            self._member.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.role
        return f"<perdure session: {self.home} ({state})>"

    def _connection(self) -> Connection:
        """The connection; while the owner changes, the next one."""
        if self._membership.now is None and _running_loop() is not self.loop and not self._closed:
            return self.wait(self._membership.settled())
        return self._membership.connection

    def _start_worker(self) -> WorkerHost:
        from perdure.frontend.loops import submit
        from perdure.worker.host import WorkerHost

        async def connect(identity: str) -> Client:
            if self.cluster is not None:
                return _converting(await self.cluster.target.connect(identity))
            return _converting(await self._membership.connection.connect_client(NAMESPACE, identity))

        host = WorkerHost(
            self.registry,
            self.project,
            connect=connect,
            ask=lambda work: submit(self.loop, work).result(20),
            say=lambda text: self.say(text),
            redefined=self._move_failing,
            task_queue=self.task_queue,
            leased=self.cluster is None,
        )
        submit(self.loop, self._need_worker_for_open_runs(host))
        return host

    async def _need_worker_for_open_runs(self, host: WorkerHost) -> None:
        """On a cluster it is always needed: nobody tells this process that a run was started elsewhere."""
        running = "ExecutionStatus = 'Running'"
        if self.cluster is not None or (await self.client.count_workflows(running)).count:
            host.need()

    async def _move_failing(self, target: Registered) -> None:
        """Runs that fail in their workflow code go over to the version that was just defined, if it fits
        them."""
        from perdure.replay.move import move_open

        name, version = target.definition.name, target.definition.version
        if (
            not version or self.cluster is not None
        ):  # a cluster's runs are not pinned: they have the new code already
            return
        async for moved in move_open(self.client, self.project, target, failing_only=True):
            if moved.moved:
                self.say(
                    f"{moved.id} was failing on version {moved.before} of {name}; it goes on with {version}."
                )
            else:
                self.say(f"{moved.id} stays on version {moved.before} of {name}: {moved.reason}.")

    def _on_change(self, connection: Connection) -> None:
        """The project has a new owner; the SDK's core finds it again by itself, unless the port is
        another."""
        if connection.role == "owner":
            again = "serves it again" if self._owned else "now serves it: its owner has gone"
            self.say(f"{self.path}: this process {again}.")
        self._owned = connection.role == "owner"
        if self.worker is not None and connection.address != self._address:
            self.worker.reconnect()
        self._address = connection.address

    def _on_lost(self, error: PerdureError) -> None:
        self.say(f"{self.path} is not served now: {error}")


def _converting(client: Client) -> Client:
    """The same client, which refuses what JSON would not keep."""
    from temporalio.client import Client

    from perdure.authoring.payloads import data_converter

    config = client.config()
    config["data_converter"] = data_converter
    return Client(**config)


def _print(text: str) -> None:
    print(f"perdure: {text}", flush=True)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def preload() -> None:
    """Imports what a session needs. For whoever opens it on another thread: Python's import locks are one
    for each module, and two threads that import one package from different ends can see it half made.
    """
    import temporalio.client
    import temporalio.worker  # noqa: F401

    import perdure.authoring.cells
    import perdure.authoring.payloads
    import perdure.frontend.membership
    import perdure.frontend.stored
    import perdure.runs
    import perdure.starting
    import perdure.view
    import perdure.worker.host  # noqa: F401


_default: Session | None = None
_lock = threading.Lock()


def session(path: str | Path | None = None) -> Session:
    """The default session of this process, opened on first use.

    Raises:
        PerdureError: a path is given, and the default session has another file open.
    """
    global _default
    with _lock:
        if _default is None or _default.closed:
            _default = Session(path)
        elif path is not None and _default.cluster is not None:
            raise PerdureError(
                f"This process is connected to {_default.home}.",
                f"Go back first: perdure.disconnect(), then perdure.session({str(path)!r}).",
            )
        elif path is not None and project_file(path).resolve() != _default.path.resolve():
            raise PerdureError(
                f"This process has {_default.path} open already.",
                f"Close it first: perdure.session().close(), then perdure.session({str(path)!r}).",
            )
        return _default


def opened() -> Session | None:
    """The default session if it is open; never opens it."""
    here = _default
    return None if here is None or here.closed else here


def use(opened: Session | None) -> Session | None:
    """Makes `opened` the default session; gives the one before."""
    global _default
    with _lock:
        before, _default = _default, opened
        return before

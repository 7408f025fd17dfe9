"""One generation of the worker: SDK workers that can run one set of definitions, from their start to their
drain.

The SDK fixes a worker's workflows and activities when it is made, so new definitions need a new worker.
Each generation polls under a name of its own, with a lease of its own that lists exactly what it can run:
the engine never gives the old one a task that only the new one knows. The old one stops polling and stays
until the activities that run on it have ended; its lease lasts as long, or they would be taken for lost.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from perdure.engine.errors import ServiceError
from perdure.engine.project import Notice, Project
from perdure.engine.records import Definition
from perdure.errors import PerdureError
from perdure.worker.executor import DaemonThreads
from perdure.worker.outputs import WORKFLOW_THREADS, Outputs, PrintingInterceptor
from perdure.worker.runner import VersionedRunner
from perdure.worker.runtime import BUILD_ID

_DRAIN = timedelta(days=365)  # an activity of the old generation is never cancelled for a new cell's sake
_ACTIVITIES = 100
_LAST_POLLS = 1.0  # seconds that the end of the polls may take where tasks come to whoever polls
_PAUSE = 0.2  # seconds between tries to take the lease anew, while the owner of the file changes


def process_name() -> str:
    """A new name for a lease, by which the engine knows which process of which machine polls."""
    return f"perdure-{os.getpid()}-{secrets.token_hex(4)}@{os.uname().nodename}"


@dataclass(frozen=True)
class Offer:
    """What a generation can run.

    `declared` are all versions it can run; `workflows` and `activities` are the classes and functions for the
    SDK, one of each name; `task_queues` are those it polls.
    """

    declared: tuple[Definition, ...]
    workflows: tuple[type, ...]
    activities: tuple[Callable[..., Any], ...]
    task_queues: tuple[str, ...]


class Generation:
    """SDK workers on one client connection, with one lease. To be used on one loop.

    Args:
        on_notice: is given the engine's notices.
        on_end: is given the error, when the workers end without having been drained.
        leased: the engine gives tasks only to who declared them; else whoever polls gets them.
    """

    def __init__(
        self,
        offer: Offer,
        project: Project,
        runner: VersionedRunner,
        outputs: Outputs,
        on_notice: Callable[[Generation, Notice], None],
        on_end: Callable[[Generation, BaseException], None],
        *,
        leased: bool = True,
    ) -> None:
        self.process = (
            process_name() if leased else f"{os.getpid()}@{os.uname().nodename}"
        )  # as the SDK names it
        self.offer = offer
        self._project = project
        self._runner = runner
        self._outputs = outputs
        self._on_notice = on_notice
        self._on_end = on_end
        self._leased = leased
        self._workers: list[Worker] = []
        self._lease: asyncio.Task[None] | None = None
        self._run: asyncio.Task[None] | None = None
        self._threads = (
            DaemonThreads(_ACTIVITIES, "perdure-activity"),
            DaemonThreads(_ACTIVITIES, WORKFLOW_THREADS),
        )
        self._draining = False
        self.stale = False  # to be replaced, although its offer is that of the registry

    async def take_lease(self) -> None:
        """Attends and declares: returns when the engine knows, and the file keeps, what this generation can
        run."""
        leased = asyncio.get_running_loop().create_future()
        self._lease = asyncio.create_task(self._attend(leased), name=f"lease of {self.process}")
        await leased

    def poll(self, client: Client) -> None:
        """Makes the SDK's workers and lets them poll."""
        activities, workflow_tasks = self._threads
        for queue in self.offer.task_queues:
            worker = Worker(
                client,
                task_queue=queue,
                workflows=self.offer.workflows,
                activities=self.offer.activities,
                activity_executor=activities,
                workflow_task_executor=workflow_tasks,
                max_concurrent_activities=_ACTIVITIES,
                max_concurrent_workflow_tasks=_ACTIVITIES,
                workflow_runner=self._runner,
                unsandboxed_workflow_runner=self._runner,
                interceptors=[PrintingInterceptor(self._outputs)],
                build_id=BUILD_ID,
                identity=self.process,
                graceful_shutdown_timeout=_DRAIN,
            )
            self._workers.append(worker)
        self._run = asyncio.create_task(self._run_workers(), name=f"workers of {self.process}")

    async def withdraw(self) -> None:
        """Takes no more tasks, from now on: what it declared is withdrawn before its last polls have
        ended."""
        self.offer = replace(self.offer, declared=())
        with suppress(ServiceError, PerdureError):  # an engine that is gone gives no tasks either
            await self._project.declare(self.process, ())
        if not self._leased and (ending := self.stop_polling()):
            await asyncio.wait(ending, timeout=_LAST_POLLS)

    async def drain(self) -> None:
        """Stops polling; returns when everything that runs here has ended."""
        self._draining = True
        await asyncio.gather(
            self.withdraw(), *(worker.shutdown() for worker in self._workers), return_exceptions=True
        )
        if self._run is not None:
            await asyncio.gather(self._run, return_exceptions=True)
        await self.end()

    async def end(self) -> None:
        """Gives up the lease and the threads, whatever still runs."""
        self._draining = True
        if self._lease is not None:
            self._lease.cancel()
            await asyncio.gather(self._lease, return_exceptions=True)
        for threads in self._threads:
            threads.shutdown(wait=False, cancel_futures=True)

    def detach(self) -> None:
        """Lets go of the session: abandoned activities hold this object for as long as their threads run,
        and what it holds could not be freed when Python exits.
        """
        self._runner.detach()
        self._on_notice = lambda generation, notice: None
        self._on_end = lambda generation, error: None
        self._lease = self._run = None  # tasks that ended with an exception hold the frames that raised it
        del self._project

    def stop_polling(self) -> Sequence[asyncio.Task[None]]:
        """Begins the end of the workers; the tasks are done when they have ended."""
        self._draining = True
        return [asyncio.ensure_future(worker.shutdown()) for worker in self._workers]

    async def _run_workers(self) -> None:
        try:
            await asyncio.gather(*(worker.run() for worker in self._workers))
        except Exception as error:
            if not self._draining:
                self._on_end(self, error)

    async def _attend(self, leased: asyncio.Future[None]) -> None:
        """Holds the lease; takes it again, and declares again, under each new owner of the file."""
        while True:
            notices = self._project.attend(self.process, adopts=True)
            try:
                following = asyncio.create_task(self._follow(notices))
                try:
                    await asyncio.sleep(0)  # the request for the lease goes out before the declaration
                    await self._project.declare(self.process, self.offer.declared)
                    if not leased.done():
                        leased.set_result(None)
                    await following
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
            except (ServiceError, PerdureError) as error:
                if not leased.done() and not _passing(error):
                    leased.set_exception(error)
                    return
            await asyncio.sleep(_PAUSE)

    async def _follow(self, notices: AsyncIterator[Notice]) -> None:
        async for notice in notices:
            self._on_notice(self, notice)


def _passing(error: ServiceError | PerdureError) -> bool:
    """Whether an error means "come again": the owner of the file is changing."""
    return isinstance(error, ServiceError) and error.code.name in ("UNAVAILABLE", "CANCELLED")

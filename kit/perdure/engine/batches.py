"""Batch operations at work: the jobs of a file, each a task that goes through its runs at the pace that was asked for.

What is asked for a run goes through the service like any request. A run that is gone, or closed, or was done before, counts as done;
any other error counts as a failure, and the job goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from temporalio.api.enums.v1 import BatchOperationState

from perdure.engine import batch
from perdure.engine.batch import JOB, PROGRESS, Job
from perdure.engine.batch_requests import ask
from perdure.engine.errors import Code, ServiceError
from perdure.engine.journal import InvalidQueryError, Scope
from perdure.engine.protos import SECOND
from perdure.engine.standalone import ALIASES, DIVISION
from perdure.errors import StoreError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

log = logging.getLogger("perdure.engine")

_RATE: Final = 50  # operations a second
_COMPLETED: Final = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED
_FAILED: Final = BatchOperationState.BATCH_OPERATION_STATE_FAILED


class Batches:
    """The batch operations of all namespaces. Lives on the engine's loop; no locks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: dict[tuple[str, str], Job] = {}

    def load(self) -> list[Job]:
        """Takes over what the file holds; gives the jobs that still run."""
        kept = self._engine.kept
        for namespace in kept.namespaces(JOB):
            for job_id, document in kept.of(JOB, namespace).items():
                self._jobs[namespace, job_id] = batch.read(document, kept.get(PROGRESS, namespace, job_id))
        return [job for job in self._jobs.values() if job.running]

    def get(self, namespace: str, job_id: str) -> Job | None:
        return self._jobs.get((namespace, job_id))

    def of(self, namespace: str) -> list[Job]:
        """A namespace's jobs: those that run first, then those that ended last."""
        found = [job for (where, _), job in self._jobs.items() if where == namespace]
        return sorted(found, key=lambda job: (not job.running, -job.close_time, -job.start_time, job.run_id))

    def forget(self, namespace: str) -> None:
        """The namespace is deleted."""
        for key in [key for key in self._jobs if key[0] == namespace]:
            job = self._jobs.pop(key)
            if job.running:
                job.close(_FAILED, self._engine.clock.now())

    def start(self, job: Job) -> int:
        """Begins a job; returns the ticket of its first commit."""
        self._jobs[job.request.namespace, job.request.job_id] = job
        ticket = self._keep(job)
        self.run(job)
        return ticket

    def run(self, job: Job) -> None:
        self._engine.run_aside(self._work(job), f"perdure-batch-{job.request.job_id}")

    def end(self, job: Job, state: BatchOperationState.ValueType) -> int:
        """Ends a job, whatever is left to do; returns the ticket of the commit."""
        job.close(state, self._engine.clock.now())
        return self._note(job)

    def _keep(self, job: Job) -> int:
        return self._engine.kept.put(JOB, job.request.namespace, job.request.job_id, job.document())

    def _note(self, job: Job) -> int:
        return self._engine.kept.put(PROGRESS, job.request.namespace, job.request.job_id, job.progress())

    # --- at work

    async def _work(self, job: Job) -> None:
        try:
            if not job.listed:
                await self._list(job)
            while job.running and job.done < len(job.targets):
                begun = self._engine.clock.now()
                await self._some(job)
                if job.running and job.done < len(job.targets):
                    self._note(job)
                    await self._engine.clock.sleep_until(begun + SECOND, asyncio.Event())
            if job.running:
                self.end(job, _COMPLETED)
        except InvalidQueryError:
            self.end(job, _FAILED)
        except StoreError:
            return  # nothing can be kept any more, this neither; an engine on a sound file goes on with the job
        except Exception:
            log.exception("batch operation %s failed", job.request.job_id)
            if job.running:
                self.end(job, _FAILED)

    async def _list(self, job: Job) -> None:
        """Finds the runs that are meant, once and for all: what the operation does must not change them."""
        request = job.request
        targets = batch.given_targets(request)
        if not targets:
            engine, after, more = self._engine, b"", True
            of_activities = job.operation in batch.OF_ACTIVITIES
            scope = Scope(
                request.namespace,
                engine.search_attributes.of(request.namespace),
                DIVISION if of_activities else "",
                ALIASES if of_activities else {},
            )
            while more:
                size = engine.limits.visibility_page
                page = await engine.journal.list_executions(scope, batch.query_of(request), size, after)
                targets += [(row.workflow_id, row.run_id) for row in page.rows]
                after, more = page.next, bool(page.next)
        if job.running:
            job.targets, job.listed = targets, True
            await self._engine.journal.durable(self._keep(job))

    async def _some(self, job: Job) -> None:
        """As many as may be done in a second."""
        for id, run_id in job.targets[job.done : job.done + self._rate(job)]:
            if not job.running:
                return
            failed = not await self._one(job, id, run_id)
            job.failed += failed
            job.done += 1

    def _rate(self, job: Job) -> int:
        return max(1, round(job.request.max_operations_per_second or _RATE))

    async def _one(self, job: Job, id: str, run_id: str) -> bool:
        """One operation; False if it failed."""
        engine = self._engine
        try:
            ex = None
            if job.operation == "reset_operation":
                namespace = job.request.namespace
                found = (
                    engine.runs.get(namespace, id, run_id) if run_id else engine.runs.latest(namespace, id)
                )
                run = await found
                if run is None:
                    return True
                ex = run.ex
            method, request = ask(job, id, run_id, ex, engine.clock.now())
            await engine.service.call(method, request)
        except ServiceError as error:
            return error.code is Code.NOT_FOUND
        return True

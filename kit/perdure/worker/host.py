"""The worker of this process: it runs what is defined here, on a thread and an event loop of its own.

    registry changes ──┐
    notices ───────────┼──> `_changed` ──> _refresh(): a new generation polls, the old one drains
    a start, open runs ┘

Nothing polls until something has to run: a start, or open runs in the file. A burst of new definitions, as
when all cells are run again, sets the same flag many times; the refresh that is under way ends first, then
one more takes all of them. Whatever goes wrong is kept in `status` and said once; a worker that ends by
itself is started again, later each time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporalio.client import Client

from perdure.engine.project import Adopt, Notice, Project
from perdure.engine.records import Definition, Output
from perdure.errors import DefinitionError, PerdureError
from perdure.worker.generation import Generation, Offer
from perdure.worker.outputs import Outputs, Redirection
from perdure.worker.runner import VersionedRunner, definition_of

if TYPE_CHECKING:
    from perdure.authoring.registry import Registered, Registry

TASK_QUEUE = "perdure"
_LONGEST_PAUSE = 30.0
_PINNED_WAIT = 20.0  # seconds that a workflow task waits to learn its run's version

Key = tuple[str, str, str]  # kind, name, version


@dataclass(frozen=True, slots=True)
class Status:
    """How the worker stands. `state`: idle (nothing to run yet), starting, polling, waiting (to try again)
    or closed."""

    state: str
    process: str = ""
    task_queues: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    draining: int = 0
    problems: tuple[str, ...] = ()


class WorkerHost:
    """Runs the definitions of `registry` for `project`.

    Args:
        connect: identity -> a client with a connection of its own; from any loop.
        ask: runs a coroutine of the project on another thread's loop, and blocks until it is done.
        say: tells the user one line.
        redefined: awaited after a workflow type has got a new version that polls; for `session`.
        task_queue: that of definitions that name none.
        leased: tasks come only to who declared their definitions, in their version; a cluster gives them to whoever polls.
    """

    def __init__(
        self,
        registry: Registry,
        project: Project,
        *,
        connect: Callable[[str], Awaitable[Client]],
        ask: Callable[[Coroutine[Any, Any, Any]], Any],
        say: Callable[[str], None],
        redefined: Callable[[Registered], Awaitable[None]],
        task_queue: str = TASK_QUEUE,
        leased: bool = True,
    ) -> None:
        self._registry = registry
        self._project = project
        self._connect = connect
        self._ask = ask
        self._say = say
        self._redefined = redefined
        self._task_queue = task_queue
        self._leased = leased
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="perdure-worker", daemon=True)
        self._thread.start()
        self._outputs = Outputs(self._loop, project.output)
        self._redirection = Redirection(self._outputs)
        self._changed = asyncio.Event()
        self._ready = asyncio.Condition()
        self._needed = False
        self._closed = False
        self._abandoned = False  # closed while activities still run
        self._asked = 0  # grows with each change
        self._counting = threading.Lock()
        self._served = 0  # the newest change that a lease covers
        self._state = "idle"
        self._current: Generation | None = None
        self._draining: set[asyncio.Task[None]] = set()
        self._old: set[Generation] = set()
        self._problems: dict[str, str] = {}
        self._prepared: set[type] = set()
        self._versions: dict[str, str] = {}
        self._error: BaseException | None = None
        self._main: asyncio.Task[None] | None = None
        self._unsubscribe = registry.on_change(lambda registered: self._note_change())
        self._from_outside(self._begin)

    @property
    def status(self) -> Status:
        generation, problems = self._current, tuple(self._problems.values())
        if self._outputs.error:
            problems = (*problems, self._outputs.error)
        if generation is None:
            return Status(self._state, problems=problems)
        offer = generation.offer
        return Status(
            self._state,
            generation.process,
            offer.task_queues,
            tuple(sorted({each.name for each in offer.declared if each.kind == "workflow"})),
            tuple(sorted({each.name for each in offer.declared if each.kind == "activity"})),
            len(self._old),
            problems,
        )

    def need(self) -> None:
        """Something has to run: polls from here on. From any thread."""
        self._from_outside(self._begin_need)

    def reconnect(self) -> None:
        """The project is served on another address: polls there. From any thread."""
        self._from_outside(lambda: self._replace(self._current))

    async def ready(self) -> None:
        """Returns when a lease covers every definition made up to now. From any loop. Raises PerdureError."""
        if self._state == "polling" and self._served >= self._asked:
            return
        work = asyncio.run_coroutine_threadsafe(self._until_ready(), self._loop)
        await asyncio.wrap_future(work)

    def close(self, patience: float = 0.5) -> None:
        """Stops polling and gives up the lease; what still runs is tried again by who opens the file next."""
        if self._closed:
            return
        self._closed = True
        self._unsubscribe()
        try:
            asyncio.run_coroutine_threadsafe(self._close(patience), self._loop).result(patience + 2)
        except concurrent.futures.TimeoutError:
            self._problems["close"] = "The worker's thread did not answer when it was closed."
        finally:
            self._redirection.remove()
            self._state = "closed"
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1)

    def _run_loop(self) -> None:
        """Ends with the loop closed, unless activities still run on it: the SDK would report cancelled ones
        as failed."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if self._abandoned:
            self._loop.set_exception_handler(lambda loop, context: None)
            return
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _from_outside(self, call: Callable[[], None]) -> None:
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _begin(self) -> None:
        self._main = asyncio.ensure_future(self._serve())

    def _begin_need(self) -> None:
        self._needed = True
        self._changed.set()

    def _note_change(self) -> None:
        """Counted at once, on the thread that defines: a start right after must wait for it."""
        with self._counting:
            self._asked += 1
        self._from_outside(self._changed.set)

    async def _until_ready(self) -> None:
        asked = self._asked
        self._needed = True
        self._error = None
        self._changed.set()
        async with self._ready:
            await self._ready.wait_for(
                lambda: self._error or (self._current is not None and self._served >= asked)
            )
        if self._error is not None:
            raise self._error

    async def _serve(self) -> None:
        """Refreshes whenever something changed, as long as something has to run."""
        pause = 0.5
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._needed:
                continue
            try:
                await self._refresh()
                pause = 0.5
            except Exception as error:
                await self._fail(error)
                self._loop.call_later(pause, self._changed.set)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _fail(self, error: Exception) -> None:
        """Whoever waits learns why; it is said once, and tried again."""
        text = f"The worker cannot start: {error}"
        if self._problems.get("start") != text:
            self._problems["start"] = text
            self._say(text)
        self._state = "waiting"
        async with self._ready:
            self._error = error
            self._ready.notify_all()

    async def _refresh(self) -> None:
        """A new generation takes over, if what can be run has changed."""
        asked = self._asked
        before = self._current
        offer = await asyncio.to_thread(self._offer)
        if before is None or before.stale or before.offer != offer:
            self._state = "starting"
            self._redirection.install()
            generation = self._generation(offer)
            await generation.take_lease()
            try:
                if offer.workflows or offer.activities:
                    generation.poll(await self._connect(generation.process))
            except BaseException:
                await generation.end()
                raise
            self._current = generation
            if generation.stale:
                self._changed.set()
            if before is not None:
                await before.withdraw()  # before anyone is told that the new one is ready
                self._retire(before)
        self._state = "polling"
        self._problems.pop("start", None)
        async with self._ready:
            self._served, self._error = asked, None
            self._ready.notify_all()
        await self._tell_redefined()

    def _generation(self, offer: Offer) -> Generation:
        runner = self._runner()
        return Generation(
            offer, self._project, runner, self._outputs, self._notice, self._ended, leased=self._leased
        )

    def _runner(self) -> VersionedRunner:
        return VersionedRunner(self._pinned, self._find, self._prepared)

    def _retire(self, generation: Generation) -> None:
        self._old.add(generation)
        task = asyncio.ensure_future(generation.drain())
        self._draining.add(task)

        def drained(task: asyncio.Task[None]) -> None:
            self._draining.discard(task)
            self._old.discard(generation)

        task.add_done_callback(drained)

    async def _tell_redefined(self) -> None:
        """Names the workflow types whose current version is not the one of the last refresh."""
        for registered in _newest(self._registry, "workflow").values():
            name, version = registered.definition.name, registered.definition.version
            if self._versions.get(name) != version:
                asyncio.ensure_future(self._redefined(registered))  # noqa: RUF006  # it reports by itself
            self._versions[name] = version

    def _offer(self) -> Offer:
        """What the registry has now, without what the SDK would refuse. On a thread: validating imports
        modules."""
        workflows, activities = _newest(self._registry, "workflow"), _newest(self._registry, "activity")
        workflows = {name: each for name, each in workflows.items() if self._valid(each)}
        declared = [each.definition for each in self._registry.all() if each.definition.name in workflows]
        declared = [each for each in declared if each.kind == "workflow"]
        declared += [each.definition for each in activities.values()]
        queues = {str(json.loads(each.options).get("task_queue") or self._task_queue) for each in declared}
        return Offer(
            tuple(declared),
            tuple(each.target for each in workflows.values() if isinstance(each.target, type)),
            tuple(each.target for each in activities.values()),
            tuple(sorted(queues | {self._task_queue})),
        )

    def _valid(self, registered: Registered) -> bool:
        """Whether the SDK takes a workflow: one that it refuses must not keep the others from running."""
        problem = f"workflow {registered.definition.name}"

        async def validate() -> None:
            self._runner().prepare_workflow(definition_of(registered.target))

        try:
            asyncio.run(validate())
        except Exception as error:
            text = f"Workflow {registered.definition.name} cannot be run: {_innermost(error)}"
            if self._problems.get(problem) != text:
                self._problems[problem] = text
                self._say(text)
            return False
        self._problems.pop(problem, None)
        return True

    def _pinned(self, run_id: str) -> str:
        return str(self._ask(self._project.pinned(run_id)))

    def _find(self, name: str, version: str) -> Registered:
        """The definition of a pinned version: loaded from the file's sources if need be."""
        found = self._registry.find("workflow", name, version)
        if found is not None:
            return found
        for definition in self._ask(self._project.definitions()):
            if (definition.kind, definition.name, definition.version) == ("workflow", name, version):
                return self._registry.load(definition)
        raise DefinitionError(
            f"The run is pinned to version {version} of workflow {name}, which is not in the file.",
            f"Move the run to a version that is: perdure.move({name!r}).",
        )

    def _notice(self, generation: Generation, notice: Notice) -> None:
        if isinstance(notice, Adopt):
            asyncio.ensure_future(self._adopt(notice.definitions))  # noqa: RUF006  # it reports by itself
        else:
            self._replace(generation)

    def _replace(self, generation: Generation | None) -> None:
        """The next refresh makes another generation in this one's place, whatever it offers. One that
        drains needs none."""
        if generation is not None and generation not in self._old:
            generation.stale = True
            self._begin_need()

    async def _adopt(self, definitions: tuple[Definition, ...]) -> None:
        """Loads definitions that open runs need and that no process has."""
        for definition in definitions:
            name = f"{definition.kind} {definition.name}"
            try:
                await asyncio.to_thread(self._registry.load, definition)
            except PerdureError as error:
                self._problems[name] = f"{name} of version {definition.version} cannot be loaded: {error}"
                self._say(self._problems[name])
        self._note_change()
        self._begin_need()

    def _ended(self, generation: Generation, error: BaseException) -> None:
        """The workers of a generation have ended by themselves."""
        self._problems["worker"] = f"The worker ended: {_innermost(error)}"
        self._say(self._problems["worker"])
        self._loop.call_later(1.0, self._replace, generation)

    def printed(self, run_id: str, since: int) -> list[Output]:
        """What activities of a run printed in this process lately, after `since`. From any thread."""
        return self._outputs.recent(run_id, since)

    async def _close(self, patience: float) -> None:
        if self._main is not None:
            self._main.cancel()
        generations = [*self._old, *([self._current] if self._current else [])]
        stopping = [task for generation in generations for task in generation.stop_polling()]
        late = (await asyncio.wait(stopping, timeout=patience))[1] if stopping else ()
        self._abandoned = bool(late)
        await self._outputs.flush()
        await asyncio.gather(*(generation.end() for generation in generations))
        self._outputs.detach()
        for generation in generations:
            generation.detach()
        if not self._abandoned:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)


def _newest(registry: Registry, kind: str) -> dict[str, Registered]:
    """Of each name the current version; of names that were only loaded, the last one."""
    found = {each.definition.name: each for each in registry.all() if each.definition.kind == kind}
    current = {name: registry.current(kind, name) for name in found}
    return {name: current[name] or loaded for name, loaded in found.items()}


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if not isinstance(error, PerdureError) else str(error)

"""`perdure.workflow`: an `async` function becomes a Temporal workflow.

The function becomes the `run` method of a `@workflow.defn` class that is made here and put beside it in
its module, under the name `<function>__workflow`: the SDK's sandbox imports a workflow's class from its
module by name. The function's own name is bound to a `Workflow`:

    @perdure.workflow
    async def payment(order: dict) -> dict: ...

    run = payment.start(order, id="payment-7")       # anywhere
    result = await payment(order)                    # in another workflow: as its child

A class with Temporal's own `@workflow.defn` stays what it is; `@perdure.workflow` above it only makes it
known to this process's worker.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, cast, overload

import temporalio.workflow

from perdure.authoring import declaring
from perdure.authoring.durations import Duration
from perdure.authoring.options import WorkflowOptions
from perdure.authoring.registry import registry
from perdure.authoring.signatures import by_position, check_workflow, hints, received
from perdure.errors import DefinitionError, PerdureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from temporalio.workflow import ChildWorkflowHandle

    from perdure.run_handle import Run

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)


class WorkflowKeywords(TypedDict, total=False):
    """The keywords of `@perdure.workflow(...)` and `.options(...)`; `WORKFLOW_OPTIONS` says what each
    means.
    """

    name: str | None
    execution_timeout: Duration | None
    run_timeout: Duration | None
    task_timeout: Duration | None
    retries: int | None
    maximum_attempts: int | None
    initial_interval: Duration | None
    backoff: float | None
    maximum_interval: Duration | None
    non_retryable: str | type[BaseException] | Sequence[str | type[BaseException]] | None
    task_queue: str | None
    summary: str | None


class Workflow(Generic[P, T]):
    """A function that runs as a workflow.

    Attributes:
        name: Temporal's workflow type.
        function: the function as it was written.
        target: what a Worker takes: the `@workflow.defn` class; None for one that is defined elsewhere.
        declared: the options given where it was defined.
    """

    def __init__(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        name: str,
        target: type | None,
        declared: WorkflowOptions,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.function: Callable[P, Coroutine[Any, Any, T]] = function
        self.name = name
        self.target = target
        self.declared = declared
        self._overrides = dict(overrides or {})
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Runs a child workflow, in a workflow."""
        if not temporalio.workflow.in_workflow():
            raise PerdureError(
                f"{self.name} is a workflow: it runs in the engine, not where it is called.",
                f"Start a run with {self.name}.start(...), then await it.",
            )
        return self._execute_child(by_position(self.function, args, kwargs), {})

    def start(self, *args: Any, **options: Any) -> Run:
        """Starts a run and returns its handle.

        In a workflow this is `start_child`, and the result is awaited for the child's handle.

        Args:
            args: the workflow's arguments; by name, too, unless an option has that name.
            options: `id`, the options of `WORKFLOW_OPTIONS`, and what else `perdure.start` takes.
        """
        positional, rest = self._split(args, options)
        if temporalio.workflow.in_workflow():
            return cast("Run", self._start_child(positional, rest))
        start = importlib.import_module(
            "perdure"
        ).start  # late: it opens the session, and importing it takes time
        return cast("Run", start(self, *positional, **{**self._overrides, **rest}))

    async def execute(self, *args: Any, **options: Any) -> T:
        """Starts a run, or in a workflow a child, and waits for its result."""
        if temporalio.workflow.in_workflow():
            return await self._execute_child(*self._split(args, options))
        return cast("T", await self.start(*args, **options))

    async def start_child(self, *args: Any, **options: Any) -> ChildWorkflowHandle[Any, T]:
        """Starts a child workflow; returns its handle when the child has started. Only in a workflow."""
        return await self._start_child(*self._split(args, options))

    def options(self, **options: Unpack[WorkflowKeywords]) -> Workflow[P, T]:
        """The same workflow with other options: `payment.options(run_timeout="1h").start(order)`."""
        merged = {**self._overrides, **options}
        self.declared.override(merged)
        other: Workflow[P, T] = Workflow(self.function, self.name, self.target, self.declared, merged)
        return other

    def current_options(self, given: Mapping[str, Any] | None = None) -> WorkflowOptions:
        """The options of a start now: the newest definition's, then this object's own, then `given`."""
        declared = self.declared
        current = registry.current("workflow", self.name)
        if current is not None:
            declared = WorkflowOptions.from_json(current.definition.options)
        return declared.override({**self._overrides, **(given or {})})

    @property
    def run(self) -> Any:
        """The class's run method, for Temporal's own calls: `client.start_workflow(payment.run, order, ...)`."""
        if self.target is None:
            raise AttributeError(
                f"Workflow {self.name} is defined elsewhere; give its name instead of a method."
            )
        return temporalio.workflow._Definition.must_from_class(self.target).run_fn

    @functools.cached_property
    def result_type(self) -> Any:
        """The type of the result, as the function's annotations name it where it was written; None
        without.
        """
        return hints(self.function, f"workflow {self.name}").get("return")

    def _split(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Keywords are the function's parameters or options; an option wins where both have the name."""
        names = {option.name for option in WorkflowOptions.table()} | {"id"}
        parameters = set(inspect.signature(self.function).parameters) - names
        own = {name: value for name, value in keywords.items() if name in parameters}
        rest = {name: value for name, value in keywords.items() if name not in parameters}
        return by_position(self.function, args, own), rest

    async def _execute_child(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> T:
        return await (await self._start_child(args, keywords))

    async def _start_child(
        self, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> ChildWorkflowHandle[Any, T]:
        known = {option.name for option in WorkflowOptions.table()}
        options = self.current_options({name: value for name, value in keywords.items() if name in known})
        handle = await temporalio.workflow.start_child_workflow(
            self.name,
            args=args,
            result_type=self.result_type,
            task_queue=options.task_queue,
            **options.arguments(),
            **{name: value for name, value in keywords.items() if name not in known},
        )
        return cast("ChildWorkflowHandle[Any, T]", handle)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.function)

    def __repr__(self) -> str:
        return f"<workflow {self.name}{inspect.signature(self.function)}>"


class WorkflowDecorator(Protocol):
    @overload
    def __call__(self, function: C, /) -> C: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...


@overload
def workflow(function: C, /) -> C: ...
@overload
def workflow(function: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...
@overload
def workflow(**options: Unpack[WorkflowKeywords]) -> WorkflowDecorator: ...
def workflow(function: Any = None, /, **options: Any) -> Any:
    """Makes an `async` function a workflow: `@perdure.workflow` or `@perdure.workflow(run_timeout="1h")`.

    A class with Temporal's `@workflow.defn` is returned as it is.

    Raises:
        DefinitionError: the function cannot be a workflow, or an option is wrong.
    """
    if function is None:
        parsed = WorkflowOptions.parse(options)
        return lambda plain: _declare(plain, parsed)
    return _declare(function, WorkflowOptions.parse(options))


def _declare(function: Any, options: WorkflowOptions) -> Any:
    if isinstance(function, type):
        known = temporalio.workflow._Definition.from_class(function)
        if known is None:
            raise DefinitionError(
                f"{function.__name__} is a class without @workflow.defn.",
                "Put Temporal's @workflow.defn under @perdure.workflow, or decorate an async function.",
            )
        declaring.declare("workflow", function, function, options)
        return function
    result = make_workflow(function, options)
    declaring.declare("workflow", result, function, options)
    return result


def make_workflow(function: Callable[..., Any], options: WorkflowOptions) -> Workflow[..., Any]:
    """A Workflow that is not registered anywhere; its class is in the function's module."""
    check_workflow(function)
    if "<locals>" in function.__qualname__:
        raise DefinitionError(
            f"workflow {function.__name__} is defined inside another function; a worker could not import it.",
            "Define it at the top level of its module or cell.",
        )
    name = options.name or function.__name__
    return Workflow(function, name, workflow_class(function, name), options)


def workflow_class(function: Callable[..., Coroutine[Any, Any, Any]], name: str) -> type:
    """A `@workflow.defn` class whose `run` is `function`, with its signature; bound in the function's
    module.
    """

    async def run(self: object, *args: Any) -> Any:
        return await function(*received(function, args))

    class_name = f"{function.__name__}__workflow"
    signature = inspect.signature(function)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [item.replace(kind=_positional(item.kind)) for item in signature.parameters.values()]
    run.__qualname__ = f"{class_name}.run"
    run.__module__ = function.__module__
    run.__doc__ = function.__doc__
    run.__annotations__ = hints(function, f"workflow {name}")
    run.__signature__ = signature.replace(parameters=[this, *parameters])  # type: ignore[attr-defined]
    body = {"__module__": function.__module__, "__qualname__": class_name, "__doc__": function.__doc__}
    made = type(class_name, (), {**body, "run": temporalio.workflow.run(run)})
    function.__globals__[class_name] = made
    defined: type = temporalio.workflow.defn(name=name)(made)
    return defined


def _positional(kind: Any) -> Any:
    return kind if kind is inspect.Parameter.VAR_POSITIONAL else inspect.Parameter.POSITIONAL_ONLY

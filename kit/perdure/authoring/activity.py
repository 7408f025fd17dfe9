"""`perdure.activity`: a function becomes a step that is recorded, tried again, and never lost.

An `Activity` is called like the function it was made from. In a workflow the call is scheduled with the
declared options; elsewhere it just runs: a plain function returns its result, an `async` one its coroutine.

    @perdure.activity(timeout="30s", retries=5)
    def charge(order: dict) -> str: ...

    await charge(order)                            # in a workflow
    await charge.options(timeout="5s")(order)      # other options for one call
    handle = charge.start(order)                   # scheduled now, awaited later
    charge(order)                                  # anywhere else: an ordinary call

Type checkers see the call as it is in a workflow, where each one is awaited; `charge.function` is the
function itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, cast, overload

import temporalio.activity
import temporalio.workflow

from perdure.authoring import declaring
from perdure.authoring.durations import Duration
from perdure.authoring.options import ActivityOptions
from perdure.authoring.registry import Registered, registry
from perdure.authoring.signatures import by_position, check_activity, hints, received, takes_varying_counts
from perdure.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from temporalio.workflow import ActivityHandle

P = ParamSpec("P")
T = TypeVar("T")
_DEFINITION = "__temporal_activity_definition"


class ActivityKeywords(TypedDict, total=False):
    """The keywords of `@perdure.activity(...)` and `.options(...)`; `ACTIVITY_OPTIONS` says what each
    means.
    """

    name: str | None
    timeout: Duration | None
    schedule_to_close: Duration | None
    schedule_to_start: Duration | None
    heartbeat: Duration | None
    retries: int | None
    maximum_attempts: int | None
    initial_interval: Duration | None
    backoff: float | None
    maximum_interval: Duration | None
    non_retryable: str | type[BaseException] | Sequence[str | type[BaseException]] | None
    task_queue: str | None
    summary: str | None


class Activity(Generic[P, T]):
    """A function that workflows call as an activity.

    Attributes:
        name: Temporal's activity type.
        function: the function as it was written.
        target: what a Worker takes: the function with Temporal's definition.
        declared: the options given where it was defined.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        declared: ActivityOptions,
        overrides: Mapping[str, Any] | None = None,
        target: Callable[..., Any] | None = None,
    ) -> None:
        self.function: Callable[P, Any] = function
        self.target: Callable[..., Any] = target or function
        self.name = name
        self.declared = declared
        self._overrides = dict(overrides or {})
        functools.update_wrapper(self, function)
        setattr(
            self, _DEFINITION, getattr(self.target, _DEFINITION, None)
        )  # for workflow.execute_activity(charge, ...)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        if not temporalio.workflow.in_workflow():
            return cast("Coroutine[Any, Any, T]", self.function(*args, **kwargs))
        return self._execute(*args, **kwargs)

    async def _execute(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.start(*args, **kwargs)

    def start(self, *args: P.args, **kwargs: P.kwargs) -> ActivityHandle[T]:
        """Schedules the activity at once and returns its handle, an asyncio task. Only in a workflow."""
        if not temporalio.workflow.in_workflow():
            raise CallError(
                f"{self.name}.start() schedules the activity, which only a workflow can do.",
                f"To try it out here, call {self.name}(...).",
            )
        handle = temporalio.workflow.start_activity(
            self.name,
            args=by_position(self.function, args, kwargs),
            result_type=self._result_type,
            **self.current_options().arguments(),
        )
        return cast("ActivityHandle[T]", handle)

    def options(self, **options: Unpack[ActivityKeywords]) -> Activity[P, T]:
        """The same activity with other options: `charge.options(timeout="5s")(order)`."""
        merged = {**self._overrides, **options}
        self.declared.override(merged)  # refuses what is wrong where it is written
        other: Activity[P, T] = Activity(self.function, self.name, self.declared, merged, self.target)
        return other

    def current_options(self) -> ActivityOptions:
        """The options of a call now: those of the newest definition that this process knows, then this
        object's own.
        """
        declared = self.declared
        current = registry.current("activity", self.name)
        if current is not None:
            declared = _options_of(current)
        return declared.override(self._overrides) if self._overrides else declared

    @functools.cached_property
    def _result_type(self) -> Any:
        return hints(self.function, f"activity {self.name}").get("return")

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.function)

    def __repr__(self) -> str:
        return f"<activity {self.name}{inspect.signature(self.function)}>"


class ActivityDecorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Activity[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Activity[P, T]: ...


@overload
def activity(function: Callable[P, Coroutine[Any, Any, T]], /) -> Activity[P, T]: ...
@overload
def activity(function: Callable[P, T], /) -> Activity[P, T]: ...
@overload
def activity(**options: Unpack[ActivityKeywords]) -> ActivityDecorator: ...
def activity(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a function an activity: `@perdure.activity` or `@perdure.activity(timeout="30s", retries=5)`.

    A function that already has Temporal's `@activity.defn` keeps it.

    Raises:
        DefinitionError: the function cannot be an activity, or an option is wrong.
    """
    if function is None:
        parsed = ActivityOptions.parse(options)
        return lambda plain: _declare(plain, parsed)
    return _declare(function, ActivityOptions.parse(options))


def _declare(function: Callable[..., Any], options: ActivityOptions) -> Activity[..., Any]:
    result = make_activity(function, options)
    declaring.declare("activity", result, function, options)
    return result


def make_activity(function: Callable[..., Any], options: ActivityOptions) -> Activity[..., Any]:
    """An Activity that is not registered anywhere."""
    known = temporalio.activity._Definition.from_callable(function)
    if known is not None:
        return Activity(function, known.name or function.__name__, options)
    check_activity(function)
    name = options.name or function.__name__
    hints(function, f"activity {name}")
    target = _receiving(function) if takes_varying_counts(function) else function
    temporalio.activity.defn(name=name)(target)
    return Activity(function, name, options, target=target)


def _receiving(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for a worker, which may be given fewer arguments than there are parameters."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def receive(*args: Any) -> Any:
            return await function(*received(function, args))

    else:

        @functools.wraps(function)
        def receive(*args: Any) -> Any:
            return function(*received(function, args))

    return receive


@functools.lru_cache(maxsize=1024)
def _parsed_options(text: str) -> ActivityOptions:
    return ActivityOptions.from_json(text)


def _options_of(registered: Registered) -> ActivityOptions:
    return _parsed_options(registered.definition.options)

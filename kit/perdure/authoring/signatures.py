"""What Temporal needs to know of a function: that it can be called over the wire, its arguments by
position, its types.

Temporal passes arguments by position and as JSON. So keyword arguments are put into their places before
the call, and functions that can only be called with keywords are refused when they are defined.
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import temporalio.converter

from perdure.errors import CallError, DefinitionError

_BY_NAME_ONLY = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


def check_activity(function: Callable[..., Any]) -> None:
    """Raises DefinitionError if `function` cannot be an activity."""
    _check_callable(function, "activity")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(
            f"activity {function.__name__} is a generator: it yields, and an activity has one result.",
            "Return a list, or name the function with a leading underscore if it is a helper.",
        )
    _check_parameters(function, "activity")


def check_workflow(function: Callable[..., Any]) -> None:
    """Raises DefinitionError if `function` cannot be a workflow."""
    _check_callable(function, "workflow")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"workflow {function.__name__} is a generator: it yields, and a workflow has one result.",
            "Return the result, and show progress through a query in a @workflow.defn class.",
        )
    if not inspect.iscoroutinefunction(function):
        raise DefinitionError(
            f"workflow {function.__name__} is a plain function; a workflow awaits its activities.",
            f"Write `async def {function.__name__}`.",
        )
    _check_parameters(function, "workflow")


def by_position(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call in the order of the parameters.

    Defaults are filled in only where a later argument follows: the function's own defaults apply when it
    runs.

    Raises:
        CallError: where Python would raise TypeError, had the function been called.
    """
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        name = function.__name__
        raise CallError(f"{name} was called wrongly: {error}.", f"It is {name}{signature}.") from None
    last = max((index for index, name in enumerate(signature.parameters) if name in given), default=-1)
    result: list[Any] = []
    for name, parameter in list(signature.parameters.items())[: last + 1]:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            result.extend(given.get(name, ()))
        else:
            result.append(given.get(name, parameter.default))
    return result


def takes_varying_counts(function: Callable[..., Any]) -> bool:
    """Whether calls may have fewer or more arguments than there are parameters."""
    parameters = inspect.signature(function).parameters.values()
    return any(
        item.default is not inspect.Parameter.empty or item.kind is inspect.Parameter.VAR_POSITIONAL
        for item in parameters
    )


def received(function: Callable[..., Any], args: Sequence[Any]) -> Sequence[Any]:
    """Arguments as they came over the wire, in the types that the parameters name.

    The SDK does this itself, but only when there are exactly as many arguments as parameters.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if len(args) == len(parameters) and parameters[-1:] and not _is_rest(parameters[-1]):
        return args
    types = typing.get_type_hints(function, include_extras=True)
    kinds = [types.get(item.name) for item in parameters]
    if parameters and _is_rest(parameters[-1]):
        kinds += [kinds[-1]] * (len(args) - len(kinds))
    return [
        value if kind is None else temporalio.converter.value_to_type(kind, value)
        for value, kind in itertools.zip_longest(args, kinds[: len(args)])
    ]


def _is_rest(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.VAR_POSITIONAL


def hints(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """The resolved annotations of a function. Raises DefinitionError for one that names nothing."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise DefinitionError(
            f"{what}: its annotations cannot be resolved: {type(error).__name__}: {error}",
            "Import or define the type at the top level, before the function.",
        ) from error


def _check_callable(function: Callable[..., Any], kind: str) -> None:
    if not inspect.isfunction(function):
        raise DefinitionError(
            f"{function!r} is a {type(function).__name__}, not a function.",
            f"Decorate a function written with def; for a method, use Temporal's own @{kind}.defn.",
        )
    owner = function.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        raise DefinitionError(
            f"{kind} {function.__qualname__} is a method.",
            f"Decorate a function at the top level; for a method, use Temporal's own @{kind}.defn.",
        )


def _check_parameters(function: Callable[..., Any], kind: str) -> None:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _BY_NAME_ONLY:
            stars = "**" if parameter.kind is inspect.Parameter.VAR_KEYWORD else ""
            raise DefinitionError(
                f"{kind} {function.__name__}: parameter {stars}{parameter.name} takes its value by name only;"
                " Temporal passes arguments by position.",
                "Take a dict or a dataclass instead."
                if stars
                else "Remove the * before it; callers may still write its name.",
            )

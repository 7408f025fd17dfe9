"""The options of activities and workflows: one table drives decorators, magics and `.options(...)`.

`ACTIVITY_OPTIONS` and `WORKFLOW_OPTIONS` list each option once: its name, how a text becomes its value,
and one line of help. `@perdure.activity(timeout="30s")`, `%%activity --timeout 30s` and
`charge.options(timeout="30s")` all go through `ActivityOptions.parse` and `.override`, so that they cannot
drift apart. Values are kept as JSON in the history file (`to_json`, `from_json`).

Two choices are worth knowing:

* `retries` counts what comes *after* the first attempt, as its name says: `retries=5` is at most six
  attempts. `maximum_attempts` is Temporal's own count, first attempt included; give one of the two.
  Without either, an activity is tried until it succeeds, as in Temporal.
* Temporal wants a limit on either one attempt (`timeout`, its start-to-close timeout) or the whole of them
  (`schedule_to_close`). When neither is given, one attempt may last `DEFAULT_TIMEOUT`: long enough for the
  work that notebooks do, short enough that a hung attempt is tried again while the person still remembers
  it. An attempt whose process died does not wait for it: perdure sees that at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from perdure.authoring.durations import format_duration, parse_duration
from perdure.errors import DefinitionError

if TYPE_CHECKING:
    from temporalio.common import RetryPolicy

DEFAULT_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Option:
    """One row of an option table.

    `name` is the keyword; the flag of a magic is `--name` with hyphens. `metavar` is how help texts show
    its value; `many` says that the option may be given several times.
    """

    name: str
    parse: Callable[[Any, str], Any]
    help: str
    metavar: str
    many: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _duration(value: Any, what: str) -> timedelta:
    return parse_duration(value, what)


def _count(value: Any, what: str) -> int:
    try:
        number = int(value)
        whole = not isinstance(value, bool) and (isinstance(value, str) or number == value)
    except (TypeError, ValueError):
        whole, number = False, -1
    if not whole or number < 0:
        raise DefinitionError(f"{what} {value!r} is not a whole number.", f"Write {what} as 0, 1, 2, ...")
    return number


def _backoff(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 1 <= number < float("inf"):
        raise DefinitionError(
            f"{what} {value!r} is not a factor.", "Give a number of at least 1, such as 2 or 1.5."
        )
    return number


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError(f"{what} {value!r} is not a text.", f"Give {what} as a text that is not empty.")
    return value


def _error_types(value: Any, what: str) -> tuple[str, ...]:
    """Exception types by name, as Temporal knows them: "ValueError, ZeroDivisionError", classes, or a
    list of both.
    """
    items: Iterable[Any] = (
        value.split(",") if isinstance(value, str) else (value,) if isinstance(value, type) else value
    )
    if not isinstance(items, Iterable):
        raise DefinitionError(
            f"{what} {value!r} names no exception types.", "Give exception classes or their names."
        )
    names: list[str] = []
    for item in items:
        if isinstance(item, type) and issubclass(item, BaseException):
            names.append(item.__name__)
        elif isinstance(item, str) and item.strip():
            names.extend(name.strip() for name in item.split(",") if name.strip())
        else:
            raise DefinitionError(
                f"{what}: {item!r} is no exception type.", "Give exception classes or their names."
            )
    return tuple(dict.fromkeys(names))


_RETRY_OPTIONS = (
    Option("retries", _count, "tries after the first one, at most (0: never try again)", "N"),
    Option("maximum_attempts", _count, "tries in all, at most; Temporal's name (0: no limit)", "N"),
    Option("initial_interval", _duration, "wait before the second try (default 1s)", "DURATION"),
    Option("backoff", _backoff, "factor by which each wait is longer than the last (default 2)", "FACTOR"),
    Option(
        "maximum_interval",
        _duration,
        "longest wait between tries (default 100 initial intervals)",
        "DURATION",
    ),
    Option("non_retryable", _error_types, "exception types that end it at once", "TYPE", many=True),
)
ACTIVITY_OPTIONS = (
    Option("name", _text, "Temporal's activity type (default: the function's name)", "NAME"),
    Option(
        "timeout", _duration, "longest time of one try; Temporal's start-to-close (default 10m)", "DURATION"
    ),
    Option("schedule_to_close", _duration, "longest time of all tries together", "DURATION"),
    Option("schedule_to_start", _duration, "longest time in the task queue", "DURATION"),
    Option("heartbeat", _duration, "longest time between two activity.heartbeat() calls", "DURATION"),
    *_RETRY_OPTIONS,
    Option("task_queue", _text, "task queue (default: the workflow's)", "QUEUE"),
    Option("summary", _text, "a line that user interfaces show", "TEXT"),
)
WORKFLOW_OPTIONS = (
    Option("name", _text, "Temporal's workflow type (default: the function's name)", "NAME"),
    Option("execution_timeout", _duration, "longest time of all runs of an execution", "DURATION"),
    Option("run_timeout", _duration, "longest time of one run", "DURATION"),
    Option("task_timeout", _duration, "longest time of one workflow task (default 10s)", "DURATION"),
    *_RETRY_OPTIONS,
    Option("task_queue", _text, "task queue", "QUEUE"),
    Option("summary", _text, "a line that user interfaces show", "TEXT"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What activities and workflows share. None stands for "not given"."""

    name: str | None = None
    retries: int | None = None
    maximum_attempts: int | None = None
    initial_interval: timedelta | None = None
    backoff: float | None = None
    maximum_interval: timedelta | None = None
    non_retryable: tuple[str, ...] = ()
    task_queue: str | None = None
    summary: str | None = None

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        raise NotImplementedError

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Options from keywords, flags or JSON; values may be texts. Raises DefinitionError."""
        return cls().override(given)

    def override(self, given: Mapping[str, Any]) -> Self:
        """These options with `given` ones in their place; None takes an option back to its default."""
        known = {option.name: option for option in self.table()}
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise DefinitionError(f"There is no option {name!r}.", remedy_for_unknown(name, known))
            changes[name] = (
                known[name].parse(value, name) if value is not None else _default(type(self), name)
            )
        if changes.get("retries") is not None and changes.get("maximum_attempts") is not None:
            raise DefinitionError(
                "retries and maximum_attempts are both given.",
                "Give one: retries=5 means the first try and five more, maximum_attempts=6 the same.",
            )
        if changes.get("retries") is not None:
            changes["maximum_attempts"] = None
        elif changes.get("maximum_attempts") is not None:
            changes["retries"] = None
        return replace(self, **changes).checked()

    def checked(self) -> Self:
        first, longest = self.initial_interval, self.maximum_interval
        if first is not None and not first:
            raise DefinitionError("initial_interval is zero.", "Give a wait of at least 1ms.")
        if longest is not None and longest < (first or timedelta(seconds=1)):
            raise DefinitionError(
                f"maximum_interval {format_duration(longest)} is shorter than the first wait.",
                "Give a maximum_interval of at least the initial_interval (which is 1s when not given).",
            )
        return self

    def attempts(self) -> int:
        """How many tries there may be, the first one included; 0 when there is no limit."""
        return self.retries + 1 if self.retries is not None else self.maximum_attempts or 0

    def retry_policy(self) -> RetryPolicy | None:
        """Temporal's form of the retry options; None when none is given."""
        from temporalio.common import RetryPolicy

        policy = RetryPolicy(maximum_attempts=self.attempts())
        if self.initial_interval is not None:
            policy.initial_interval = self.initial_interval
        if self.backoff is not None:
            policy.backoff_coefficient = self.backoff
        policy.maximum_interval = self.maximum_interval
        policy.non_retryable_error_types = list(self.non_retryable) or None
        return policy if policy != RetryPolicy() else None

    def to_json(self) -> str:
        """JSON of the options that are given; `from_json` reads it."""
        values: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != _default(type(self), item.name):
                values[item.name] = (
                    format_duration(value) if isinstance(value, timedelta)
                    else list(value) if isinstance(value, tuple)
                    else value
                )  # fmt: skip
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`. Options that this perdure does not know, written by a newer one, are left out."""
        known = {option.name for option in cls.table()}
        return cls.parse({name: value for name, value in json.loads(text or "{}").items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityOptions(_Options):
    """How an activity is scheduled."""

    timeout: timedelta | None = None
    schedule_to_close: timedelta | None = None
    schedule_to_start: timedelta | None = None
    heartbeat: timedelta | None = None

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        return ACTIVITY_OPTIONS

    def arguments(self) -> dict[str, Any]:
        """Keywords of `temporalio.workflow.execute_activity` and `start_activity`."""
        timeout = self.timeout
        if timeout is None and self.schedule_to_close is None:
            timeout = DEFAULT_TIMEOUT
        return {
            "start_to_close_timeout": timeout,
            "schedule_to_close_timeout": self.schedule_to_close,
            "schedule_to_start_timeout": self.schedule_to_start,
            "heartbeat_timeout": self.heartbeat,
            "retry_policy": self.retry_policy(),
            "task_queue": self.task_queue,
            "summary": self.summary,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions(_Options):
    """How a workflow is started."""

    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None

    @classmethod
    def table(cls) -> tuple[Option, ...]:
        return WORKFLOW_OPTIONS

    def arguments(self) -> dict[str, Any]:
        """Keywords that `Client.start_workflow` and `workflow.start_child_workflow` both take; task queue
        left to the caller.
        """
        return {
            "execution_timeout": self.execution_timeout,
            "run_timeout": self.run_timeout,
            "task_timeout": self.task_timeout,
            "retry_policy": self.retry_policy(),
            "static_summary": self.summary,
        }


def _default(options: type[_Options], name: str) -> Any:
    return next(item.default for item in fields(options) if item.name == name)


def remedy_for_unknown(name: str, known: Collection[str]) -> str:
    synonyms = {"start_to_close": "timeout", "start_to_close_timeout": "timeout", "retry": "retries"}
    stem = name.removesuffix("_timeout")
    close = synonyms.get(name) or (stem if stem in known else None)
    if close is None:
        begun = [each for each in known if each.startswith(f"{name}_")]
        close = next(iter(begun or get_close_matches(name, list(known), 1)), None)
    return f"Did you mean {close}?" if close else f"Options are {', '.join(known)}."

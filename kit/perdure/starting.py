"""Starting runs: what the SDK's client needs, and what happens when the id is taken.

The rule for notebooks, where cells are run again all day, is that starting twice never pays twice:

    a run of that id is open            -> the handle is of that run, which goes on
    it has completed                    -> the handle is of that run, with its result
    it failed, was cancelled, timed out -> a new run
    it was started with other input, or is of another type -> an error

`again=True` starts a new run beside a completed one; `id_reuse_policy` and `id_conflict_policy` are
Temporal's own, and take this rule's place when they are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import temporalio.workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from perdure.authoring import declaring
from perdure.authoring.durations import parse_duration
from perdure.authoring.options import WorkflowOptions, remedy_for_unknown
from perdure.authoring.registry import Registered, Registry, target_of
from perdure.authoring.workflow import Workflow
from perdure.engine.cron import check as check_cron
from perdure.engine.errors import ServiceError
from perdure.engine.project import Project
from perdure.engine.records import RunRecords
from perdure.errors import CallError, DefinitionError, RunError
from perdure.replay.move import pin, version_of
from perdure.searching import unregistered
from perdure.worker.host import TASK_QUEUE
from perdure.worker.runner import definition_of

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

_POLICIES = {"id_reuse_policy": WorkflowIDReusePolicy, "id_conflict_policy": WorkflowIDConflictPolicy}


@dataclass(slots=True)
class Start:
    """A workflow to start: its type, its definition when this process has one, and the client's keywords."""

    workflow_type: str
    registered: Registered | None
    args: Sequence[Any]
    id: str
    chosen_id: bool  # the user gave the id; it then means "this one run"
    again: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Started:
    """A run: `new`, or one that was there; then `note` says so in one line."""

    run_id: str
    new: bool
    note: str = ""


def prepare(
    registry: Registry,
    workflow: Any,
    args: Sequence[Any],
    id: str | None,
    again: bool,
    version: str | None,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    task_queue: str = TASK_QUEUE,
    pinned: bool = True,
) -> Start:
    """Reads what the user gave: `given` are the client's own keywords, `options` those of `WorkflowOptions`.

    `task_queue` is for definitions that name none; `pinned`: runs keep the version that they begin with.

    Raises RunError, DefinitionError.
    """
    workflow_type, registered = identify(registry, workflow)
    if version is not None:
        registered = registry.find("workflow", workflow_type, version)
        if registered is None:
            raise RunError(
                f"Workflow {workflow_type} has no version {version!r} in this process.",
                "Leave version out to start the current one.",
            )
    declared = WorkflowOptions.from_json(registered.definition.options) if registered else WorkflowOptions()
    known = [option.name for option in WorkflowOptions.table()] + list(given)
    for name in options:
        if name not in known:
            raise DefinitionError(f"There is no option {name!r}.", remedy_for_unknown(name, known))
    declared = declared.override(options)
    keywords = {name: value for name, value in declared.arguments().items() if value is not None}
    if pinned and registered is not None and registered.definition.version:
        keywords["versioning_override"] = pin(workflow_type, registered.definition.version)
    keywords.update({name: value for name, value in given.items() if value is not None})
    if "start_delay" in keywords:
        keywords["start_delay"] = parse_duration(keywords["start_delay"], "start_delay")
    if "cron_schedule" in keywords:
        _check_cron(keywords["cron_schedule"])
    for name, kind in _POLICIES.items():
        if isinstance(keywords.get(name), str):
            keywords[name] = _policy(kind, name, keywords[name])
    keywords["task_queue"] = declared.task_queue or task_queue
    chosen = id if id is not None else f"{workflow_type}-{token_hex(4)}"
    return Start(workflow_type, registered, args, chosen, id is not None, again, keywords)


def _check_cron(text: str) -> None:
    try:
        check_cron(text)
    except ServiceError as error:
        raise RunError(
            f"cron_schedule {text!r} cannot be used: {error.message.rstrip('.')}.",
            "Write minute, hour, day of the month, month and weekday, such as '0 7 * * MON-FRI', or '@every 1h'.",
        ) from None


def _policy(kind: type[IntEnum], name: str, text: str) -> IntEnum:
    wanted = text.upper().replace("-", "_")
    if wanted not in kind.__members__:
        known = ", ".join(member.lower() for member in kind.__members__ if member != "UNSPECIFIED")
        raise RunError(f"{name} has no value {text!r}.", f"It is one of {known}.")
    return kind[wanted]


def identify(registry: Registry, workflow: Any) -> tuple[str, Registered | None]:
    """The type of a workflow that is given as a definition, a class, a run method or a name.

    A class that was not registered yet (it is in an imported module) is registered here.
    """
    if isinstance(workflow, str):
        return workflow, registry.current("workflow", workflow)
    if isinstance(
        workflow, Workflow
    ):  # whichever version the name meant when it was bound: runs start on the newest
        return workflow.name, registry.current("workflow", workflow.name)
    target = target_of(workflow)
    for registered in reversed(registry.all()):
        if registered.target is target:
            return registered.definition.name, registered
    definition = getattr(target, "__temporal_workflow_definition", None)
    if definition is None:
        definition = temporalio.workflow._Definition.from_run_fn(target) if callable(target) else None
    if definition is None or definition.name is None:
        raise RunError(
            f"{workflow!r} is no workflow.",
            "Start a %%workflow cell, a @perdure.workflow function, a @workflow.defn class, or a name.",
        )
    known = registry.current("workflow", definition.name)
    if known is None or known.target is not definition.cls:
        found = declaring.registered(definition.cls)  # in a notebook's cell it is captured
        if known is None or known.target is not found.target:
            registry.add(found)
            known = found
    return definition.name, known


async def start(client: Client, project: Project, wanted: Start) -> Started:
    """Starts the run, or finds the one that stands for it. Raises RunError."""
    await _check_arguments(client, wanted)
    policies = {name: wanted.options.pop(name, None) for name in ("id_reuse_policy", "id_conflict_policy")}
    own_rule = wanted.chosen_id and not any(policies.values())
    if own_rule:
        policies["id_conflict_policy"] = WorkflowIDConflictPolicy.USE_EXISTING
        if not wanted.again:
            policies["id_reuse_policy"] = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
    keywords = {**wanted.options, **{name: policy for name, policy in policies.items() if policy}}
    try:
        handle: WorkflowHandle[Any, Any] = await client.start_workflow(
            wanted.workflow_type, args=wanted.args, id=wanted.id, **keywords
        )
    except WorkflowAlreadyStartedError as error:
        if own_rule and error.run_id:
            return await _attach(client, project, wanted, error.run_id)
        raise RunError(
            f"A run of workflow {wanted.workflow_type} with the id {wanted.id!r} exists, and the id policy refuses another.",
            f"perdure.run({wanted.id!r}) is that run; choose another id or id_reuse_policy for a new one.",
        ) from error
    except RPCError as error:
        raise unregistered(error) or error from None
    run_id = handle.result_run_id or ""
    # The SDK keeps the response, which alone says whether this call started the run, without a public name.
    response = getattr(handle, "_start_workflow_response", None)
    if own_rule and response is not None and not response.started:
        return await _attach(client, project, wanted, run_id)
    return Started(run_id, True)


async def _check_arguments(client: Client, wanted: Start) -> None:
    """Raises CallError for arguments that the worker could not give to the workflow: its run would wait for a fix of
    code that needs none."""
    encoded = await client.data_converter.encode(list(wanted.args))
    definition = definition_of(wanted.registered.target) if wanted.registered is not None else None
    if definition is None or definition.name is None:  # a dynamic workflow takes what comes
        return
    _, *others = inspect.signature(definition.run_fn).parameters.values()
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    others = [
        each.replace(kind=plain) if each.kind is inspect.Parameter.POSITIONAL_ONLY else each
        for each in others
    ]
    parameters = inspect.Signature(others)
    try:
        parameters.bind(*wanted.args)
        types = definition.arg_types
        await client.data_converter.decode(encoded, types if types and len(types) == len(encoded) else None)
    except Exception as error:
        cause = error.__cause__ or error
        raise CallError(
            f"Workflow {wanted.workflow_type} cannot take these arguments: {cause}.",
            f"It is {wanted.workflow_type}{parameters}.",
        ) from error


async def _attach(client: Client, project: Project, wanted: Start, run_id: str) -> Started:
    """The run that is there stands for the one that was wanted, if it is of the same type and input."""
    records = await project.read_run(wanted.id, run_id)
    started = records.started
    if started.workflow_type != wanted.workflow_type:
        raise RunError(
            f"The id {wanted.id!r} belongs to a run of workflow {started.workflow_type}, not {wanted.workflow_type}.",
            f"Choose another id; perdure.run({wanted.id!r}) is that run.",
        )
    state = "is open" if records.closed is None else "has completed"
    encoded = await client.data_converter.encode(list(wanted.args))
    first = records.events[0].workflow_execution_started_event_attributes
    if [payload.data for payload in encoded] != [payload.data for payload in first.input.payloads]:
        raise RunError(
            f"The run {wanted.id!r} {state} already, and was started with other input.",
            "Choose another id for other input"
            + ("." if records.closed is None else ", or start a new run of this id with again=True."),
        )
    return Started(run_id, False, _note(wanted, records))


def _note(wanted: Start, records: RunRecords) -> str:
    if records.closed is not None:
        return (
            f"{wanted.id} has completed already; this is its recorded result (again=True starts a new run)."
        )
    version, own = version_of(records), wanted.registered.definition.version if wanted.registered else ""
    if version and own and version != own:
        return (
            f"{wanted.id} is open and goes on with version {version}; this cell is version {own} "
            f"(perdure.run({wanted.id!r}).move() moves it)."
        )
    return f"{wanted.id} is open already; this is the same run, which goes on."


def seconds(value: Any, what: str) -> float | None:
    """A timeout as people write it, in seconds."""
    if value is None:
        return None
    duration: timedelta = parse_duration(value, what)
    return duration.total_seconds()

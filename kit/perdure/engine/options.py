"""Options of an open run that may be changed: versioning override, priority; and what a start attaches to a run that it found.

Each change is one WorkflowExecutionOptionsUpdated event, which carries all options as they are then. TEMPORAL.md, section 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.api.history.v1 import WorkflowExecutionOptionsUpdatedEventAttributes
from temporalio.api.workflow.v1 import WorkflowExecutionOptions

from perdure.engine.errors import ServiceError, invalid
from perdure.engine.priorities import check_priority
from perdure.engine.state import Execution
from perdure.engine.time_skipping import complete_config

_OLD_OVERRIDE = ("versioning_override.behavior", "versioning_override.deployment")


def of(ex: Execution) -> WorkflowExecutionOptions:
    """The options of a run as they are now."""
    options = WorkflowExecutionOptions()
    if ex.versioning_override is not None:
        options.versioning_override.CopyFrom(ex.versioning_override)
    if ex.priority.ByteSize():
        options.priority.CopyFrom(ex.priority)
    if ex.skipping is not None and ex.skipping.config is not None:
        options.time_skipping_config.CopyFrom(ex.skipping.config)
    return options


def check_mask(paths: Sequence[str]) -> None:
    """Raises INVALID_ARGUMENT for a path that names no field of the options."""
    for path in paths:
        fields: Mapping[str, Any] = WorkflowExecutionOptions.DESCRIPTOR.fields_by_name
        for name in path.split("."):
            field = fields.get(name)
            if field is None:
                raise invalid(
                    "error parsing UpdateMask: proto: invalid path "
                    f'"{path}" for message "temporal.api.workflow.v1.WorkflowExecutionOptions"'
                )
            fields = field.message_type.fields_by_name if field.message_type is not None else {}


def check(options: WorkflowExecutionOptions, paths: Sequence[str]) -> None:
    """Raises for options that no run may have, whatever it is."""
    check_mask(paths)
    check_priority(options.priority)
    if options.HasField("time_skipping_config"):
        complete_config(options.time_skipping_config)


def merged(ex: Execution, wanted: WorkflowExecutionOptions, paths: Sequence[str]) -> WorkflowExecutionOptions:
    """The run's options with the fields that the mask names replaced. Raises INVALID_ARGUMENT."""
    result = of(ex)
    for path in paths:
        name, _, rest = path.partition(".")
        if not rest:
            result.ClearField(name)  # type: ignore[arg-type]
            if wanted.HasField(name):  # type: ignore[arg-type]
                getattr(result, name).CopyFrom(getattr(wanted, name))
        elif name == "priority":
            setattr(result.priority, rest, getattr(wanted.priority, rest))
        elif path in _OLD_OVERRIDE and set(_OLD_OVERRIDE) <= set(paths):
            result.versioning_override.CopyFrom(wanted.versioning_override)
        elif path in _OLD_OVERRIDE:
            raise _unfit("versioning_override fields must be updated together")
        else:
            kind = "updates" if name == "versioning_override" else "update"
            raise _unfit(f"{name} doesn't support partial {kind}")
    return result


def _unfit(reason: str) -> ServiceError:
    return invalid(f"error applying update_options: {reason}")


def updated(
    ex: Execution, options: WorkflowExecutionOptions, paths: Sequence[str], identity: str
) -> WorkflowExecutionOptionsUpdatedEventAttributes | None:
    """The event that makes these the options of the run; None when they are already. A fast-forward begins anew, though."""
    before = of(ex)
    config = options.time_skipping_config
    forward = "time_skipping_config" in paths and config.HasField("fast_forward_config")
    if options == before and not forward:
        return None
    event = WorkflowExecutionOptionsUpdatedEventAttributes(
        identity=identity,
        unset_versioning_override=not options.HasField("versioning_override"),
        time_skipping_config_updated=forward
        or config != before.time_skipping_config
        or options.HasField("time_skipping_config") != before.HasField("time_skipping_config"),
    )
    for field, value in options.ListFields():
        getattr(event, field.name).CopyFrom(value)
    return event

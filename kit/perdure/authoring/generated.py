"""What the sources of captured cells call.

These sources are kept in history files for years, so functions here keep their names, parameters and meaning: new ones
may be added, none may change. The sources import this module through the SDK's sandbox unchanged, which
makes the objects the process's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import temporalio.activity

from perdure.authoring.activity import Activity, make_activity
from perdure.authoring.options import ActivityOptions, WorkflowOptions
from perdure.authoring.workflow import Workflow, make_workflow


def define_activity(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """What a worker takes for an activity: the function, or one that calls it, with Temporal's definition."""
    return make_activity(function, ActivityOptions(name=name)).target


def define_workflow(function: Callable[..., Any], name: str) -> Workflow[..., Any]:
    """Makes the workflow class of a function, in the function's module; returns what calls it as a child."""
    return make_workflow(function, WorkflowOptions(name=name))


def activity_elsewhere(name: str, options: str) -> Callable[[Callable[..., Any]], Activity[..., Any]]:
    """An activity of another definition: its signature here, its body there; `options` is JSON."""

    def decorate(signature: Callable[..., Any]) -> Activity[..., Any]:
        temporalio.activity.defn(name=name)(signature)
        return Activity(signature, name, ActivityOptions.from_json(options))

    return decorate


def temporal_activity_elsewhere(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Temporal's own kind of activity, of another definition."""
    return temporalio.activity.defn(name=name)


def workflow_elsewhere(name: str, options: str) -> Callable[[Callable[..., Any]], Workflow[..., Any]]:
    """A workflow of another definition: its signature here, its body there; `options` is JSON."""

    def decorate(signature: Callable[..., Any]) -> Workflow[..., Any]:
        return Workflow(signature, name, None, WorkflowOptions.from_json(options))

    return decorate

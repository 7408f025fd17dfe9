"""Search attributes for people: the names by which lists find runs, and their types.

A typed key that a notebook uses (`SearchAttributeKey.for_keyword("Colour")`) says all that there is to register, so in a project's
file it registers itself: here, when a run is started with it; in the engine, when a workflow writes it. On a cluster that others
share, names are registered by whoever runs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
    RemoveSearchAttributesRequest,
)
from temporalio.common import TypedSearchAttributes

from perdure.engine.search_attributes import NAMES, TYPES
from perdure.errors import RunError

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.service import RPCError

_UNKNOWN = re.compile(r"no mapping defined for search attribute (.*)")


async def names(client: Client) -> tuple[dict[str, str], dict[str, str]]:
    """Names and types: those that are registered, and Temporal's own."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    own, built_in = answer.custom_attributes, answer.system_attributes
    return _types(own), _types(built_in)


def _types(numbers: Any) -> dict[str, str]:
    return {name: NAMES[numbers[name]] for name in sorted(numbers)}


async def add(client: Client, types: dict[str, str]) -> None:
    """Registers names. Raises RunError for a name that is there with another type."""
    known, built_in = await names(client)
    for name, kind in types.items():
        there = (known | built_in).get(name)
        if there not in (None, kind):
            raise RunError(
                f"The search attribute {name!r} is of type {there}, not {kind}.",
                f"Use SearchAttributeKey of {there}, or another name.",
            )
    new: Any = {name: TYPES[kind] for name, kind in types.items() if name not in known | built_in}
    if new:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=new)
        )


async def remove(client: Client, gone: list[str]) -> None:
    await client.operator_service.remove_search_attributes(
        RemoveSearchAttributesRequest(namespace=client.namespace, search_attributes=gone)
    )


async def register_keys(client: Client, attributes: Any) -> None:
    """Registers the typed keys of a start; the old form without types says nothing to register.

    Raises RunError for a value that is of neither form.
    """
    if isinstance(attributes, TypedSearchAttributes):
        keys = [pair.key for pair in attributes.search_attributes]
        await add(client, {key.name: NAMES[int(key.indexed_value_type)] for key in keys})
        return
    untyped = attributes if isinstance(attributes, Mapping) else {}
    bare = [name for name, value in untyped.items() if not isinstance(value, list)]
    if bare or not isinstance(attributes, Mapping | None):
        raise RunError(
            f"search_attributes={attributes!r} has no types.",
            "Give TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword('Colour'), 'red')]), "
            "from temporalio.common.",
        )


def type_named(text: str) -> str:
    """A type as Temporal spells it, however it was written: "keyword list" is KeywordList. Raises RunError."""
    plain = {name.lower(): name for name in TYPES}
    found = plain.get(re.sub(r"[\s_-]", "", text).lower())
    if found is None:
        raise RunError(f"There is no type {text!r}.", f"It is one of {', '.join(TYPES)}.")
    return found


def unregistered(error: RPCError) -> RunError | None:
    """What to do about a name that is not registered, if that is what the error says."""
    found = _UNKNOWN.search(error.message)
    if found is None:
        return None
    return RunError(
        f"The search attribute {found[1]!r} is not registered.",
        f"Give it with a typed key, or register it: `perdure search-attribute add {found[1]} keyword` for a project's file, "
        f"`temporal operator search-attribute create --name {found[1]} --type Keyword` for a cluster.",
    )

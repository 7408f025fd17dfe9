"""Registering search attributes. TEMPORAL.md, sections 1.4 and 9."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    AddSearchAttributesResponse,
    ListSearchAttributesRequest,
    ListSearchAttributesResponse,
    RemoveSearchAttributesRequest,
    RemoveSearchAttributesResponse,
)
from temporalio.api.workflowservice.v1 import GetSearchAttributesRequest, GetSearchAttributesResponse

from perdure.engine.errors import invalid
from perdure.engine.namespaces import DEFAULT_NAMESPACE
from perdure.engine.rpc.common import Handlers
from perdure.engine.search_attributes import PREDEFINED, SYSTEM, TYPES, check_new, is_built_in

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def add_search_attributes(
    engine: Engine, request: AddSearchAttributesRequest, metadata: Mapping[str, str]
) -> AddSearchAttributesResponse:
    """Registers attributes; those that are there already stay as they are."""
    if not request.search_attributes:
        raise invalid("SearchAttributes are not set on request.")
    types = {name: check_new(name, number) for name, number in request.search_attributes.items()}
    engine.namespaces.check(_namespace(request.namespace))
    known = engine.search_attributes.of(request.namespace)
    new = {name: kind for name, kind in types.items() if name not in known}
    await engine.journal.durable(engine.search_attributes.add(request.namespace, new))
    return AddSearchAttributesResponse()


async def remove_search_attributes(
    engine: Engine, request: RemoveSearchAttributesRequest, metadata: Mapping[str, str]
) -> RemoveSearchAttributesResponse:
    """Forgets names; what runs have under them stays, out of reach until the name is registered again."""
    if not request.search_attributes:
        raise invalid("SearchAttributes are not set on request.")
    engine.namespaces.check(_namespace(request.namespace))
    for name in request.search_attributes:
        if is_built_in(name):
            raise invalid(f"Unable to remove non-custom search attributes: {name}.")
    known = engine.search_attributes.of(request.namespace)
    gone = [name for name in request.search_attributes if name in known]
    await engine.journal.durable(engine.search_attributes.remove(request.namespace, gone))
    return RemoveSearchAttributesResponse()


async def list_search_attributes(
    engine: Engine, request: ListSearchAttributesRequest, metadata: Mapping[str, str]
) -> ListSearchAttributesResponse:
    engine.namespaces.check(_namespace(request.namespace))
    return ListSearchAttributesResponse(
        custom_attributes=_numbers(engine.search_attributes.of(request.namespace)),
        system_attributes=_numbers({**SYSTEM, **PREDEFINED}),
    )


async def get_search_attributes(
    engine: Engine, request: GetSearchAttributesRequest, metadata: Mapping[str, str]
) -> GetSearchAttributesResponse:
    """All names of the namespace that has always been there; this old form knows no other."""
    custom = engine.search_attributes.of(DEFAULT_NAMESPACE)
    return GetSearchAttributesResponse(keys=_numbers({**custom, **SYSTEM, **PREDEFINED}))


def _namespace(namespace: str) -> str:
    if not namespace:
        raise invalid("Namespace is not set on request.")
    return namespace


def _numbers(types: Mapping[str, str]) -> dict[str, IndexedValueType.ValueType]:
    return {name: IndexedValueType.ValueType(TYPES[kind]) for name, kind in types.items()}


HANDLERS: Handlers = {
    "AddSearchAttributes": add_search_attributes,
    "RemoveSearchAttributes": remove_search_attributes,
    "ListSearchAttributes": list_search_attributes,
    "GetSearchAttributes": get_search_attributes,
}

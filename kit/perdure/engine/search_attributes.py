"""Search attributes: which names there are, of which types, and what may be written under them. TEMPORAL.md, sections 9 and 16.

Names are of three kinds. *System* names are the columns of every run; nobody sets them. *Predefined* ones lie beside the custom
ones, and are written by the server or by SDKs; some of them nobody else may set. *Custom* ones are registered in a namespace, with
a type that stays; a namespace keeps each as a document of kind `KIND`, whose id is the name and whose body is the type.

A value is stored with its type in the payload's metadata, since SDKs and tools decode it by that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import IndexedValueType

from perdure.engine.errors import invalid
from perdure.engine.limits import Limits

KIND: Final = "search-attribute"

_KEYWORDS = (
    "WorkflowId",
    "RunId",
    "WorkflowType",
    "ExecutionStatus",
    "TaskQueue",
    "ParentWorkflowId",
    "ParentRunId",
    "RootWorkflowId",
    "RootRunId",
)
SYSTEM: Final[Mapping[str, str]] = {
    **dict.fromkeys(_KEYWORDS, "Keyword"),
    **dict.fromkeys(("StartTime", "ExecutionTime", "CloseTime"), "Datetime"),
    **dict.fromkeys(
        ("HistoryLength", "ExecutionDuration", "StateTransitionCount", "HistorySizeBytes"), "Int"
    ),
}
SETTABLE: Final[Mapping[str, str]] = {
    "TemporalChangeVersion": "KeywordList",
    "BinaryChecksums": "KeywordList",
    "BuildIds": "KeywordList",
    "BatcherNamespace": "Keyword",
    "BatcherUser": "Keyword",
    "TemporalScheduledStartTime": "Datetime",
    "TemporalScheduledById": "Keyword",
    "TemporalSchedulePaused": "Bool",
    "TemporalNamespaceDivision": "Keyword",
    "TemporalPauseInfo": "KeywordList",
    "TemporalReportedProblems": "KeywordList",
}
PREDEFINED: Final[Mapping[str, str]] = {
    **SETTABLE,
    "TemporalWorkerDeploymentVersion": "Keyword",
    "TemporalWorkflowVersioningBehavior": "Keyword",
    "TemporalWorkerDeployment": "Keyword",
    "TemporalUsedWorkerDeploymentVersions": "KeywordList",
    "TemporalExternalPayloadCount": "Int",
    "TemporalExternalPayloadSizeBytes": "Int",
}
_RESERVED = frozenset(("NamespaceId", "MemoEncoding", "Memo", "VisibilityTaskKey"))
_PREFIX = "Temporal"

TYPES: Final[Mapping[str, int]] = {  # a type's name in payloads and in texts -> its number
    "".join(word.capitalize() for word in name.removeprefix("INDEXED_VALUE_TYPE_").split("_")): number
    for name, number in IndexedValueType.items()
    if number
}
NAMES: Final[Mapping[int, str]] = {number: name for name, number in TYPES.items()}

_JSON = (b"json/plain", b"json/protobuf")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")


# --- the registry


def check_new(name: str, number: int) -> str:
    """The type's name of an attribute that may be registered. Raises INVALID_ARGUMENT."""
    if name in SYSTEM or name in PREDEFINED or name in _RESERVED or name.startswith(_PREFIX):
        raise invalid(f"Search attribute {name} is reserved by system.")
    if number not in NAMES:
        raise invalid(
            "Unable to create search attributes: cannot have more than 0 search attribute of type Unspecified."
        )
    return NAMES[number]


def is_built_in(name: str) -> bool:
    return name in SYSTEM or name in PREDEFINED


# --- values


def check(attributes: SearchAttributes, custom: Mapping[str, str], limits: Limits, namespace: str) -> None:
    """Raises INVALID_ARGUMENT for what may not be written, with the server's text."""
    check_names(attributes, custom, namespace)
    check_values(attributes, custom, limits)
    check_size(attributes, limits)


def check_names(attributes: SearchAttributes, custom: Mapping[str, str], namespace: str) -> None:
    """Raises INVALID_ARGUMENT for a name that is not registered."""
    for name in attributes.indexed_fields:
        if name not in custom and not is_built_in(name):
            raise invalid(f"Namespace {namespace} has no mapping defined for search attribute {name}")


def check_values(attributes: SearchAttributes, custom: Mapping[str, str], limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for too many, for those that nobody may set, and for values of another type."""
    fields = attributes.indexed_fields
    if len(fields) > limits.search_attributes:
        raise invalid(f"number of search attributes {len(fields)} exceeds limit {limits.search_attributes}")
    for name, value in fields.items():
        if name in SYSTEM or (name in PREDEFINED and name not in SETTABLE and name not in custom):
            raise invalid(f"{name} attribute can't be set in SearchAttributes")
        kind = type_of(name, custom)
        if not _fits(value, kind):
            raise invalid(f"invalid value for search attribute {name} of type {kind}: {_shown(value)}")


def check_size(attributes: SearchAttributes, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for a value, or a sum of values, that is too large."""
    for name, value in attributes.indexed_fields.items():
        if len(value.data) > limits.search_attribute_value:
            raise invalid(
                f"search attribute {name} value size {len(value.data)} exceeds size limit {limits.search_attribute_value}"
            )
    if (size := attributes.ByteSize()) > limits.search_attributes_total:
        raise invalid(
            f"total size of search attributes {size} exceeds size limit {limits.search_attributes_total}"
        )


def type_of(name: str, custom: Mapping[str, str]) -> str:
    return custom.get(name) or PREDEFINED[name]


def typed(attributes: SearchAttributes, custom: Mapping[str, str]) -> SearchAttributes:
    """Checked attributes as they are stored: each value with its type, unless it says one itself."""
    stored = SearchAttributes()
    for name, value in attributes.indexed_fields.items():
        stored.indexed_fields[name].CopyFrom(value)
        if not value.metadata.get("type"):
            stored.indexed_fields[name].metadata["type"] = type_of(name, custom).encode()
    return stored


def without_removed(attributes: SearchAttributes) -> SearchAttributes:
    """The attributes without those whose value is null or an empty list, which is how one is removed."""
    return SearchAttributes(
        indexed_fields={
            name: value for name, value in attributes.indexed_fields.items() if not is_removal(value)
        }
    )


def merged(before: SearchAttributes, upserted: SearchAttributes) -> SearchAttributes:
    """What a run has after an upsert, as its size is counted: removals still stand in it."""
    return SearchAttributes(indexed_fields={**before.indexed_fields, **upserted.indexed_fields})


def is_removal(value: Payload) -> bool:
    if value.metadata.get("encoding") == b"binary/null":
        return True
    return value.metadata.get("encoding") in _JSON and value.data.strip() in (b"null", b"[]", b"")


def declared_type(value: Payload) -> str:
    """The type that a typed key wrote beside its value; "" if there is none that we know."""
    name = value.metadata.get("type", b"").decode("utf-8", "replace")
    return name if name in TYPES else ""


def _fits(value: Payload, kind: str) -> bool:
    """Whether the payload holds a value of the type, null, or (but for lists) a list of exactly one."""
    if value.metadata.get("encoding") == b"binary/null":
        return True
    if value.metadata.get("encoding") not in _JSON:
        return False
    try:
        found = json.loads(value.data)
    except ValueError:
        return False
    if found is None or found == []:
        return True
    if kind == "KeywordList":
        return isinstance(found, list) and all(item is None or isinstance(item, str) for item in found)
    if isinstance(found, list):
        return len(found) == 1 and (found[0] is None or _is(found[0], kind))
    return _is(found, kind)


def _is(found: object, kind: str) -> bool:
    match kind:
        case "Keyword" | "Text":
            return isinstance(found, str)
        case "Bool":
            return isinstance(found, bool)
        case "Int":
            return isinstance(found, int) and not isinstance(found, bool) and -(1 << 63) <= found < 1 << 63
        case "Double":
            return isinstance(found, int | float) and not isinstance(found, bool)
        case _:
            return isinstance(found, str) and _is_time(found)


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def _shown(value: Payload) -> str:
    """A value as the server's texts show it."""
    if value.metadata.get("encoding") not in _JSON:
        return f"value from <{value!r}>".replace("\n", " ").replace(" >", ">")
    try:
        return _plain(json.loads(value.data))
    except ValueError:
        return f"value from <{value!r}>".replace("\n", " ").replace(" >", ">")


def _plain(found: object) -> str:
    match found:
        case None:
            return "<nil>"
        case bool():
            return str(found).lower()
        case list():
            return "[" + " ".join(_plain(item) for item in found) + "]"
        case int():
            return str(found) if abs(found) < 10**21 else f"{float(found):g}"
        case _:
            return str(found)

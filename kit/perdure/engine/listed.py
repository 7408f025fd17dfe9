"""What lists and descriptions show of a run beyond what its history set: search attributes that the engine keeps. Pure."""

from __future__ import annotations

import json

from temporalio.api.common.v1 import Payload, SearchAttributes

from perdure.engine.state import Execution


def search_attributes(ex: Execution) -> SearchAttributes:
    """The run's own search attributes, and those that tell of its versions."""
    shown = SearchAttributes()
    shown.CopyFrom(ex.search_attributes)
    for name, value in ex.versioning.attributes().items():
        shown.indexed_fields[name].CopyFrom(_payload(value))
    return shown


def _payload(value: str | list[str]) -> Payload:
    kind = b"Keyword" if isinstance(value, str) else b"KeywordList"
    data = json.dumps(value, separators=(",", ":")).encode()
    return Payload(metadata={"encoding": b"json/plain", "type": kind}, data=data)

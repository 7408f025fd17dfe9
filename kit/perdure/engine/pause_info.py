"""TemporalPauseInfo: the search attribute by which lists find paused runs, and runs with paused activities."""

from __future__ import annotations

import json

from temporalio.api.common.v1 import Payload

from perdure.engine.state import Execution

NAME = "TemporalPauseInfo"
_OF_WORKFLOW = ("Workflow:", "Reason:")


def show(ex: Execution) -> None:
    """Sets or takes away what says that the run as a whole is paused; what is said of its activities stays."""
    fields = ex.search_attributes.indexed_fields
    before: list[str] = json.loads(fields[NAME].data) if NAME in fields else []
    entries = []
    if ex.paused is not None:
        entries.append(f"Workflow:{ex.workflow_id}")
        if ex.paused.reason:
            entries.append(f"Reason:{ex.paused.reason}")
    entries += [entry for entry in before if not entry.startswith(_OF_WORKFLOW)]
    if not entries:
        fields.pop(NAME, None)
        return
    data = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    fields[NAME].CopyFrom(Payload(metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=data))

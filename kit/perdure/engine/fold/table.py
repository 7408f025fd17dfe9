"""What the parts of the fold share: a function for each event type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.state import Execution

Apply: TypeAlias = Callable[[Execution, HistoryEvent], None]


class Table(dict[int, Apply]):
    """Event type -> what it changes."""

    def on(self, kind: EventType.ValueType) -> Callable[[Apply], Apply]:
        """Decorates the function of an event type."""

        def register(change: Apply) -> Apply:
            self[kind] = change
            return change

        return register

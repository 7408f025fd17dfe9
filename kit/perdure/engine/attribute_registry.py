"""The search attributes of each namespace, as they are registered. See `search_attributes` for the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import CommandType

from perdure.engine.kept import Documents
from perdure.engine.search_attributes import KIND, declared_type, is_built_in


class AttributeRegistry:
    """Types of custom search attributes by namespace and name, over the kept documents."""

    def __init__(self, kept: Documents) -> None:
        self._kept = kept
        self._types: dict[str, dict[str, str]] = {}

    def of(self, namespace: str) -> Mapping[str, str]:
        """The types of a namespace's custom search attributes, by name."""
        known = self._types.get(namespace)
        if known is None:
            bodies = self._kept.of(KIND, namespace)
            known = self._types[namespace] = {name: body.decode() for name, body in bodies.items()}
        return known

    def add(self, namespace: str, types: Mapping[str, str]) -> int:
        """Registers attributes; returns the ticket of the commit."""
        self._types.pop(namespace, None)
        return max(
            (self._kept.put(KIND, namespace, name, kind.encode()) for name, kind in types.items()), default=0
        )

    def remove(self, namespace: str, names: Iterable[str]) -> int:
        self._types.pop(namespace, None)
        return max((self._kept.drop(KIND, namespace, name) for name in names), default=0)

    def forget(self, namespace: str) -> None:
        """The namespace is deleted."""
        self._types.pop(namespace, None)

    def learn(self, namespace: str, commands: Iterable[Command]) -> None:
        """Registers what typed keys name for the first time, with the type that they have.

        For code in notebooks, where the key in a cell is all the declaration there is: the next cell's filter can name it.
        """
        new = {
            name: declared_type(value)
            for command in commands
            for name, value in _written(command).indexed_fields.items()
            if declared_type(value) and not is_built_in(name) and name not in self.of(namespace)
        }
        if new:
            self.add(namespace, new)


def _written(command: Command) -> SearchAttributes:
    match command.command_type:
        case CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            return command.upsert_workflow_search_attributes_command_attributes.search_attributes
        case CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
            return command.start_child_workflow_execution_command_attributes.search_attributes
        case CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
            return command.continue_as_new_workflow_execution_command_attributes.search_attributes
    return SearchAttributes()

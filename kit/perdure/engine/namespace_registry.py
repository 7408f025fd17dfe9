"""The namespaces of a file: which there are, and which may be used. See `namespaces` for the rules.

A namespace is a kept document of kind `KIND`, its name the id, its body a DescribeNamespaceResponse without what is the same for all
of them.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceResponse,
)

from perdure.engine.kept import Documents
from perdure.engine.namespaces import DEFAULT_NAMESPACE, default, no_namespace, wrong_state

KIND: Final = "namespace"
_LEAVING: Final = "deletion of a namespace"


class Namespaces:
    """The namespaces of the file, over the kept documents."""

    def __init__(self, kept: Documents) -> None:
        self._kept = kept
        self._known: dict[str, DescribeNamespaceResponse] = {}

    def find(self, name: str) -> DescribeNamespaceResponse | None:
        if found := self._known.get(name):
            return found
        body = self._kept.get(KIND, "", name)
        if body is None and name != DEFAULT_NAMESPACE:
            return None
        found = default() if body is None else DescribeNamespaceResponse.FromString(body)
        self._known[name] = found
        return found

    def id_of(self, name: str) -> str:
        """The id of a namespace; "" if there is none of this name."""
        found = self.find(name)
        return found.namespace_info.id if found is not None else ""

    def find_id(self, id: str) -> DescribeNamespaceResponse | None:
        return next((each for each in self.all() if each.namespace_info.id == id), None)

    def all(self) -> list[DescribeNamespaceResponse]:
        """All of them, oldest first."""
        names = dict.fromkeys((DEFAULT_NAMESPACE, *self._kept.of(KIND, "")))
        return [found for name in names if (found := self.find(name)) is not None]

    def check(self, name: str, *, starting: bool = False) -> None:
        """Raises NOT_FOUND for a namespace that is not there, FAILED_PRECONDITION for a start in one that is deprecated."""
        if name == DEFAULT_NAMESPACE and name in self._known and not starting:
            return
        found = self.find(name)
        if found is None:
            raise no_namespace(name)
        state = found.namespace_info.state
        if starting and state != NamespaceState.NAMESPACE_STATE_REGISTERED:
            raise wrong_state(name, state)

    def put(self, found: DescribeNamespaceResponse) -> int:
        """Keeps a namespace; returns the ticket of the commit."""
        name = found.namespace_info.name
        self._known[name] = found
        return self._kept.put(KIND, "", name, found.SerializeToString())

    def leave(self, name: str) -> int:
        """The namespace is gone from now on; what is in it is still to be deleted. Returns the ticket of the commit."""
        self._known.pop(name, None)
        record = self._kept.record
        return self._kept.append([record(KIND, "", name, None), record(_LEAVING, "", name, name.encode())])

    def leaving(self) -> list[str]:
        """Those whose deletion has not come to its end."""
        return list(self._kept.of(_LEAVING, ""))

    def left(self, name: str) -> int:
        """Nothing of the namespace is left but its documents, which go now; returns the ticket of the commit."""
        return self._kept.append([*self._kept.gone(name), self._kept.record(_LEAVING, "", name, None)])

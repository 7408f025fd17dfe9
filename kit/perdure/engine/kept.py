"""Documents of the engine that are not runs, in memory as they are in the file: namespaces, schedules, deployments and so on.

The journal's last record of a (kind, namespace, id) is the document; it is read once, at the start. What the body holds is the
business of the module that owns the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.engine.journal import Journal
from perdure.engine.records import Kept


class Documents:
    """All documents, by kind and namespace. Lives on the engine's loop; no locks."""

    def __init__(self, journal: Journal, now: Callable[[], int]) -> None:
        self._journal = journal
        self._now = now
        self._bodies: dict[tuple[str, str], dict[str, bytes]] = {}

    def load(self) -> None:
        """Takes over what the file holds."""
        for kept in self._journal.kept():
            if kept.body is not None:
                self._bodies.setdefault((kept.kind, kept.namespace), {})[kept.id] = kept.body

    def get(self, kind: str, namespace: str, id: str) -> bytes | None:
        return self._bodies.get((kind, namespace), {}).get(id)

    def of(self, kind: str, namespace: str) -> dict[str, bytes]:
        """The documents of a kind in a namespace, by id, oldest first."""
        return dict(self._bodies.get((kind, namespace), {}))

    def namespaces(self, kind: str) -> list[str]:
        """The namespaces that hold documents of a kind."""
        return [
            namespace for (of_kind, namespace), bodies in self._bodies.items() if of_kind == kind and bodies
        ]

    def record(self, kind: str, namespace: str, id: str, body: bytes | None) -> Kept:
        """Takes a document over, or away, and gives the record of it, for whoever appends it together with others."""
        bodies = self._bodies.setdefault((kind, namespace), {})
        if body is None:
            bodies.pop(id, None)
        else:
            bodies[id] = body
        return Kept(kind, namespace, id, self._now(), body)

    def append(self, records: Sequence[Kept]) -> int:
        """Keeps what `record` gave, in one transaction; returns its ticket."""
        return self._journal.append(records)

    def put(self, kind: str, namespace: str, id: str, body: bytes) -> int:
        """Keeps a document in place of an older one; returns the ticket of its commit."""
        self._bodies.setdefault((kind, namespace), {})[id] = body
        return self._journal.append([Kept(kind, namespace, id, self._now(), body)])

    def drop(self, kind: str, namespace: str, id: str) -> int:
        """Takes a document away; returns the ticket of its commit."""
        self._bodies.get((kind, namespace), {}).pop(id, None)
        return self._journal.append([Kept(kind, namespace, id, self._now(), None)])

    def gone(self, namespace: str) -> list[Kept]:
        """Takes all documents of a namespace away; gives the records of that."""
        gone = [(kind, id) for (kind, of), bodies in self._bodies.items() if of == namespace for id in bodies]
        return [self.record(kind, namespace, id, None) for kind, id in gone]

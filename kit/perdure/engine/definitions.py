"""The definition versions that the file keeps, as the engine knows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from perdure.engine.records import Definition


class Definitions:
    """Versions by (kind, name), oldest first. The newest one is current: new runs are pinned to it."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], dict[str, Definition]] = {}

    def load(self, definitions: Iterable[Definition]) -> None:
        for definition in definitions:
            versions = self._versions.setdefault((definition.kind, definition.name), {})
            versions.pop(definition.version, None)  # declared again: it becomes the newest
            versions[definition.version] = definition

    def add(self, definitions: Iterable[Definition], now: int) -> list[Definition]:
        """Takes in versions; returns those that must be recorded: unknown ones, and known ones defined anew since.

        A process also declares old versions that it only runs; `defined_time` tells them from a cell that was run again.
        """
        changed = []
        for definition in definitions:
            versions = self._versions.get((definition.kind, definition.name), {})
            if definition.version in versions:
                current = next(reversed(versions.values()))
                if current.version == definition.version or definition.defined_time <= current.defined_time:
                    continue
            changed.append(replace(definition, defined_time=definition.defined_time or now))
        self.load(changed)
        return changed

    def current_version(self, kind: str, name: str) -> str:
        """The newest version; "" when there is none."""
        versions = self._versions.get((kind, name))
        return next(reversed(versions)) if versions else ""

    def find(self, kind: str, name: str, version: str) -> Definition | None:
        """That version; the current one when `version` is "" ."""
        versions = self._versions.get((kind, name), {})
        if version in versions:
            return versions[version]
        return next(reversed(versions.values())) if versions and not version else None

    def all(self) -> list[Definition]:
        return [definition for versions in self._versions.values() for definition in versions.values()]

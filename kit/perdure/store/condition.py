"""What a list filter becomes: SQL after WHERE, its parameters and its order; and the condition on the rows behind a place.

A page goes on behind the sort keys of the last row of the page before, whatever has come or gone meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from perdure.engine.journal import InvalidTokenError, Place
from perdure.store.columns import Value

if TYPE_CHECKING:
    pass


class Key(NamedTuple):
    """One sort key. `nullable` ones have rows without a value, which come last."""

    sql: str
    descending: bool = False
    parameters: tuple[Value, ...] = ()
    nullable: bool = False


_NEVER = (1 << 63) - 1


DEFAULT_ORDER: tuple[Key, ...] = (
    Key(f"coalesce(close_time_ns, {_NEVER})", descending=True),
    Key("start_time_ns", descending=True),
    Key("run_id"),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What stands after WHERE, with its `?` parameters; what to count by ("" for nothing); the order."""

    sql: str
    parameters: tuple[Value, ...] = ()
    group: str = ""
    order: tuple[Key, ...] = DEFAULT_ORDER

    def after(self, place: Place) -> Condition:
        """The condition on the rows behind a place of this order. Raises InvalidTokenError."""
        if len(place) != len(self.order):
            raise InvalidTokenError
        terms, parameters = [], list(self.parameters)
        for at, (key, value) in enumerate(zip(self.order, place, strict=True)):
            behind, behind_values = _behind(key, value)
            if not behind:
                continue
            same = [f"{other.sql} IS NOT DISTINCT FROM ?" for other in self.order[:at]]
            terms.append(" AND ".join([*same, behind]))
            for other, other_value in zip(self.order[:at], place[:at], strict=True):
                parameters += [*other.parameters, other_value]  # type: ignore[list-item]
            parameters += behind_values
        sql = f"({self.sql}) AND ({' OR '.join(terms) or 'FALSE'})"
        return Condition(sql, tuple(parameters), self.group, self.order)


def _behind(key: Key, value: Value | None) -> tuple[str, list[Value]]:
    """SQL for: this key comes later than the value. "" where nothing does."""
    if value is None:
        return "", []
    sql = f"{key.sql} {'<' if key.descending else '>'} ?"
    if not key.nullable:
        return sql, [*key.parameters, value]
    return f"({sql} OR {key.sql} IS NULL)", [*key.parameters, value, *key.parameters]

"""Which rows of a long run are drawn, and which are folded into "… 940 more rows: 940 completed".

Rows that failed are always drawn. Then, while there is room: the workflow's own row and what is open, what was retried, and
the first and the last of the rest. Every stretch of rows between two drawn ones is one fold, at its place in the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from perdure.view.parts import Row, State
from perdure.view.words import count


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows that are drawn as one. `end` is None when one of them is open."""

    rows: tuple[Row, ...]

    @property
    def start(self) -> int:
        return min(row.start for row in self.rows)

    @property
    def end(self) -> int | None:
        ends = [row.end for row in self.rows]
        return None if None in ends else max(end for end in ends if end is not None)

    @property
    def states(self) -> Counter[State]:
        return Counter(row.state for row in self.rows)

    @property
    def state(self) -> State:
        """The state of most of them."""
        return self.states.most_common(1)[0][0]

    @property
    def counts(self) -> str:
        """930 completed, 10 running"""
        return ", ".join(f"{number:,} {state}" for state, number in self.states.most_common())

    @property
    def words(self) -> str:
        return f"… {count(len(self.rows), 'more row')}: {self.counts}"


def fold(rows: Sequence[Row], limit: int) -> list[Row | Fold]:
    """The rows to draw, in order, with folds for the others. Failed rows are drawn even beyond `limit`."""
    if len(rows) <= limit:
        return list(rows)
    drawn = {index for index, row in enumerate(rows) if row.state.failed}
    drawn.add(0)
    room = max(limit - len(drawn), 2)
    rest = [index for index in range(len(rows)) if index not in drawn]
    wanted = sorted(rest, key=lambda index: (_rank(rows[index]), min(index, len(rows) - index)))
    drawn.update(wanted[:room])
    items: list[Row | Fold] = []
    folded: list[Row] = []
    for index, row in enumerate(rows):
        if index not in drawn:
            folded.append(row)
            continue
        if folded:
            items.append(folded[0] if len(folded) == 1 else Fold(tuple(folded)))
            folded = []
        items.append(row)
    if folded:
        items.append(folded[0] if len(folded) == 1 else Fold(tuple(folded)))
    return items


def _rank(row: Row) -> int:
    if row.state is State.RETRYING:
        return 0
    if row.state.open:
        return 1
    return 2 if row.tries > 1 else 3

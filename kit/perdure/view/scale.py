"""The time axis: where an instant is drawn, which instants get a label, and which idle stretches are cut short.

Positions are fractions of the axis, 0 on the left to 1 on the right, so that one drawing fits any width.

**Cutting.** Between two neighbouring instants at which something begins or ends lies a gap. Gaps in which code ran are drawn to
scale, always. The others (a timer, a back-off, waiting for a signal, a kernel that was away) are looked at from the shortest to the
longest: the first that is longer than `RATIO` times all that is drawn up to then, and longer than `FLOOR`, is cut, and so
is every longer one. Back-offs that double stay in proportion, because each is about as long as all before it; a timer of 30 days
beside two seconds of work is cut. A cut stretch is drawn as a break of fixed width; labels after it count from the break.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from perdure.view.words import DAY, HOUR, MILLISECOND, MINUTE, SECOND, duration, rough

RATIO = 8
FLOOR = 10 * SECOND
BREAK = 0.07  # of the width, for one break
BREAKS = 0.3  # of the width, for all breaks together at most
LABEL = 0.011  # of a 560 px wide axis: what one character of a label takes

STEPS: tuple[int, ...] = (
    *(n * 10**power for power in range(6, 9) for n in (1, 2, 5)),
    *(n * SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * 10**power * DAY for power in range(5) for n in (1, 2, 5)),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time with one scale: `start` to `end` (ns) is drawn from `left` to `right`; or is a break."""

    start: int
    end: int
    left: float
    right: float
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str
    cut: bool = False  # the middle of a break; the label tells how long it is


@dataclass(frozen=True, slots=True)
class Axis:
    pieces: tuple[Piece, ...]
    ticks: tuple[Tick, ...]

    def position(self, time: int) -> float:
        """Where an instant is drawn. What lies outside is drawn at the edge."""
        pieces = self.pieces
        index = max(bisect_right(pieces, time, key=lambda piece: piece.start) - 1, 0)
        piece = pieces[index]
        if time >= piece.end:
            return piece.right
        if time <= piece.start:
            return piece.left
        return piece.left + (time - piece.start) / (piece.end - piece.start) * (piece.right - piece.left)

    @property
    def breaks(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.cut]


def axis(start: int, end: int, edges: Iterable[int] = (), work: Iterable[tuple[int, int]] = ()) -> Axis:
    """The axis of a run from `start` to `end`, cut where nothing happens for long; see the module's text for the rule."""
    end = max(end, start + MILLISECOND)
    instants = sorted({start, end, *(time for time in edges if start < time < end)})
    gaps = list(pairwise(instants))
    cuts = _cuts(gaps, _idle(gaps, sorted(work)))
    pieces = _pieces(gaps, cuts)
    return Axis(pieces, _ticks(pieces))


def _idle(gaps: list[tuple[int, int]], work: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The gaps in which no code ran. Both lists are sorted; an end of work is an edge of a gap or lies inside none that counts."""
    idle = []
    index, busy_until = 0, -1
    for left, right in gaps:
        while index < len(work) and work[index][0] < right:
            busy_until = max(busy_until, work[index][1])
            index += 1
        if busy_until <= left:
            idle.append((left, right))
    return idle


def _cuts(gaps: list[tuple[int, int]], idle: list[tuple[int, int]]) -> set[int]:
    """The starts of the gaps that are cut."""
    ascending = sorted(idle, key=lambda gap: gap[1] - gap[0])
    drawn = sum(right - left for left, right in gaps) - sum(right - left for left, right in idle)
    for index, (left, right) in enumerate(ascending):
        if right - left > max(FLOOR, RATIO * drawn):
            return {gap[0] for gap in ascending[index:]}
        drawn += right - left
    return set()


def _pieces(gaps: list[tuple[int, int]], cuts: set[int]) -> tuple[Piece, ...]:
    drawn = sum(right - left for left, right in gaps if left not in cuts)
    cut_width = min(BREAK, BREAKS / len(cuts)) if cuts else 0.0
    if not drawn:  # nothing but waiting
        cut_width = 1 / len(cuts)
    scale = (1 - cut_width * len(cuts)) / max(drawn, 1)
    pieces: list[Piece] = []
    at = 0.0
    for left, right in gaps:
        cut = left in cuts
        width = cut_width if cut else (right - left) * scale
        if pieces and not cut and not pieces[-1].cut:  # neighbours of one scale are one piece
            pieces[-1] = Piece(pieces[-1].start, right, pieces[-1].left, at + width)
        else:
            pieces.append(Piece(left, right, at, at + width, cut))
        at += width
    return tuple(pieces)


def _ticks(pieces: tuple[Piece, ...]) -> tuple[Tick, ...]:
    """Round times, labelled by the time since the run's start, after a break by the time since the break's end.

    A break is labelled in its middle with what it leaves out.
    """
    origin = pieces[0].start
    drawn = [piece for piece in pieces if not piece.cut]
    width = sum(piece.right - piece.left for piece in drawn)
    span = sum(piece.end - piece.start for piece in drawn)
    ticks: list[Tick] = []
    step = _step(span / max(width, 0.01))
    taken: list[tuple[float, float]] = []  # the stretches of the axis that have a label
    for piece in pieces:
        if piece.cut and piece.right - piece.left > BREAK / 3:
            label = rough(piece.end - piece.start)
            _place(ticks, taken, Tick((piece.left + piece.right) / 2, label, cut=True))
    for piece in drawn:
        after = piece.start != origin
        number = (piece.end - piece.start) // step + 1
        for time in range(step if after else 0, step * min(number, 100), step):
            at = piece.left + time / (piece.end - piece.start) * (piece.right - piece.left)
            _place(ticks, taken, Tick(at, ("+" if after else "") + (duration(time) if time else "0")))
    return tuple(sorted(ticks, key=lambda tick: tick.at))


def _place(ticks: list[Tick], taken: list[tuple[float, float]], tick: Tick) -> None:
    """Adds a tick, unless its label would touch another."""
    half = LABEL * (len(tick.label) + 2) / 2
    left, right = tick.at - half, tick.at + half
    if all(right <= other_left or left >= other_right for other_left, other_right in taken):
        taken.append((left, right))
        ticks.append(tick)


def _step(span: float) -> int:
    """The smallest round step that gives an axis over `span` at most eight labels."""
    return next((step for step in STEPS if span / step <= 8.5), STEPS[-1])

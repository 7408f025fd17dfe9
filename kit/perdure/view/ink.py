"""The pen that writes SVG: text, bars and icons with their colours, escaped; and what fits where.

A `Pen` knows the width of the drawing, or that it is fluid. A fluid drawing is made for three container widths at once: what would
not fit the narrower ones gets a class that hides it there (`tier`).
"""

from __future__ import annotations

import unicodedata
from html import escape

from perdure.view.parts import State
from perdure.view.theme import (
    MIDDLE,
    NAME,
    NAME_SHARE,
    NARROW,
    NARROW_NAME,
    NARROW_RIGHT,
    PALETTE,
    PLOT_SHARE,
    RIGHT,
)
from perdure.view.words import isolate, shorten, shorten_middle

INDENT = 28  # where names begin, after the icon
PHONE = 380  # the narrowest container that the fluid form is made for
_SLIM = frozenset("iljtfrI.,:;'|!()[]{}/ -·")
_DASHES = ("", "7 3", "2.5 2.5", "9 2 2 2")  # of the lines that tell processes apart
_DIAMOND = "M0-5.5L5.5 0L0 5.5L-5.5 0z"
_ICONS = {  # strokes on a 12 px field around 0,0
    State.COMPLETED: "M-4.5 .5l3 3.2l6-7",
    State.FAILED: "M-4-4l8 8M4-4l-8 8",
    State.TIMED_OUT: "M0-5a5 5 0 1 0 .01 0M0-2.5v2.8l2 1.4",
    State.LOST: "M1-5.5l-4 6h5.5l-4 5.5",
    State.RUNNING: "M-3-4.5l7 4.5l-7 4.5z",
    State.RETRYING: "M4.6 1.2a4.8 4.8 0 1 1-1.2-4.4l1.6 1.4M5.2-5.2v3.6h-3.6",
    State.WAITING: "M-5 0h.01M0 0h.01M5 0h.01",
    State.PAUSED: "M-2.5-4v8M2.5-4v8",
    State.CANCELED: "M0-5a5 5 0 1 0 .01 0M-3.4 3.4l6.8-6.8",
    State.TERMINATED: "M-4-4h8v8h-8z",
    State.CONTINUED_AS_NEW: "M-5 0h9.5M1-4l4 4l-4 4",
    State.ABANDONED: "M-4 0h8",
}


def measure(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text will be, in px: fonts differ, so it is meant to be a little too wide."""
    em = 0.0
    for char in text:
        if char in _SLIM:
            em += 0.36
        elif char in "mwMW—@%…<>+=~�":
            em += 0.88
        elif ord(char) < 0x250:
            em += 0.68 if char.isupper() else 0.6
        elif unicodedata.combining(char):
            continue
        else:
            em += 1.02 if unicodedata.east_asian_width(char) in "WF" else 0.62
    return em * size * (1.12 if bold else 1)


def _variants(said: list[str]) -> str:
    """The same element for a narrow, a middling and a wide container; the style sheet shows one. One of it when all are alike."""
    if len(set(said)) == 1:
        return said[0]
    slim, middle, wide = said
    if middle == wide:
        return _only(slim, "pd-n1", hidden=True) + _only(middle, "pd-w1")
    if slim == middle:
        return _only(slim, "pd-m2") + _only(wide, "pd-w3", hidden=True)
    return _only(slim, "pd-n1", hidden=True) + _only(middle, "pd-m1") + _only(wide, "pd-w3", hidden=True)


def _only(text: str, name: str, *, hidden: bool = False) -> str:
    """`text` for some containers only. `hidden`: until the style sheet says otherwise."""
    more = ' display="none"' if hidden else ""
    if text.startswith('<text class="'):
        return text.replace('<text class="', f'<text{more} class="{name} ', 1)
    return text.replace("<text ", f'<text{more} class="{name}" ', 1)


class Pen:
    """Writes SVG elements for a drawing of `width` px, or a fluid one."""

    def __init__(self, width: int | None) -> None:
        self.fluid = width is None
        self.width = width if width is not None else MIDDLE
        self.narrow = width is not None and width < NARROW
        self.name_width = NARROW_NAME if self.narrow else NAME
        self.right_width = NARROW_RIGHT if self.narrow else RIGHT
        self.text_width = (NARROW if self.fluid else self.width) - 24
        self.plot_width = self.width - self.name_width - self.right_width
        self.narrow_plot = PHONE * PLOT_SHARE if self.fluid else self.plot_width

    # --- what fits

    def tier(self, need: float, share: float) -> str | None:
        """The class for a detail of `need` px inside `share` of the plot: "" when it always fits, None when it never does."""
        if need <= share * self.narrow_plot:
            return ""
        if not self.fluid:
            return None
        if need <= share * NARROW * PLOT_SHARE:
            return "pd-w1"
        return "pd-w2" if need <= share * MIDDLE * PLOT_SHARE else None

    def cut(self, text: str, width: float, size: float, *, middle: bool = False, bold: bool = False) -> str:
        """`text`, shortened to about `width` px."""
        limit = len(text)
        while limit > 1 and measure(text, size, bold=bold) > width:
            limit = min(limit - 1, max(1, int(len(text) * width / measure(text, size, bold=bold))))
            text = shorten_middle(text, limit) if middle else shorten(text, limit)
        return text if width > size / 2 else ""

    def wrap(self, text: str, size: float, lines: int) -> list[str]:
        """`text` in lines of the drawing's width, at most `lines`."""
        rows = [""]
        for word in text.split():
            longer = f"{rows[-1]} {word}".strip()
            if measure(longer, size, bold=True) <= self.text_width or not rows[-1]:
                rows[-1] = longer
            elif len(rows) == lines:
                rows[-1] = longer
                break
            else:
                rows.append(word)
        return [self.cut(row, self.text_width, size, bold=True) for row in rows if row]

    # --- colours, escapes

    def colour(self, tone: str) -> str:
        return PALETTE[tone].light

    def paint(self, tone: str, tier: str = "") -> str:
        names = f"pd-{tone} {tier}".strip()
        return f'class="{names}" fill="{PALETTE[tone].light}"'

    def stroke(self, tone: str, tier: str = "") -> str:
        names = f"pd-s-{tone} {tier}".strip()
        return f'class="{names}" stroke="{PALETTE[tone].light}"'

    @staticmethod
    def escape(text: str) -> str:
        return escape(text, quote=False)

    @staticmethod
    def attribute(text: str) -> str:
        return escape(text, quote=True).replace("\n", "&#10;")

    @staticmethod
    def percent(at: float) -> str:
        return f"{at * 100:.2f}".rstrip("0").rstrip(".") + "%"

    # --- elements

    def text(
        self,
        said: str,
        x: float | str,
        y: float,
        tone: str,
        *,
        size: float = 12,
        bold: bool = False,
        anchor: str = "",
        tier: str = "",
        halo: bool = False,
    ) -> str:
        more = f' font-size="{size}"' if size != 12 else ""
        more += ' font-weight="600"' if bold else ""
        more += f' text-anchor="{anchor}"' if anchor and anchor != "start" else ""
        if halo:  # a patch of background around it
            tier = f"pd-s-bg {tier}"
            more += f' style="paint-order:stroke" stroke="{PALETTE["bg"].light}" stroke-width="7" stroke-linejoin="round"'
        return f'<text {self.paint(tone, tier)} x="{x}" y="{y:g}"{more}>{self.escape(said)}</text>'

    def either(
        self, said: str, x: float, y: float, tone: str, *, size: float = 12, bold: bool = False
    ) -> str:
        """A line of text from `x` to the right edge."""
        widths = (PHONE, NARROW, MIDDLE) if self.fluid else (self.width,)
        cuts = [self.cut(said, width - x - 12, size, bold=bold) for width in widths]
        return _variants([self.text(cut, x, y, tone, size=size, bold=bold) for cut in cuts])

    def label(self, kind: str, name: str, detail: str, y: float, *, bold: bool = False) -> str:
        """The text of the name column: a dim word for the kind, the name, and as much detail as fits."""
        columns = [w * NAME_SHARE for w in (PHONE, NARROW, MIDDLE)] if self.fluid else [self.name_width]
        return _variants([self._label(kind, name, detail, y, width - INDENT - 3, bold) for width in columns])

    def _label(self, kind: str, name: str, detail: str, y: float, room: float, bold: bool) -> str:
        spans = []
        if kind and kind != "timer" and measure(f"{kind} {name}", 12) > room < PHONE / 4:
            kind = ""  # there is room for the name, or for neither
        if kind:
            spans.append(f"<tspan {self.paint('dim')}>{self.escape(kind)} </tspan>")
            room -= measure(kind + " ", 12)
        shown = self.cut(name, room, 12, middle=True, bold=bold)
        weight = ' font-weight="600"' if bold else ""
        spans.append(f"<tspan {self.paint('ink')}{weight}>{self.escape(isolate(shown))}</tspan>")
        room -= measure(shown, 12, bold=bold) + 6
        if detail and room > 36:
            spans.append(
                f'<tspan {self.paint("dim")} dx="6">{self.escape(isolate(self.cut(detail, room, 11)))}</tspan>'
            )
        return f'<text x="{INDENT}" y="{y:g}">{"".join(spans)}</text>'

    def pair(self, word: str, took: str, y: float, tone: str) -> str:
        """The text of the right column: a word for the state where it is not plain success, and the time."""
        slim = self._right(f"<tspan {self.paint(tone)}>{self.escape(took)}</tspan>", y)
        if self.narrow or not word:
            return slim
        wide = self._right(
            f'<tspan {self.paint(tone)} font-weight="600">{self.escape(word)}</tspan>'
            f"<tspan {self.paint('dim')}> {self.escape(took)}</tspan>",
            y,
        )
        return _variants([slim, wide, wide]) if self.fluid else wide

    @staticmethod
    def _right(spans: str, y: float) -> str:
        return f'<text x="100%" dx="-10" y="{y:g}" text-anchor="end" font-size="11.5">{spans}</text>'

    def plot(self, y: float, height: float, content: str) -> str:
        """The part of a row, or of the picture, whose horizontal places are fractions of time's axis."""
        place = (
            f'x="{NAME_SHARE:.1%}" width="{PLOT_SHARE:.1%}"'
            if self.fluid
            else f'x="{self.name_width}" width="{self.plot_width}"'
        )
        return (
            f'<svg {place} y="{y:g}" height="{height:g}" overflow="visible">{content}</svg>'
            if content
            else ""
        )

    def bar(
        self,
        left: float,
        right: float,
        y: float,
        height: float,
        tone: str,
        *,
        edge: str = "",
        dashed: bool = False,
        opacity: float = 1,
        title: str = "",
    ) -> str:
        """A bar; never thinner than its outline, so that a millisecond in an hour is seen."""
        edge = edge or tone
        look = f'class="pd-{tone} pd-s-{edge}" fill="{PALETTE[tone].light}" stroke="{PALETTE[edge].light}"'
        look += ' stroke-dasharray="3 2"' if dashed else ""
        look += f' opacity="{opacity}"' if opacity != 1 else ""
        place = f'x="{self.percent(left)}" width="{self.percent(max(right - left, 0.0001))}" y="{y:g}" height="{height:g}"'
        shape = f'<rect {look} stroke-width="1.4" rx="2.5" {place}'
        return f"{shape}><title>{self.escape(title)}</title></rect>" if title else f"{shape}/>"

    def line(
        self, left: float, right: float, y: float, tone: str, width: float, dashes: str = "", title: str = ""
    ) -> str:
        more = f' stroke-dasharray="{dashes}"' if dashes else ""
        shape = (
            f'<line {self.stroke(tone)} x1="{self.percent(left)}" x2="{self.percent(max(right, left + 0.0005))}" y1="{y:g}" y2="{y:g}" '
            f'stroke-width="{width:g}"{more}'
        )
        return f"{shape}><title>{self.escape(title)}</title></line>" if title else f"{shape}/>"

    def worker_line(self, index: int, left: float, right: float, y: float) -> str:
        """The mark of a process: its own pattern, the same wherever it stands."""
        return self.line(left, right, y, ("flow", "time", "run", "wait")[index % 4], 2.6, _DASHES[index % 4])

    def sign(
        self,
        at: float,
        y: float,
        path: str,
        tone: str,
        *,
        filled: bool = False,
        width: float = 2,
        title: str = "",
    ) -> str:
        """A small path at a place of the axis."""
        look = (
            self.paint(tone)
            if filled
            else f'{self.stroke(tone)} fill="none" stroke-width="{width:g}" stroke-linecap="round"'
        )
        said = f"<title>{self.escape(title)}</title>" if title else ""
        return (
            f'<svg x="{self.percent(at)}" y="{y:g}" overflow="visible"><path {look} d="{path}"/>{said}</svg>'
        )

    def cross(self, at: float, y: float, tone: str, reach: float = 3.5, title: str = "") -> str:
        r = f"{reach:g}"
        return self.sign(at, y, f"M-{r}-{r}L{r} {r}M{r}-{r}L-{r} {r}", tone, title=title)

    def diamond(self, at: float, y: float, tone: str) -> str:
        return self.sign(at, y, _DIAMOND, tone, filled=True)

    def diamond_at(self, x: float, y: float, tone: str) -> str:
        """The same at a place in px."""
        return f'<path {self.paint(tone)} transform="translate({x:g} {y:g})" d="{_DIAMOND}"/>'

    def icon(self, state: State, x: float, y: float, tone: str) -> str:
        """The state as a shape, at a place in px."""
        filled = self.colour(tone) if state in (State.RUNNING, State.TERMINATED) else "none"
        klass = f"pd-{tone} pd-s-{tone}" if filled != "none" else f"pd-s-{tone}"
        width = 3 if state is State.WAITING else 2
        return (
            f'<path class="{klass}" stroke="{self.colour(tone)}" fill="{filled}" stroke-width="{width}" stroke-linecap="round" '
            f'stroke-linejoin="round" transform="translate({x:g} {y:g})" d="{_ICONS[state]}"/>'
        )

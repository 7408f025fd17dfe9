"""Colours and style of the pictures.

Every shape carries its light colour as an attribute, so that a picture whose style sheet was stripped (GitHub, mail) is whole; the style
sheet then maps the same colours to variables, which follow JupyterLab's theme, VS Code's, or the reader's system. Rules
are scoped by the class `perdure-timeline`, use no ids, and are the same for every picture: any number of them live on one page.

No meaning is carried by colour alone: each state has its own shape of bar, its own icon, and its word.
"""

from __future__ import annotations

from typing import NamedTuple


class Tone(NamedTuple):
    light: str
    dark: str


# Blue, green and vermilion of this set differ for all common kinds of colour blindness, and each has a contrast of at least
# 4.5 to 1 with its background (3 to 1 for what is drawn and not read).
PALETTE: dict[str, Tone] = {
    "bg": Tone("#ffffff", "#14171c"),
    "band": Tone("#f6f8fa", "#1b2027"),
    "line": Tone("#d8dee4", "#323a45"),
    "ink": Tone("#1f2328", "#e8ecf1"),
    "dim": Tone("#5c6670", "#9aa5b1"),
    "on": Tone("#ffffff", "#0e1116"),
    "done": Tone("#0a7d5f", "#41c29a"),
    "fail": Tone("#c0330c", "#ff8a66"),
    "soft": Tone("#fbe3da", "#47231a"),
    "run": Tone("#0b63c4", "#6cb2ff"),
    "live": Tone("#d6e7fb", "#17314f"),
    "wait": Tone("#9a6700", "#e0b341"),
    "time": Tone("#7048b6", "#b99af0"),
    "calm": Tone("#ece5f8", "#2d2442"),
    "lost": Tone("#6a737d", "#98a2ad"),
    "flow": Tone("#3d4752", "#b4bec9"),
}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"
NARROW, MIDDLE = 620, 900  # container widths (px) below which a fluid picture lets details go
NAME_SHARE, PLOT_SHARE = 0.275, 0.58  # of a fluid picture: the names, and the plot; the rest is for times
NAME, RIGHT = 214, 122  # px, the same columns of a picture of fixed width, and of one for a phone
NARROW_NAME, NARROW_RIGHT = 118, 60


def _variables(index: int) -> str:
    return "".join(f"--pd-{name}:{tone[index]};" for name, tone in PALETTE.items())


def style_sheet(*, fluid: bool) -> str:
    """The rules, for the <style> of one picture."""
    root = ".perdure-timeline"
    light, dark = _variables(0) + "color-scheme:light;", _variables(1) + "color-scheme:dark;"
    rules = [
        f"{root}{{{light}font-family:{FONT};}}",
        f"@media (prefers-color-scheme:dark){{{root}{{{dark}}}}}",
        f"[data-jp-theme-light=true] {root},.vscode-light {root},[data-theme=light] {root}{{{light}}}",
        f"[data-jp-theme-light=false] {root},.vscode-dark {root},[data-theme=dark] {root}{{{dark}}}",
        f"[data-jp-theme-light=true] {root}{{--pd-bg:var(--jp-layout-color0,{PALETTE['bg'].light});}}",
        f"[data-jp-theme-light=false] {root}{{--pd-bg:var(--jp-layout-color0,{PALETTE['bg'].dark});}}",
        f"@media print{{{root}{{{light}}}}}",
        *(
            f"{root} .pd-{name}{{fill:var(--pd-{name})}}{root} .pd-s-{name}{{stroke:var(--pd-{name})}}"
            for name in PALETTE
        ),
        f"{root} .pd-row{{outline:none}}",
        f"{root} .pd-row:hover>.pd-hit{{fill:var(--pd-band)}}",
        f"{root} .pd-row:focus>.pd-hit{{fill:var(--pd-band);stroke:var(--pd-run);stroke-width:2}}",
    ]
    if fluid:  # inside a box of ours its width counts; as a file, or in an <img>, the picture is a document of its own
        for query, own in (("@container pd", root), ("@media", f":root{root}")):
            rules += [
                f"{query} (min-width:{MIDDLE}px){{{own} :is(.pd-m1,.pd-m2){{display:none}}{own} .pd-w3{{display:inline}}}}",
                f"{query} (max-width:{MIDDLE - 1}px){{{own} .pd-w2{{display:none}}}}",
                f"{query} (max-width:{NARROW - 1}px){{{own} :is(.pd-w1,.pd-m1){{display:none}}{own} .pd-n1{{display:inline}}}}",
            ]
    return "".join(rules)

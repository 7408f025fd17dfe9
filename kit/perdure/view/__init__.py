"""A run -> a picture of it: SVG, HTML, text, Chrome trace. Knows nothing of Jupyter, and needs neither network nor script.

`timeline(records, now)` makes the model; everything else draws it.
"""

from perdure.view.chrome_trace import chrome_trace
from perdure.view.html import html, page
from perdure.view.model import timeline
from perdure.view.parts import Attempt, Kind, Row, State, Timeline, Worker
from perdure.view.svg import svg
from perdure.view.text import table, text

__all__ = [
    "Attempt",
    "Kind",
    "Row",
    "State",
    "Timeline",
    "Worker",
    "chrome_trace",
    "html",
    "page",
    "svg",
    "table",
    "text",
    "timeline",
]

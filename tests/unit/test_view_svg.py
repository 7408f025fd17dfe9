"""The drawings: well-formed, escaped, static, complete."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
import view_runs as runs
from view_runs import ns

from perdure.view import Row, State, Timeline, html, page, svg, timeline
from perdure.view.fold import Fold, fold

SPACE = "{http://www.w3.org/2000/svg}"
DRAWN = {"svg", "style", "rect", "g", "title", "path", "text", "tspan", "line"}


def drawing(name: str, seconds: float = 60.0) -> Timeline:
    return timeline(runs.ALL[name](), ns(seconds))


def words(root: ET.Element) -> str:
    """All that can be read in a drawing, tooltips left out."""
    return " ".join("".join(e.itertext()) for e in root.iter(f"{SPACE}text"))


@pytest.mark.parametrize("width", [None, 400, 960])
@pytest.mark.parametrize("name", runs.ALL)
def test_every_drawing_is_well_formed_and_static(name: str, width: int | None):
    root = ET.fromstring(svg(drawing(name), width=width))
    assert {element.tag.removeprefix(SPACE) for element in root.iter()} <= DRAWN
    for element in root.iter():
        for attribute, value in element.attrib.items():
            assert not attribute.lower().startswith("on")
            assert attribute not in ("id", "href", "src")
            assert "url(" not in value
            assert "javascript:" not in value or attribute == "aria-label"
    assert root.get("direction") == "ltr"


@pytest.mark.parametrize("name", ["killed", "hostile"])
def test_style_is_scoped_so_that_pictures_share_a_page(name: str):
    style = next(ET.fromstring(svg(drawing(name))).iter(f"{SPACE}style")).text or ""
    rules = re.sub(r"@(media|container)[^{]*\{", "", style)
    selectors = re.findall(r"([^{}]+)\{", rules)
    assert selectors
    assert all(
        ".perdure-timeline" in part for selector in selectors for part in re.split(r",(?![^(]*\))", selector)
    )


class Tags(HTMLParser):
    """Which elements a browser would make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_a_user_writes_becomes_markup():
    parser = Tags()
    parser.feed(page(drawing("hostile"), title=runs.HOSTILE.replace("\x00", "")))
    assert not parser.seen & {"script", "image", "img", "iframe", "a", "link", "object"}
    assert not {name for name in parser.attributes if name.startswith("on")}
    assert "href" not in parser.attributes
    assert "alert" in page(drawing("hostile"))  # shown as the text that it is


def test_the_failing_row_shows_its_message_and_its_attempts():
    said = words(ET.fromstring(svg(drawing("failed"), width=960)))
    assert "charge failed 3 times" in said
    assert "attempts 1–3: HttpError: HTTP 503 Service Unavailable" in said
    assert "Fix charge" in said


def test_both_kernels_and_the_takeover_are_drawn():
    picture = svg(drawing("killed"), width=960)
    said = words(ET.fromstring(picture))
    assert "kernel 1 died" in said
    assert "kernel 2" in said
    assert "kernel 2 takes over here" in picture
    assert "attempt 1: lost, its process died" in said


def test_rows_can_be_reached_by_keyboard_and_heard():
    rows = [g for g in ET.fromstring(svg(drawing("retried"))).iter(f"{SPACE}g") if g.get("tabindex") == "0"]
    assert len(rows) == 4
    assert all(g.get("aria-label") and g.find(f"{SPACE}title") is not None for g in rows)
    assert "attempt 2 of 5: failed" in (rows[2].get("aria-label") or "")


def test_a_fixed_drawing_scales_and_a_fluid_one_fills():
    assert 'viewBox="0 0 960 ' in svg(drawing("success"), width=960)
    assert "viewBox" not in svg(drawing("success"))
    assert 'width="100%"' in svg(drawing("success"))[:200]


def test_states_differ_in_shape_and_word_not_only_in_colour():
    rows = ET.fromstring(svg(drawing("everything", 5.2), width=960)).iter(f"{SPACE}g")
    icons = {}
    for g in rows:
        icon = g.find(f"{SPACE}path")
        if icon is not None and g.get("aria-label"):
            icons.setdefault((g.get("aria-label") or "").split(":")[-1].split(" ")[1], icon.get("d"))
    assert len(set(icons.values())) >= 4


def test_many_rows_are_folded_by_state_and_failures_never():
    line = drawing("thousands")
    items = fold(line.rows, 60)
    failed = [item for item in items if isinstance(item, Row) and item.state is State.FAILED]
    folds = [item for item in items if isinstance(item, Fold)]
    assert len(failed) == 4
    assert len(items) <= 60 + len(failed) + len(folds)
    assert sum(len(item.rows) if isinstance(item, Fold) else 1 for item in items) == 2001
    assert folds[0].words.endswith("completed")
    picture = svg(line)
    assert "more rows: " in picture
    assert all(f"row {n} is broken" in picture for n in (250, 750, 1250, 1750))


def test_failures_beyond_the_limit_are_drawn_all_the_same():
    run = runs.Builder()
    run.task(0.01)
    for n in range(30):
        activity = run.schedule("bad", 0.1 * n)
        run.failed(activity, 0.1 * n, 0.1 * n + 0.05, runs.application("E", f"broken {n}"))
    items = fold(timeline(run.records, ns(9)).rows, 10)
    assert sum(isinstance(item, Row) and item.state is State.FAILED for item in items) == 30


def test_five_hundred_attempts_fit_one_row():
    run = runs.Builder()
    run.task(0.01)
    activity = run.schedule("stubborn", 0.1)
    for n in range(500):
        run.attempt(activity, n + 1, 0.1 + n, 0.2 + n, "failed", runs.HTTP_503, following=1.1 + n)
    picture = svg(timeline(run.records, ns(501)))
    assert len(picture) < 60_000
    assert "more attempts" in picture


def test_ten_thousand_events_are_drawn_in_well_under_a_second():
    records = runs.thousands()
    assert len(records.events) > 10_000
    began = time.perf_counter()
    picture = svg(timeline(records, ns(60)))
    assert time.perf_counter() - began < 0.9
    assert len(picture) < 200_000


def test_the_fragment_tells_all_without_its_picture():
    fragment = re.sub(r"<svg.*</svg>|<style>.*?</style>", "", html(drawing("killed")), flags=re.DOTALL)
    for said in (
        "Completed in 10.6 s",
        "12 attempts of 9 activities",
        "fetch_weather",
        "HTTP 503",
        "lost",
        "kernel 2",
    ):
        assert said in fragment


def test_the_page_proves_that_each_activity_completed_once():
    assert "All 9 activities completed exactly once" in page(drawing("killed"))
    assert "1 of 2 activities completed exactly once, 1 did not complete" in page(drawing("failed"))


def test_an_activity_that_completed_twice_would_be_told():
    run = runs.Builder()
    run.task(0.01)
    activity = run.activity("charge", 0.1, 0.2)
    run.attempt(activity, 2, 0.3, 0.4)
    assert "0 of 1 activity completed exactly once, 1 more than once" in page(
        timeline(run.complete(1), ns(2))
    )


def test_a_timeline_draws_itself_in_a_notebook():
    bundle = drawing("success")._repr_mimebundle_()
    assert bundle["text/html"].startswith('<div class="perdure-timeline')
    assert bundle["text/plain"].startswith("✓ completed")

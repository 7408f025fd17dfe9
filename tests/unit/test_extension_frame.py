"""Frames, details and static pictures of runs."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
import view_runs

from perdure import view
from perdure_jupyter.frame import details, frame, static_bundle, static_html


def timeline(name: str, at: float = 60) -> view.Timeline:
    return view.timeline(view_runs.ALL[name](), view_runs.ns(at))


def row(drawn: view.Timeline, name: str) -> view.Row:
    return next(row for row in drawn.rows if row.name == name)


def test_a_frame_says_what_comes_next_by_the_clock() -> None:
    drawn = timeline("backing_off", at=5.2)
    due = next(row.due for row in drawn.rows if row.state is view.State.RETRYING)
    assert due is not None
    message = frame(drawn)
    assert message["open"] is True
    assert message["next"]["at"] == due // 1_000_000
    assert re.fullmatch(r"\w+, attempt \d", message["next"]["words"])


def test_a_closed_run_has_nothing_next() -> None:
    message = frame(timeline("retried"))
    assert (message["open"], message["next"]) == (False, None)


def test_frames_of_an_old_run_are_good_for_longer() -> None:
    assert frame(timeline("backing_off", at=5.2))["pace"] == 1.0
    assert frame(timeline("backing_off", at=86_400))["pace"] == 60.0


@pytest.mark.parametrize("name", list(view_runs.ALL))
def test_every_row_of_the_drawing_has_details(name: str) -> None:
    drawn = timeline(name)
    events = re.findall(r'data-event="(\d+)"', frame(drawn)["picture"])
    assert events
    for event in events[:50]:
        assert details(drawn, int(event)).startswith("<h4>")


def test_details_tell_each_attempt_with_its_failure() -> None:
    drawn = timeline("retried")
    told = details(drawn, row(drawn, "charge").event_id)
    assert told.count("<tr") >= 4
    assert "1 of 5" in told
    assert "HTTP 503" in told


def test_there_are_no_details_of_a_row_that_is_not_there() -> None:
    assert details(timeline("retried"), 9999) == ""


@pytest.mark.parametrize("name", list(view_runs.ALL))
def test_a_static_picture_is_small_enough_for_a_notebook(name: str) -> None:
    assert len(json.dumps(static_bundle(timeline(name)))) < 110_000


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


@pytest.mark.parametrize("name", list(view_runs.ALL))
def test_the_picture_is_one_image_whatever_a_run_brings_in(name: str) -> None:
    parsed = Parsed(static_html(timeline(name)))
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert [image["class"] for image in images] == ["perdure-image"]
    assert str(images[0]["src"]).startswith("data:image/svg+xml;charset=utf-8,<svg")
    assert "svg" not in [tag for tag, _ in parsed.tags]
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert "<" not in "".join(parsed.scripts).rpartition("attach(")[2]

"""The terminal's form, and the trace."""

from __future__ import annotations

import json
import re

import pytest
import view_runs as runs
from view_runs import ns

from perdure.view import Timeline, chrome_trace, table, text, timeline
from perdure.view.text import columns, fit, signs


def drawing(name: str, seconds: float = 60.0) -> Timeline:
    return timeline(runs.ALL[name](), ns(seconds))


@pytest.mark.parametrize("width", [40, 72, 100, 160])
@pytest.mark.parametrize("name", runs.ALL)
def test_every_line_fits_the_width(name: str, width: int):
    for line in text(drawing(name), width).splitlines():
        assert columns(line) <= width, line


def test_the_header_says_what_failed_and_what_to_do():
    lines = text(drawing("failed")).splitlines()
    assert lines[0] == "✗ failed  payment  payment-7"
    assert lines[1].startswith("charge failed 3 times: HttpError: HTTP 503")
    assert lines[2] == "→ Fix charge (no attempt was left), then start the run again."


def test_attempts_are_signs_and_their_messages_a_line():
    lines = text(drawing("retried")).splitlines()
    charge = next(line for line in lines if line.startswith("✓ charge"))
    assert "✗ ✗ ✓" in charge
    assert re.search("▓+╌+▓+╌+█+", charge)
    assert lines[lines.index(charge) + 1].startswith("    attempts 1–2: HttpError: HTTP 503")


def test_rows_of_one_name_are_told_apart_by_their_arguments():
    said = text(drawing("killed"))
    assert 'load_month "2013-01"' in said
    assert "fetch_weather " in said
    assert 'fetch_weather "http' not in said


def test_many_attempts_are_counted():
    run = runs.Builder()
    activity = run.schedule("stubborn", 0.1)
    for n in range(12):
        run.attempt(activity, n + 1, 0.1 + n, 0.2 + n, "failed", runs.HTTP_503, following=1.1 + n)
    assert signs(timeline(run.records, ns(13)).rows[1]) == "✗×12 ↻"


def test_both_kernels_have_a_line():
    lines = text(drawing("killed")).splitlines()
    first = next(line for line in lines if line.startswith("  kernel 1"))
    second = next(line for line in lines if line.startswith("  kernel 2"))
    assert "died" in first
    assert second.index("2" * 3) > first.index("1" * 3)


def test_colour_is_only_added():
    plain = text(drawing("failed"))
    painted = text(drawing("failed"), colour=True)
    assert painted != plain
    stripped = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", painted).splitlines())
    assert stripped == plain


@pytest.mark.parametrize("name", [name for name in runs.ALL if name != "hostile"])
def test_ascii_is_enough(name: str):
    assert text(drawing(name), ascii=True).isascii()
    assert table(drawing(name), ascii=True).isascii()


def test_wide_characters_count_as_two():
    assert columns("支払い") == 6
    assert fit("支払いを処理する", 7) == "支払い…"


def test_the_table_counts_completions():
    lines = table(drawing("killed")).splitlines()
    assert lines[0].split() == ["activity", "started", "failed", "lost", "completed", "by"]
    fit_model = next(line for line in lines if line.startswith("fit_model"))
    assert fit_model.split()[-8:] == ["2", "1", "1", "×", "kernel", "1,", "kernel", "2"]
    assert lines[-1] == "✓ All 9 activities completed exactly once"
    assert table(drawing("failed")).splitlines()[-1].startswith("✗ 1 of 2 activities")


def test_a_run_without_activities_has_a_table():
    run = runs.Builder()
    run.task(0.01)
    assert table(timeline(run.complete(1.0), ns(2))).splitlines()[-1] == "✓ There were no activities"


def test_the_trace_has_a_slice_for_each_attempt():
    trace = json.loads(chrome_trace(drawing("retried")))
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    attempts = [event for event in slices if event["name"].startswith("attempt ")]
    assert len(attempts) == 5
    assert sum("HTTP 503" in event["args"]["failure"] for event in attempts) == 2
    assert sum(event["name"] == "back-off" for event in slices) == 2
    assert all(event["dur"] >= 0 for event in slices)

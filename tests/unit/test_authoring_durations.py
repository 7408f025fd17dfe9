"""Durations read as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.authoring.durations import format_duration, parse_duration
from perdure.errors import DefinitionError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5 minutes", 300),
        ("1h30m", 5400),
        ("1 hour and 30 minutes", 5400),
        ("1 hour, 30 minutes", 5400),
        ("250ms", 0.25),
        ("2 days", 172_800),
        ("1 week", 604_800),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("  10 S ", 10),
        ("12", 12),
        ("0.25", 0.25),
        (3, 3),
        (0.5, 0.5),
        (0, 0),
        (timedelta(seconds=7), 7),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "empty"),
        ("soon", "'soon' is not a duration"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("2 months", "Months and years"),
        ("-3s", "not a duration"),
        ("5m then", "not a duration"),
        (-1, "negative"),
        (timedelta(seconds=-1), "negative"),
        (float("nan"), "not finite"),
        (True, "is a bool"),
        (None, "is a NoneType"),
        (1e30, "too long"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_name(value: object, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_duration(value, "timeout")  # type: ignore[arg-type]
    assert str(caught.value).startswith("timeout") and message in str(caught.value)


@given(st.timedeltas(min_value=timedelta(0)))
def test_what_is_written_reads_back(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except DefinitionError as error:
        assert error.remedy

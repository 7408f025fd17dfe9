"""One table of options for decorators, magics and calls."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from perdure.authoring.activity import ActivityKeywords
from perdure.authoring.options import (
    ACTIVITY_OPTIONS,
    DEFAULT_TIMEOUT,
    WORKFLOW_OPTIONS,
    ActivityOptions,
    WorkflowOptions,
)
from perdure.authoring.workflow import WorkflowKeywords
from perdure.errors import DefinitionError


@pytest.mark.parametrize(
    ("options", "table", "keywords"),
    [
        (ActivityOptions, ACTIVITY_OPTIONS, ActivityKeywords),
        (WorkflowOptions, WORKFLOW_OPTIONS, WorkflowKeywords),
    ],
)
def test_table_fields_and_typed_keywords_agree(options: Any, table: Any, keywords: Any) -> None:
    names = [option.name for option in table]
    assert len(set(names)) == len(names)
    assert set(names) == {item.name for item in dataclasses.fields(options)} == set(keywords.__annotations__)


def test_flags_are_spelt_with_hyphens() -> None:
    assert (
        next(option for option in ACTIVITY_OPTIONS if option.name == "schedule_to_close").flag
        == "--schedule-to-close"
    )


def test_all_of_temporals_options() -> None:
    options = ActivityOptions.parse(
        {
            "timeout": "30s", "schedule_to_close": "1h", "schedule_to_start": 5, "heartbeat": "2s",
            "retries": "5", "initial_interval": "250ms", "backoff": "1.5", "maximum_interval": "1m",
            "non_retryable": [ValueError, "KeyError, OSError"], "task_queue": "gpu", "summary": "pays",
        }
    )  # fmt: skip
    assert options.arguments() == {
        "start_to_close_timeout": timedelta(seconds=30),
        "schedule_to_close_timeout": timedelta(hours=1),
        "schedule_to_start_timeout": timedelta(seconds=5),
        "heartbeat_timeout": timedelta(seconds=2),
        "retry_policy": RetryPolicy(
            initial_interval=timedelta(milliseconds=250),
            backoff_coefficient=1.5,
            maximum_interval=timedelta(minutes=1),
            maximum_attempts=6,
            non_retryable_error_types=["ValueError", "KeyError", "OSError"],
        ),
        "task_queue": "gpu",
        "summary": "pays",
    }
    assert ActivityOptions.from_json(options.to_json()) == options


def test_retries_count_after_the_first_attempt() -> None:
    assert ActivityOptions.parse({"retries": 5}).attempts() == 6
    assert ActivityOptions.parse({"retries": 0}).attempts() == 1
    assert ActivityOptions.parse({"maximum_attempts": 5}).attempts() == 5
    assert ActivityOptions.parse({}).attempts() == 0


def test_the_later_of_retries_and_maximum_attempts_counts() -> None:
    assert ActivityOptions.parse({"retries": 5}).override({"maximum_attempts": 2}).attempts() == 2
    assert ActivityOptions.parse({"maximum_attempts": 2}).override({"retries": 5}).attempts() == 6


def test_an_attempt_has_a_limit_when_none_is_given() -> None:
    assert ActivityOptions().arguments()["start_to_close_timeout"] == DEFAULT_TIMEOUT
    whole = ActivityOptions.parse({"schedule_to_close": "3h"}).arguments()
    assert whole["start_to_close_timeout"] is None


def test_none_takes_an_option_back() -> None:
    options = ActivityOptions.parse({"timeout": "5s", "non_retryable": "ValueError"})
    assert options.override({"timeout": None, "non_retryable": None}) == ActivityOptions()


def test_json_of_a_newer_perdure_is_read_as_far_as_it_is_known() -> None:
    assert ActivityOptions.from_json('{"timeout": "5s", "levitation": 3}') == ActivityOptions.parse(
        {"timeout": 5}
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retires": 5}, "Did you mean retries?"),
        ({"start_to_close_timeout": 5}, "Did you mean timeout?"),
        ({"heartbeat_timeout": 5}, "Did you mean heartbeat?"),
        ({"retries": -1}, "not a whole number"),
        ({"retries": 2.5}, "not a whole number"),
        ({"retries": "many"}, "not a whole number"),
        ({"retries": 1, "maximum_attempts": 2}, "both given"),
        ({"backoff": 0.5}, "at least 1"),
        ({"timeout": "5 blinks"}, "timeout '5 blinks' has the unknown unit"),
        ({"initial_interval": 0}, "initial_interval is zero"),
        ({"maximum_interval": "1ms"}, "shorter than the first wait"),
        ({"task_queue": ""}, "not a text"),
        ({"non_retryable": 3}, "names no exception types"),
        ({"non_retryable": [int]}, "is no exception type"),
    ],
)
def test_wrong_options_are_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        ActivityOptions.parse(given)
    assert message in str(caught.value)

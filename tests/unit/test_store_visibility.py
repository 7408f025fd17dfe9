"""List filters as SQL: what is allowed, what each kind of name is compared with, and how a mistake is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.journal import InvalidQueryError
from perdure.store.visibility import Condition, compile_filter

TYPES = {"Colour": "Keyword", "Amount": "Int", "Rate": "Double", "Paid": "Bool", "Due": "Datetime"} | {
    "Tags": "KeywordList",
    "Note": "Text",
    "Odd": "",
}
HIDDEN = " AND division = ''"


def condition(query: str, *, grouping: bool = False) -> Condition:
    found = compile_filter(query, TYPES.get, grouping=grouping)
    assert found.sql.count("?") == len(found.parameters)
    return Condition(
        found.sql.removesuffix(HIDDEN).removeprefix("(").removesuffix(")"), found.parameters, found.by_status
    )


@pytest.mark.parametrize(
    ("query", "sql", "parameters"),
    [
        ("WorkflowId = 'a'", "workflow_id = ?", ("a",)),
        ('`WorkflowId` != "a"', "workflow_id != ?", ("a",)),
        ("WorkflowId STARTS_WITH 'a'", "starts_with(workflow_id, ?)", ("a",)),
        ("WorkflowId not starts_with 'a'", "NOT (starts_with(workflow_id, ?))", ("a",)),
        ("WorkflowType = 'STARTS_WITH LIKE'", "workflow_type = ?", ("STARTS_WITH LIKE",)),
        ("RunId in ('a', 'b')", "run_id IN (?, ?)", ("a", "b")),
        ("ExecutionStatus = 'ContinuedAsNew'", "status = ?", (6,)),
        ("ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_TIMED_OUT'", "status = ?", (7,)),
        ("ExecutionStatus > 2", "status > ?", (2,)),
        ("StartTime > '1970-01-01T00:00:01.000000001Z'", "start_time_ns > ?", (1_000_000_001,)),
        ("StartTime > '1970-01-01T01:00:01+01:00'", "start_time_ns > ?", (1_000_000_000,)),
        ("CloseTime <= 17", "close_time_ns <= ?", (17,)),
        ("ExecutionDuration > '1h0m2.5s'", "(close_time_ns - execution_time_ns) > ?", (3_602_500_000_000,)),
        ("ExecutionDuration > '00:01:30'", "(close_time_ns - execution_time_ns) > ?", (90_000_000_000,)),
        ("HistoryLength BETWEEN -1 AND 5", "nullif(history_length, 0) BETWEEN ? AND ?", (-1, 5)),
        (
            "not (TaskQueue = 'a' or TaskQueue = 'b')",
            "NOT (((task_queue = ? OR task_queue = ?)))",
            ("a", "b"),
        ),
        ("CloseTime is not null", "NOT (close_time_ns IS NULL)", ()),
        ("Colour = 'red'", "json_extract_string(search_attributes_json, ?) = ?", ('$."Colour"', "red")),
        ("Unseen = 'red' AND WorkflowId = 'a'", "(NULL AND workflow_id = ?)", ("a",)),
        ("Unseen IS NULL", "NULL IS NULL", ()),
    ],
)
def test_a_filter_becomes_sql_with_bound_values(query: str, sql: str, parameters: tuple[object, ...]) -> None:
    assert condition(query) == Condition(sql, parameters)


@pytest.mark.parametrize(
    ("query", "operator"),
    [
        ("Amount >= 5", "try_cast(json_extract_string(search_attributes_json, ?) AS BIGINT) >= ?"),
        ("Rate < 0.5", "try_cast(json_extract_string(search_attributes_json, ?) AS DOUBLE) < ?"),
        ("Paid = true", "try_cast(json_extract_string(search_attributes_json, ?) AS BOOLEAN) = ?"),
        ("Due < '2024-05-01T00:00:00Z'", "AS TIMESTAMPTZ)) < ?"),
        ("Tags = 'a'", "list_contains(try_cast(json_extract(search_attributes_json, ?) AS VARCHAR[]), ?)"),
        ("Tags IN ('a', 'b')", "AS VARCHAR[]), [?, ?])"),
        ("Note != 'late'", "NOT list_has_any("),
    ],
)
def test_a_search_attribute_is_read_by_its_type(query: str, operator: str) -> None:
    assert operator in condition(query).sql


def test_runs_of_a_division_are_hidden_unless_it_is_named() -> None:
    assert compile_filter("", TYPES.get).sql == "division = ''"
    assert HIDDEN in compile_filter("WorkflowId = 'a'", TYPES.get).sql
    assert HIDDEN not in compile_filter("TemporalNamespaceDivision IS NOT NULL", TYPES.get).sql


def test_counting_can_be_by_status() -> None:
    assert condition("GROUP BY ExecutionStatus", grouping=True).by_status
    assert condition("WorkflowId = 'a' group by ExecutionStatus", grouping=True).by_status
    assert not condition("WorkflowId = 'a'", grouping=True).by_status


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("WorkflowId", "expected a comparison: <name> <operator> <value> (near `WorkflowId`, column 1)"),
        ("WorkflowId =", "near `=`, column 12"),
        ("WorkflowId = 'a", "invalid list filter: "),
        ("(WorkflowId = 'a'", "Expecting )"),
        ("WorkflowId = TaskQueue", "a value must stand on the right of an operator"),
        ("'a' = WorkflowId", "a name must stand on the left of an operator"),
        ("lower(WorkflowId) = 'a'", "a name must stand on the left of an operator"),
        ("a.WorkflowId = 'a'", "a name must stand on the left of an operator"),
        (
            "WorkflowId = 'a' ORDER BY StartTime",
            "ORDER BY is not allowed in a list filter: runs come newest start first",
        ),
        ("ORDER BY StartTime", "ORDER BY is not allowed"),
        ("WorkflowId = 'a' LIMIT 3", "LIMIT is not allowed"),
        ("WorkflowId = 'a'; DROP TABLE runs", "; is not allowed in a list filter (near `;`, column 17)"),
        ("WorkflowId = 'a' UNION SELECT 1", "it must be one condition"),
        ("WorkflowId LIKE 'a%'", "LIKE is not allowed in a list filter (near `LIKE`, column 12)"),
        ("WorkflowId IN (SELECT 1)", "this form of the operator is not allowed"),
        ("WorkflowId IS TRUE", "IS takes NULL or NOT NULL"),
        ("WorkflowId = 3", "WorkflowId is compared with a text in quotes (near `3`, column 14)"),
        ("HistoryLength = 'long'", "HistoryLength is compared with a number"),
        ("HistoryLength = 99999999999999999999", "is out of range"),
        ("StartTime > '2024-05-01'", "StartTime is compared with a time like '2024-05-01T12:00:00Z'"),
        ("StartTime > '2024-13-01T00:00:00Z'", "StartTime is compared with a time"),
        ("ExecutionDuration > 'long'", "ExecutionDuration is compared with a duration like '2h30m'"),
        ("ExecutionStatus = 'Lost'", "ExecutionStatus is compared with one of Running, Completed"),
        ("ExecutionStatus = 77", "ExecutionStatus is compared with one of Running, Completed"),
        ("Paid > true", "> is not for Paid, which is a Bool"),
        ("Paid = 'yes'", "Paid is compared with true or false"),
        ("Tags STARTS_WITH 'a'", "STARTS_WITH is not for Tags, which is a KeywordList"),
        ("Workflowid = 'a'", "there is no Workflowid; did you mean WorkflowId?"),
        ("ExecutionState = 'Running'", "did you mean ExecutionStatus?"),
        ("status = 'Running'", "there is no status; did you mean ExecutionStatus?"),
        ("Type = 'payment'", "there is no Type; did you mean WorkflowType?"),
        ("GROUP BY ExecutionStatus", "GROUP BY is allowed only when counting"),
        ("(" * 400 + "WorkflowId = 'a'" + ")" * 400, "nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_rule(query: str, rule: str) -> None:
    with pytest.raises(InvalidQueryError, match=r"^invalid list filter: ") as refusal:
        condition(query)
    assert rule in str(refusal.value)


@pytest.mark.parametrize(
    "grouped", ["WorkflowType", "ExecutionStatus, RunId", "1", "ExecutionStatus WITH ROLLUP"]
)
def test_only_the_status_can_be_grouped_by(grouped: str) -> None:
    with pytest.raises(InvalidQueryError, match="GROUP BY takes ExecutionStatus only"):
        condition(f"GROUP BY {grouped}", grouping=True)


@given(st.text(max_size=40))
def test_any_text_is_compiled_or_refused(query: str) -> None:
    try:
        found = compile_filter(query, TYPES.get)
    except InvalidQueryError:
        return
    assert found.sql.count("?") == len(found.parameters)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\\"), max_size=40))
def test_a_value_is_never_part_of_the_sql(value: str) -> None:
    found = condition("WorkflowId = '" + value.replace("'", "''") + "'")
    assert found == Condition("workflow_id = ?", (value,))


WORDS = (
    "WorkflowId",
    "Amount",
    "Tags",
    "=",
    "!=",
    "<",
    "IN",
    "NOT",
    "BETWEEN",
    "AND",
    "OR",
    "IS",
    "NULL",
    "(",
    ")",
    ",",
)
VALUES = ("STARTS_WITH", "'a'", "5", "true")


@given(st.lists(st.sampled_from((*WORDS, *VALUES)), max_size=10))
def test_any_row_of_words_is_compiled_or_refused(words: list[str]) -> None:
    try:
        found = compile_filter(" ".join(words), TYPES.get)
    except InvalidQueryError as error:
        assert re.match("invalid list filter: .+", str(error))
    else:
        assert found.sql.count("?") == len(found.parameters)

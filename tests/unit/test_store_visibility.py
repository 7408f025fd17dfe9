"""List filters as SQL: what is allowed, what each kind of name is compared with, and how a mistake is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.journal import InvalidQueryError, InvalidTokenError, Scope
from perdure.store.condition import DEFAULT_ORDER, Condition
from perdure.store.visibility import compile_filter

SCOPE = Scope(
    "default",
    {"Colour": "Keyword", "Amount": "Int", "Rate": "Double", "Paid": "Bool", "Due": "Datetime"}
    | {"Tags": "KeywordList", "Note": "Text"},
)
HIDDEN = " AND division = ?"


def condition(query: str, *, counting: bool = False) -> Condition:
    """The query's own part of the condition."""
    found = compile_filter(query, SCOPE, counting=counting)
    assert found.sql.count("?") == len(found.parameters)
    assert found.parameters[0] == "default"
    parameters = found.parameters[1:]
    if found.sql.endswith(HIDDEN):
        assert parameters[-1] == ""
        parameters = parameters[:-1]
    sql = found.sql.removesuffix(HIDDEN).removeprefix("namespace = ? AND (").removesuffix(")")
    return Condition(sql, parameters, found.group, found.order)


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
        ("ExecutionDuration > '17'", "(close_time_ns - execution_time_ns) > ?", (17,)),
        ("HistoryLength BETWEEN -1 AND 5", "nullif(history_length, 0) BETWEEN ? AND ?", (-1, 5)),
        ("HistoryLength = 99999999999999999999", "nullif(history_length, 0) = ?", (1e20,)),
        (
            "not (TaskQueue = 'a' or TaskQueue = 'b')",
            "NOT (((task_queue = ? OR task_queue = ?)))",
            ("a", "b"),
        ),
        ("TaskQueue = 'a' && TaskQueue = 'b'", "(task_queue = ? AND task_queue = ?)", ("a", "b")),
        ("CloseTime is not null", "NOT (close_time_ns IS NULL)", ()),
        ("Colour = 'red'", "json_extract_string(search_attributes_json, ?) = ?", ('$."Colour"', "red")),
        ("ScheduleId = 'a'", "workflow_id = ?", ("a",)),
        ("TemporalWorkflowType = 'a'", "workflow_type = ?", ("a",)),
        (
            "ScheduledById = 'a'",
            "json_extract_string(search_attributes_json, ?) = ?",
            ('$."TemporalScheduledById"', "a"),
        ),
    ],
)
def test_a_filter_becomes_sql_with_bound_values(query: str, sql: str, parameters: tuple[object, ...]) -> None:
    assert condition(query) == Condition(sql, parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "operator"),
    [
        ("Amount >= 5", "try_cast(json_extract_string(search_attributes_json, ?) AS BIGINT) >= ?"),
        ("Rate < 0.5", "try_cast(json_extract_string(search_attributes_json, ?) AS DOUBLE) < ?"),
        ("Paid = true", "try_cast(json_extract_string(search_attributes_json, ?) AS BOOLEAN) = ?"),
        ("Due < '2024-05-01T00:00:00Z'", "AS TIMESTAMPTZ)) < ?"),
        (
            "Tags = 'a'",
            "coalesce(list_contains(try_cast(json_extract(search_attributes_json, ?) AS VARCHAR[]), ?), FALSE)",
        ),
        ("Tags IN ('a', 'b')", "AS VARCHAR[]), [?, ?]), FALSE)"),
        ("Note != 'late'", "NOT coalesce(list_has_any("),
    ],
)
def test_a_search_attribute_is_read_by_its_type(query: str, operator: str) -> None:
    assert operator in condition(query).sql


def test_runs_of_another_division_are_hidden_unless_it_is_named() -> None:
    assert compile_filter("", SCOPE).sql == "namespace = ? AND (TRUE) AND division = ?"
    assert compile_filter("WorkflowId = 'a'", SCOPE).sql.endswith(HIDDEN)
    assert not compile_filter("TemporalNamespaceDivision IS NOT NULL", SCOPE).sql.endswith(HIDDEN)
    assert compile_filter("", Scope("default", division="activity")).parameters == ("default", "activity")


def test_a_scope_may_have_more_names() -> None:
    activities = Scope("default", aliases={"ActivityId": "WorkflowId"})
    assert compile_filter("ActivityId = 'a'", activities).sql.startswith(
        "namespace = ? AND (workflow_id = ?)"
    )


def test_counting_can_be_by_status() -> None:
    by_status = "journal.status_name(status)"
    assert condition("GROUP BY ExecutionStatus", counting=True).group == by_status
    assert condition("WorkflowId = 'a' group by ExecutionStatus", counting=True).group == by_status
    assert condition("GROUP BY TemporalNamespaceDivision", counting=True).group == "division"
    assert not condition("WorkflowId = 'a'", counting=True).group
    assert not condition("GROUP BY ExecutionStatus").group  # a list has no groups


def test_lists_can_be_ordered() -> None:
    found = condition("Amount > 3 ORDER BY Amount DESC, WorkflowId")
    assert [(key.sql.count("json"), key.descending) for key in found.order] == [
        (2, True),
        (0, False),
        (0, False),
    ]
    assert condition("").order == DEFAULT_ORDER


def test_a_page_goes_on_behind_the_last_row() -> None:
    found = compile_filter("ORDER BY Amount", SCOPE).after([5, "r1"])
    assert found.sql.count("?") == len(found.parameters)
    assert "IS NULL" in found.sql
    assert found.parameters[-1] == "r1"
    with pytest.raises(InvalidTokenError):
        compile_filter("", SCOPE).after([5])


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("WorkflowId", "invalid expression: incomplete expression"),
        ("WorkflowId =", "malformed SQL query: "),
        ("WorkflowId = 'a", "malformed SQL query: "),
        ("(WorkflowId = 'a'", "malformed SQL query: syntax error: Expecting )"),
        ("()", "malformed SQL query: "),
        (
            "WorkflowId = TaskQueue",
            "operation is not supported: column name on the right side of comparison expression "
            '(did you forget to quote "TaskQueue"?)',
        ),
        ("WorkflowId = foo()", "operation is not supported: nested func"),
        ("foo()", "operation is not supported: function expression"),
        ("'a' = WorkflowId", "invalid expression: must be a column name but was 'a'"),
        ("lower(WorkflowId) = 'a'", "invalid expression: must be a column name but was LOWER(WorkflowId)"),
        ("a.WorkflowId = 'a'", "invalid search attribute: a.WorkflowId"),
        ("ORDER BY Note", "operation is not supported: unable to sort by search attribute type Text"),
        ("ORDER BY Tags", "operation is not supported: unable to sort by search attribute type KeywordList"),
        ("ORDER BY nope", "invalid search attribute: nope"),
        ("WorkflowId = 'a' LIMIT 3", "operation is not supported: 'LIMIT' clause"),
        ("WorkflowId = 'a'; DROP TABLE runs", "malformed SQL query: it must be one condition near ';'"),
        ("WorkflowId = 'a' UNION SELECT 1", "malformed SQL query: it must be one condition"),
        (
            "WorkflowId LIKE 'a%'",
            "operation is not supported: operator 'LIKE' not supported for Keyword type search attribute 'WorkflowId'",
        ),
        (
            "WorkflowId RLIKE 'a%'",
            "operation is not supported: operator 'REGEXP' not supported for Keyword type search attribute 'WorkflowId'",
        ),
        ("WorkflowId IN (SELECT 1)", "operation is not supported: this form of the operator"),
        (
            "WorkflowId IS TRUE",
            "invalid expression: 'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'",
        ),
        ("WorkflowId = NULL", "invalid expression: unexpected value NULL"),
        (
            "WorkflowId = 3",
            "invalid expression: invalid value type for search attribute WorkflowId of type Keyword: 3 (type: int64)",
        ),
        (
            "HistoryLength = 'long'",
            "invalid expression: invalid value type for search attribute HistoryLength of type Int: "
            '"long" (type: string)',
        ),
        ("StartTime > '2024-05-01'", "invalid expression: unable to parse datetime '2024-05-01'"),
        (
            "StartTime > '2024-13-01T00:00:00Z'",
            "invalid expression: unable to parse datetime '2024-13-01T00:00:00Z'",
        ),
        (
            "ExecutionDuration > 'long'",
            "invalid expression: invalid duration value for search attribute ExecutionDuration: long",
        ),
        ("ExecutionStatus = 'Lost'", "invalid expression: invalid ExecutionStatus value 'Lost'"),
        ("ExecutionStatus = 77", "invalid expression: invalid ExecutionStatus value 77"),
        (
            "Paid = 'yes'",
            'invalid expression: invalid value type for search attribute Paid of type Bool: "yes" (type: string)',
        ),
        (
            "Paid BETWEEN true AND false",
            "invalid expression: cannot do range condition on search attribute 'Paid' of type Bool",
        ),
        (
            "Tags STARTS_WITH 'a'",
            "operation is not supported: operator 'STARTS_WITH' not supported for KeywordList type "
            "search attribute 'Tags'",
        ),
        (
            "Note IN ('a')",
            "operation is not supported: operator 'IN' not supported for Text type search attribute 'Note'",
        ),
        (
            "Note = '--'",
            "invalid expression: no tokens found filtering on Text type search attribute Note",
        ),
        ("Unseen = 'red'", "invalid search attribute: Unseen"),
        ("Workflowid = 'a'", "invalid search attribute: Workflowid; did you mean WorkflowId?"),
        ("ExecutionState = 'Running'", "did you mean ExecutionStatus?"),
        ("status = 'Running'", "invalid search attribute: status; did you mean ExecutionStatus?"),
        ("Type = 'payment'", "did you mean WorkflowType?"),
        ("(" * 400 + "WorkflowId = 'a'" + ")" * 400, "nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_temporals_text(query: str, text: str) -> None:
    with pytest.raises(InvalidQueryError) as refusal:
        condition(query)
    assert text in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            "GROUP BY WorkflowType",
            "operation is not supported: 'GROUP BY' clause is not supported for search attribute WorkflowType",
        ),
        (
            "GROUP BY ExecutionStatus, RunId",
            "operation is not supported: 'GROUP BY' clause supports only a single field",
        ),
        ("GROUP BY 1", "must be a column name"),
        ("GROUP BY ExecutionStatus WITH ROLLUP", "operation is not supported"),
        ("ORDER BY StartTime", "operation is not supported: 'ORDER BY' clause"),
    ],
)
def test_what_a_count_refuses(query: str, text: str) -> None:
    with pytest.raises(InvalidQueryError) as refusal:
        condition(query, counting=True)
    assert text in str(refusal.value)


@given(st.text(max_size=40))
def test_any_text_is_compiled_or_refused(query: str) -> None:
    try:
        found = compile_filter(query, SCOPE)
    except InvalidQueryError:
        return
    assert found.sql.count("?") == len(found.parameters)

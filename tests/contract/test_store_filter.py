"""Any list filter finds the same runs in the file, through SQL, as in memory, through another reading of the language."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_records import SECOND, START, attributes, started

from perdure.engine.journal import InvalidQueryError, InvalidTokenError, Page, Scope
from perdure.engine.records import ExecutionClosed, Record
from perdure.store import Store
from perdure.testing.journal import MemoryJournal

IDS = ["a", "ab", "b-1", "it's"]
SCOPE = Scope(
    "default",
    {"Colour": "Keyword", "Amount": "Int", "Rate": "Double", "Paid": "Bool", "Due": "Datetime"}
    | {"Tags": "KeywordList", "Note": "Text", "Plain": "Keyword"},
)


def runs() -> list[Record]:
    records: list[Record] = []
    for number in range(24):
        values = {
            "Colour": ("Keyword", f'"{["red", "blue", "green"][number % 3]}"'.encode()),
            "Amount": ("Int", b"%d" % number),
            "Rate": ("Double", b"%f" % (number / 4)),
            "Paid": ("Bool", [b"true", b"false"][number % 2]),
            "Due": ("Datetime", b'"2024-05-0%dT12:00:00.5+02:00"' % (number % 8 + 1)),
            "Tags": ("KeywordList", [b'["red", "big"]', b'["big"]', b"[]"][number % 3]),
            "Note": ("Text", [b'"The card was declined"', b'"all well"'][number % 2]),
        }
        # each run lacks some of them, so that the rules for what is not there count
        found = attributes(
            **{name: value for at, (name, value) in enumerate(values.items()) if (number + at) % 4}
        )
        run = started(
            f"r{number:02}",
            IDS[number % 4],
            start_time=START // SECOND * SECOND + number * SECOND // 2,
            search_attributes=found,
            version="v1" if number % 6 == 0 else "",
            parent_workflow_id="p" if number % 7 == 0 else "",
            root_workflow_id=IDS[number % 4],
            division="d" if number % 11 == 10 else "",
        )
        records.append(run)
        if number % 5:
            records.append(
                ExecutionClosed(
                    run.run_id,
                    number % 5 + 1,
                    run.start_time + 1,
                    number,
                    number * 10,
                    state_transitions=number,
                )
            )
    return records


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, MemoryJournal]]:
    store, memory = Store.open(tmp_path_factory.mktemp("filter") / "history.duckdb"), MemoryJournal()
    memory.append(runs())
    asyncio.run(store.durable(store.append(runs())))
    yield store, memory
    store.close()


def quoted(values: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(values).map(lambda value: "'" + value.replace("'", "''") + "'")


def comparisons(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
    several = st.lists(values, min_size=1, max_size=3).map(", ".join)
    maybe = st.sampled_from(["", "NOT "])
    return st.one_of(
        st.builds("{0} {1} {2}".format, st.just(name), signs, values),
        st.builds("{0} {1}IN ({2})".format, st.just(name), maybe, several),
        st.builds("{0} {1}BETWEEN {2} AND {3}".format, st.just(name), maybe, values, values),
        st.builds("{0} IS {1}NULL".format, st.just(name), maybe),
    )


def memberships(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(values, min_size=1, max_size=3).map(", ".join)
    return st.one_of(
        st.builds("{0} {1} {2}".format, st.just(name), st.sampled_from(["=", "!="]), values),
        st.builds("{0} {1}IN ({2})".format, st.just(name), st.sampled_from(["", "NOT "]), several),
        st.sampled_from([f"{name} IS NULL", f"{name} IS NOT NULL"]),
    )


TERMS = st.one_of(
    comparisons("WorkflowId", quoted([*IDS, "aa", ""])),
    comparisons("Colour", quoted(["red", "blue", "pink"])),
    comparisons("Amount", st.integers(-1, 25).map(str)),
    comparisons("Rate", st.sampled_from(["0.25", "1", "-2.5", "3"])),
    comparisons("Due", quoted(["2024-05-02T10:00:00.5Z", "2024-05-05T00:00:00+01:00"])),
    comparisons("`StartTime`", st.integers(38, 54).map("'2024-07-03T09:46:{}Z'".format)),
    comparisons("ExecutionDuration", st.sampled_from(["0", "1", "5"])),
    comparisons("HistoryLength", st.integers(0, 25).map(str)),
    comparisons("StateTransitionCount", st.integers(0, 25).map(str)),
    comparisons("ParentWorkflowId", quoted(["p", "q"])),
    comparisons("TemporalRootWorkflowId", quoted(IDS)),
    comparisons("WorkerDeployment", quoted(["payment", "x"])),
    comparisons("TemporalNamespaceDivision", quoted(["d", ""])),
    memberships("Tags", quoted(["red", "big", "small"])),
    memberships("Paid", st.sampled_from(["true", "false"])),
    st.sampled_from(["Note = 'DECLINED all'", "Note != 'card'", "Note IS NULL", "BuildIds IS NULL"]),
    st.sampled_from(
        [
            "ExecutionStatus = 'Running'",
            "ExecutionStatus != 'Failed'",
            "ExecutionStatus > 2",
            "ExecutionStatus IN ('Completed', 'TimedOut')",
        ]
    ),
    st.builds(
        "WorkflowId {0}STARTS_WITH {1}".format, st.sampled_from(["", "NOT "]), quoted(["a", "b-", "it'"])
    ),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds("{0} AND {1}".format, inner, inner),
        st.builds("{0} OR {1}".format, inner, inner),
        st.builds("({0})".format, inner),
        st.builds("NOT ({0})".format, inner),
    ),
    max_leaves=5,
)


ORDERS = st.sampled_from(
    [
        "",
        " ORDER BY Amount",
        " ORDER BY Colour DESC, Rate",
        " ORDER BY CloseTime, StartTime DESC",
        " order by Due desc",
    ]
)


def listed(journal: Store | MemoryJournal, query: str, size: int = 100) -> list[str]:
    """All pages, one after the other."""
    found: list[str] = []
    page = Page([])
    while True:
        page = asyncio.run(journal.list_executions(SCOPE, query, size, page.next))
        assert len(page.rows) <= size
        found += [row.run_id for row in page.rows]
        if not page.next:
            return found


@settings(max_examples=80, deadline=None)
@given(FILTERS, ORDERS)
def test_the_file_and_the_memory_find_the_same_runs(
    journals: tuple[Store, MemoryJournal], query: str, order: str
) -> None:
    found, expected = [listed(journal, query + order) for journal in journals]
    assert found == expected


@settings(max_examples=20, deadline=None)
@given(FILTERS, ORDERS, st.integers(1, 7))
def test_pages_make_up_the_whole(
    journals: tuple[Store, MemoryJournal], query: str, order: str, size: int
) -> None:
    whole = listed(journals[0], query + order)
    for journal in journals:
        assert listed(journal, query + order, size) == whole


@settings(max_examples=20, deadline=None)
@given(FILTERS, st.sampled_from(["", " GROUP BY ExecutionStatus", " GROUP BY TemporalNamespaceDivision"]))
def test_both_count_the_same(journals: tuple[Store, MemoryJournal], query: str, group: str) -> None:
    found, expected = [
        sorted(asyncio.run(journal.count_executions(SCOPE, query + group))) for journal in journals
    ]
    assert found == expected


@pytest.mark.parametrize(
    "query", ["Tags > 'a'", "Note IN ('a')", "Nope = 1", "Paid BETWEEN true AND false", "Amount = 'x'"]
)
def test_both_refuse_the_same(journals: tuple[Store, MemoryJournal], query: str) -> None:
    for journal in journals:
        with pytest.raises(InvalidQueryError):
            asyncio.run(journal.list_executions(SCOPE, query, 10))


def test_open_runs_come_first_then_those_that_closed_last(journals: tuple[Store, MemoryJournal]) -> None:
    for journal in journals:
        found = listed(journal, "")
        assert found[:4] == ["r20", "r15", "r05", "r00"]  # r10 is of another division
        assert found[4:7] == ["r23", "r22", "r19"]


def test_a_page_token_is_for_its_own_list(journals: tuple[Store, MemoryJournal]) -> None:
    for journal in journals:
        token = asyncio.run(journal.list_executions(SCOPE, "", 2)).next
        for query, given_token in (("Amount > 1", token), ("", b"xx"), ("", b"[1, 2]")):
            with pytest.raises(InvalidTokenError):
                asyncio.run(journal.list_executions(SCOPE, query, 2, given_token))


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Run r1 with a search attribute of every type, r2 with none."""
    store = Store.open(tmp_path_factory.mktemp("typed") / "history.duckdb")
    found = attributes(
        Tags=("KeywordList", b'["red", "big"]'),
        Note=("Text", b'"The card was declined"'),
        Rate=("Double", b"0.25"),
        Paid=("Bool", b"true"),
        Due=("Datetime", b'"2024-05-01T12:00:00.5+02:00"'),
        Plain=("", b'["p"]'),
    )
    division = started("hidden", division="d")
    asyncio.run(
        store.durable(store.append([started("r1", search_attributes=found), started("r2"), division]))
    )
    yield store
    store.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Tags = 'red'", "r1"),
        ("Tags = 'small'", ""),
        ("Tags != 'small'", "r1 r2"),
        ("Tags IN ('small', 'big')", "r1"),
        ("Tags NOT IN ('small', 'big')", "r2"),
        ("Note = 'DECLINED'", "r1"),
        ("Note = 'late'", ""),
        ("Note != 'late'", "r1 r2"),
        ("Rate < 0.5", "r1"),
        ("Rate BETWEEN 1 AND 2", ""),
        ("Paid = true", "r1"),
        ("Paid = false", ""),
        ("Due = '2024-05-01T10:00:00.5Z'", "r1"),
        ("Due > '2024-05-01T10:00:00.5Z'", ""),
        ("Plain STARTS_WITH 'p'", "r1"),
        ("Due IS NULL", "r2"),
        ("TemporalNamespaceDivision = 'd'", "hidden"),
        ("NamespaceDivision IS NOT NULL", "hidden"),
        ("ExecutionDuration > '1s'", ""),
        ("WorkerDeploymentVersion IS NULL", "r1 r2"),
        ("Tags != 'red'", "r2"),
        ("Note != 'declined'", "r2"),
        ("NOT Tags = 'red'", "r2"),
        ("Rate != 0.25", ""),
    ],
)
def test_search_attributes_of_every_type_are_found(typed: Store, query: str, found: str) -> None:
    assert set(listed(typed, query)) == set(found.split())

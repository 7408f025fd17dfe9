"""Any list filter finds the same runs in the file, through SQL, as in memory, through another reading of the language."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_records import SECOND, START, attributes, started

from perdure.engine.records import ExecutionClosed, Record
from perdure.store import Store
from perdure.testing.journal import MemoryJournal

IDS = ["a", "ab", "b-1", "it's"]


def runs() -> list[Record]:
    records: list[Record] = []
    for number in range(24):
        found = attributes(
            Colour=("Keyword", f'"{["red", "blue", "green"][number % 3]}"'.encode()),
            Amount=("Int", b"%d" % number),
        )
        run = started(
            f"r{number:02}",
            IDS[number % 4],
            start_time=START // SECOND * SECOND + number * SECOND // 2,
            search_attributes=found,
        )
        records.append(run)
        if number % 5:
            records.append(
                ExecutionClosed(run.run_id, number % 5 + 1, run.start_time + 1, number, number * 10)
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


TERMS = st.one_of(
    comparisons("WorkflowId", quoted([*IDS, "aa", ""])),
    comparisons("Colour", quoted(["red", "blue", "pink"])),
    comparisons("Amount", st.integers(-1, 25).map(str)),
    comparisons("`StartTime`", st.integers(38, 54).map("'2024-07-03T09:46:{}Z'".format)),
    st.sampled_from(
        [
            "ExecutionStatus = 'Running'",
            "ExecutionStatus != 'Failed'",
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


@settings(max_examples=60, deadline=None)
@given(FILTERS)
def test_the_file_and_the_memory_find_the_same_runs(
    journals: tuple[Store, MemoryJournal], query: str
) -> None:
    found, expected = [
        [row.run_id for row in asyncio.run(journal.list_executions("default", query, 100, None))]
        for journal in journals
    ]
    assert found == expected


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
        Plain=("", b'"p"'),
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
        ("Tags != 'small'", "r1"),
        ("Tags IN ('small', 'big')", "r1"),
        ("Tags NOT IN ('small', 'big')", ""),
        ("Note = 'DECLINED'", "r1"),
        ("Note = 'late'", ""),
        ("Note != 'late'", "r1"),
        ("Rate < 0.5", "r1"),
        ("Rate BETWEEN 1 AND 2", ""),
        ("Paid = true", "r1"),
        ("Paid = false", ""),
        ("Due = '2024-05-01T10:00:00.5Z'", "r1"),
        ("Due > '2024-05-01T10:00:00.5Z'", ""),
        ("Plain STARTS_WITH 'p'", "r1"),
        ("Due IS NULL", "r2"),
        ("TemporalNamespaceDivision = 'd'", "hidden"),
        ("NamespaceDivision IS NOT NULL", ""),
        ("ExecutionDuration > '1s'", ""),
        ("WorkerDeploymentVersion IS NULL", "r1 r2"),
    ],
)
def test_search_attributes_of_every_type_are_found(typed: Store, query: str, found: str) -> None:
    rows = asyncio.run(typed.list_executions("default", query, 10, None))
    assert {row.run_id for row in rows} == set(found.split())

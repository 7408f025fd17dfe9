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

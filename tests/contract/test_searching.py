"""Search attributes as people use them: a typed key in a cell is enough."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from worker_cells import cell

import perdure
from perdure.authoring.registry import Registry
from perdure.session import Session
from perdure.testing import session as project

CELL = """
from temporalio import workflow
from temporalio.common import SearchAttributeKey

STAGE = SearchAttributeKey.for_keyword("Stage")

@workflow.defn(name="parcel")
class Parcel:
    @workflow.run
    async def run(self) -> str:
        workflow.upsert_search_attributes([STAGE.value_set("packed")])
        return workflow.info().typed_search_attributes[STAGE]
"""
COLOUR = SearchAttributeKey.for_keyword("Colour")
PACKED = "Stage = 'packed'"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    registry = Registry()
    with project(tmp_path_factory.mktemp("searching"), jumping=False, registry=registry) as opened:
        cell(registry, "workflow", "parcel", "v1", CELL.replace("class Parcel", "class parcel"))
        yield opened


def test_typed_keys_register_themselves(here: Session) -> None:
    red = TypedSearchAttributes([SearchAttributePair(COLOUR, "red")])
    run = perdure.start("parcel", search_attributes=red)
    assert run.result(timeout="30s") == "packed"
    assert perdure.runs(PACKED)["id"].tolist() == [run.id]
    assert perdure.runs("Colour = 'red' ORDER BY StartTime")["id"].tolist() == [run.id]


def test_a_key_of_another_type_is_refused(here: Session) -> None:
    wrong = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_int("Stage"), 1)])
    with pytest.raises(perdure.RunError, match="'Stage' is of type Keyword, not Int"):
        perdure.start("parcel", search_attributes=wrong)


def test_a_name_without_a_type_comes_with_the_remedy(here: Session) -> None:
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(perdure.RunError, match="`perdure search-attribute add Size keyword`"),
    ):
        perdure.start("parcel", search_attributes={"Size": ["large"]})


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "perdure.cli", "search-attribute", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line(tmp_path: Path) -> None:
    assert command(tmp_path, "add", "Colours", "keyword list").returncode == 0
    listed = dict(line.split() for line in command(tmp_path, "list").stdout.splitlines())
    assert listed["Colours"] == "KeywordList"
    assert listed["CloseTime"] == "Datetime"
    assert "There is no type 'red'" in command(tmp_path, "add", "Colours", "red").stderr
    assert command(tmp_path, "add", "Colours").returncode == 1

"""Kills at random instants lose nothing and repeat nothing. `make chaos` does the same with 200 kills and more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chaos import Report, chaos
from chaos_checks import check

KILLS = {1: 4, 2: 2}  # by how many kernels share the file


@pytest.fixture(scope="module", params=[1, 2])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("chaos")
    return folder, chaos(folder, kills=KILLS[request.param], kernels=request.param, at_once=10)


def test_kills_lose_nothing_and_repeat_nothing(killed: tuple[Path, Report]) -> None:
    _, report = killed
    assert report.findings.problems == [], report.text()
    assert sum(report.killed.values()) in KILLS.values()
    assert report.findings.replayed == report.findings.runs > 0 < report.findings.cases


def test_the_checks_see_what_is_wrong(killed: tuple[Path, Report]) -> None:
    """Accounts that do not agree are told apart: without this the test above could pass for nothing."""
    folder, report = killed
    lines = (folder / "ledger").read_text().splitlines()
    ends = [line for line in map(json.loads, lines) if line["what"] == "end"]
    repeated = {**ends[0], "what": "begin", "token": ""}
    unknown = [line for line in lines if ends[-1]["token"] not in line]
    (folder / "other").write_text("\n".join([*unknown, json.dumps(repeated), ""]))
    case = next(case for case in report.cases if case.id == "mailbox-0")
    case.acknowledged["signal", case.signals[0]] = None
    case.signals.append(99)
    case.acknowledged["signal", 99] = None
    case.acknowledged["update", case.updates[0]] = -1
    case.expected += 1
    script = next(case for case in report.cases if case.steps)
    script.acknowledged[script.steps[-1][:2]] = "something else"
    script.steps[-1] = (*script.steps[-1][:2], 0)

    problems = "\n".join(check(folder / "history.duckdb", folder / "other", report.cases).problems)

    assert "was executed again after its completion" in problems
    assert "has the result of an execution that is 0 times in the ledger" in problems
    assert "signal 99 was sent 0 times and is 0 times in the history" in problems
    assert f"update {case.updates[0]} was answered with -1" in problems
    assert f"its result must be {case.expected}" in problems
    assert (
        f"{script.id}: {script.steps[-1][0]} {script.steps[-1][1]} answered something else; it must be 0"
        in problems
    )

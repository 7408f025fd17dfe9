"""Subcommands that look: runs, one run, its history, SQL, the project's state."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import Any

from perdure.cli.words import Add, find_run, open_project, takes_run


def add_looking(add: Add) -> None:
    runs = add("runs", _runs, "Lists runs, newest first.", "--status running")
    runs.add_argument("query", nargs="?", default="", help="a Temporal list filter, in quotes")
    runs.add_argument("--status", help="running, paused, completed, failed, canceled, terminated, timedout")
    runs.add_argument("--workflow", help="only runs of this workflow")
    runs.add_argument("--limit", type=int, default=100, help="at most so many; default: 100")
    runs.add_argument("--json", action="store_true", help="as JSON")
    takes_run(add("show", _show, "Draws a run's timeline.", "payment-7"))
    history = takes_run(add("history", _history, "The events of a run.", "payment-7 --json > payment-7.json"))
    history.add_argument("--json", action="store_true", help="in Temporal's JSON, for its tools and Replayer")
    history.add_argument("--attempts", action="store_true", help="the attempts of its activities instead")
    sql = add(
        "sql",
        _sql,
        "Asks the file in SQL, read-only.",
        '"select status, count(*) from executions group by 1"',
    )
    sql.add_argument("query", help="one SELECT; - reads it from standard input")
    sql.add_argument("--csv", action="store_true", help="as CSV")
    sql.add_argument("--json", action="store_true", help="as JSON")
    add("status", _status, "The project's file, who serves it, and how many runs there are.", "")


def _runs(line: argparse.Namespace) -> int:
    from perdure.runs import runs

    open_project(line)
    frame = runs(line.query, status=line.status, workflow=line.workflow, limit=line.limit)
    if line.json:
        print(frame.to_json(orient="records", date_format="iso", indent=2))
    elif frame.empty:
        print("no runs")
    else:
        shown = frame[["id", "type", "status", "started", "took", "events"]].copy()
        shown["started"] = shown["started"].dt.strftime("%Y-%m-%d %H:%M:%S")
        shown["took"] = shown["took"].map(_duration)
        print(shown.to_string(index=False, justify="left"))
    return 0


def _duration(took: Any) -> str:
    seconds = took.total_seconds()
    return "" if seconds != seconds else f"{seconds:.3f} s" if seconds < 60 else str(took).split(".")[0]


def _show(line: argparse.Namespace) -> int:
    from perdure.view import text

    run = find_run(line)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(text(run.timeline(), width=shutil.get_terminal_size((100, 24)).columns, colour=colour))
    return 0


def _history(line: argparse.Namespace) -> int:
    run = find_run(line)
    if line.json:
        print(run.to_json())
    elif line.attempts:
        print(run.attempts().drop(columns=["activity_id"]).to_string(index=False))
    else:
        print(run.history()[["time", "type", "name", "result", "failure"]].fillna("").to_string())
    return 0


def _sql(line: argparse.Namespace) -> int:
    from perdure.runs import sql

    open_project(line)
    frame = sql(line.query if line.query != "-" else sys.stdin.read())
    if line.csv:
        frame.to_csv(sys.stdout, index=False)
    elif line.json:
        print(frame.to_json(orient="records", date_format="iso", indent=2))
    else:
        print(frame.to_string(index=False))
    return 0


def _status(line: argparse.Namespace) -> int:
    opened = open_project(line)
    counted = opened.wait(opened.client.count_workflows("GROUP BY ExecutionStatus"))
    counts = ", ".join(f"{group.count} {str(group.group_values[0]).lower()}" for group in counted.groups)
    print(f"file     {opened.path} ({opened.path.stat().st_size / 1e6:.1f} MB)")
    served = f"by another process at {opened.address}" if opened.role == "joined" else "by nobody else now"
    print(f"served   {served}")
    print(f"runs     {counts or 'none yet'}")
    return 0

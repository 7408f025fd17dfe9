"""Rows and attempts in words: for tooltips, screen readers, tables, and the lines that say why attempts failed."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.view.parts import Attempt, Kind, Row, State, Timeline
from perdure.view.words import duration, instant, rough, shorten

FIRES = "fires in"
KIND_WORDS = {Kind.ACTIVITY: "", Kind.WORKFLOW: "", Kind.LOCAL_ACTIVITY: "local", Kind.CHILD: "child"}


def kind_word(row: Row) -> str:
    """The word before a name in the picture: none for activities, of which most runs are made."""
    return KIND_WORDS.get(row.kind, str(row.kind))


def took(line: Timeline, row: Row) -> str:
    """How long a row took; when it happened, for an instant; how long until it fires, for an open timer."""
    if row.point:
        return f"at {duration(row.start - line.start)}"
    if row.kind is Kind.TIMER and row.end is None and row.due is not None:
        return rough(max(row.due - line.now, 0))
    return duration((line.finish if row.end is None else row.end) - row.start)


def state_word(row: Row) -> str:
    """The state where it is worth a word: not for success and instants. An open timer fires in the time that `took` tells."""
    if row.state is State.COMPLETED or row.point:
        return ""
    if row.kind is Kind.TIMER and row.end is None:
        return FIRES
    return "continued" if row.state is State.CONTINUED_AS_NEW else str(row.state)


def facts(line: Timeline) -> list[str]:
    """The small print: when, how long, which version, what came before and after."""
    said = [f"started {instant(line.start)}"]
    if line.end is None:
        said.append(f"open for {duration(line.finish - line.start)}")
    else:
        said.append(f"took {duration(line.finish - line.start)}")
    if line.version:
        said.append(f"version {shorten(line.version, 16)}")
    if line.parent:
        said.append(f"child of {shorten(line.parent, 40)}")
    if line.previous_run:
        said.append(f"continued from run {line.previous_run[:8]}…")
    if line.next_run:
        said.append(f"goes on as run {line.next_run[:8]}…")
    return said


def notes(row: Row) -> list[str]:
    """Why attempts failed: one line for each different reason, the last three."""
    if row.kind is Kind.WORKFLOW:
        return []
    reasons: dict[str, list[int]] = {}
    for attempt in row.failures:
        reasons.setdefault(reason(attempt), []).append(attempt.number)
    if reasons:
        several = row.tries > 1 or row.state is State.RETRYING
        last = list(reasons.items())[-3:]
        return [f"{_attempts(numbers)}: {said}" if several else said for said, numbers in last]
    if row.fault is None:
        return []
    if row.state.failed:
        return [str(row.fault)]
    return [f"attempt {row.earlier}: {row.fault}"] if row.earlier else []


def reason(attempt: Attempt) -> str:
    """Why an attempt ended as it did; "" when all went well."""
    said = str(attempt.fault) if attempt.fault is not None else ""
    if attempt.state is State.LOST:
        return f"lost, {said}" if said else "lost"
    return said or (str(attempt.state) if attempt.state.failed else "")


def _attempts(numbers: Sequence[int]) -> str:
    return f"attempt {numbers[0]}" if len(numbers) == 1 else f"attempts {ranges(numbers)}"


def ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 5 -> 1–3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(said if len(said) < 6 else [*said[:2], "…", *said[-2:]])


def describe(line: Timeline, row: Row) -> str:
    """A row in full."""
    title = f"{row.kind} {row.name}".strip()
    word = state_word(row)
    lines = [
        f"{title}{'' if row.point else f': {word or row.state}'}{' ' if word == FIRES else ', '}{took(line, row)}"
    ]
    if row.detail:
        lines.append(f"with {shorten(row.detail, 100)}")
    if len(row.attempts) > 1 or row.failures:
        lines += [describe_attempt(line, row, attempt) for attempt in row.attempts[-8:]]
    elif row.fault is not None:
        lines.append(shorten(str(row.fault), 200))
    if row.result:
        lines.append(f"result {shorten(row.result, 100)}")
    return "\n".join(lines)


def describe_attempt(line: Timeline, row: Row, attempt: Attempt) -> str:
    """attempt 2 of 5: failed, 1.2 s, kernel 1 – HTTP 503"""
    said = f"attempt {attempt.number}{f' of {row.max_attempts}' if row.max_attempts else ''}: {attempt.state}"
    if attempt.started is not None:
        said += f", {duration((line.finish if attempt.ended is None else attempt.ended) - attempt.started)}"
    if attempt.worker is not None and len(line.workers) > 1:
        said += f", {line.workers[attempt.worker].label}"
    return f"{said} – {shorten(str(attempt.fault), 160)}" if attempt.fault is not None else said

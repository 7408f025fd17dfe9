"""What a person, a program or an operator does to Temporal's things, step by step, while processes are killed.

A script is a list of steps (what, number), each asked again until it is acknowledged, then the next one. `chaos_requests` carries them
out in a kernel. What each must answer stands beside it; ANY is for answers that are not known before. Steps behind `late` are
asked only when the last kill is over: what was acknowledged long ago must still be so.
"""

from __future__ import annotations

from chaos_checks import ANY, Case, Step

_START, _RESULT = ("start", 0, ANY), ("result", 0, ANY)
Script = tuple[str, list[int], int, list[Step], list[Step]]  # workflow, args, its result, steps, late ones


def _signal(number: int) -> Step:
    return ("signal", number, ANY)


def _update(number: int) -> Step:
    return ("update_id", number, [number + 1, number + 1])


def _post(number: int) -> int:
    return number * number


def scripts() -> dict[str, Script]:
    """All of them, by name."""
    return {
        "resets": (
            *("mailbox", [4, 1], sum(map(_post, (1, 2, 3, 4, 101)))),
            [
                *(_START, _signal(1), _signal(2), ("reset", 0, ANY), _signal(3), _update(101)),
                *(("reset", 1, ANY), _signal(4), _RESULT),
            ],
            [],
        ),
        "paused": (
            *("mailbox", [3, 0], sum(map(_post, (1, 2, 3)))),
            [
                *(_START, _signal(1), ("pause", 0, True), ("status", 0, "PAUSED"), _signal(2)),
                *(("status", 1, "PAUSED"), ("unpause", 0, True), ("status", 2, "RUNNING")),
                *(_signal(3), _RESULT),
            ],
            [],
        ),
        "operated": (
            *("gated", [7], 7),
            [
                *(_START, ("failed", 0, True), ("pause_activity", 0, True), ("update_activity", 0, True)),
                *(
                    ("reset_activity", 0, True),
                    ("activity", 0, [True, 1, 50]),
                    ("activity", 1, [True, 1, 50]),
                ),
                *(("open_gate", 0, True), _RESULT),
            ],
            [],
        ),
        "alone": ("", [], 0, [("start_alone", 0, ANY), ("result_alone", 0, [6])], []),
        "stubborn": ("", [], 0, [("start_alone", 2, ANY), ("result_alone", 2, [4])], []),
        "again": (
            *("mailbox", [], _post(1) + _post(101)),
            [("signal_with_start", 1, 1), _update(101), _RESULT],
            [],
        ),
        "answered": ("mailbox", [], _post(101), [("update_with_start", 101, 102), _RESULT], []),
        "cron": (
            *("", [], 0),
            [("start_cron", 0, ANY), ("rounds", 3, True), ("terminate", 0, True), ("end", 0, "TERMINATED")],
            [],
        ),
        "endless": (
            *("", [], 0),
            [("start", 0, ANY), ("rounds", 3, True), ("cancel", 0, True), ("end", 0, "CANCELED")],
            [("end", 1, "CANCELED")],
        ),
        "schedule": (
            *("", [], 0),
            [("schedule", 0, True), ("scheduled", 0, [4, 4, 3]), ("unschedule", 0, True)],
            [("unscheduled", 0, True)],
        ),
        "batch": (
            *("", [], 0),
            [
                *(("start_many", 0, 5), ("batch", 0, [5, 5, 0]), ("signals", 0, [1] * 5)),
                *(("batch", 1, [5, 5, 0]), ("many", 0, 0)),
            ],
            [("many", 1, 0)],
        ),
        "documents": (
            *("", [], 0),
            [
                *(("namespace", 0, True), ("namespace_is", 0, True), ("attribute", 0, True)),
                *(("attribute_is", 0, True), ("deployment", 1, True), ("deployment_is", 1, "build-1")),
                *(("deployment", 2, True), ("deployment_is", 2, "build-2")),
            ],
            [("namespace_is", 1, True), ("attribute_is", 1, True), ("deployment_is", 3, "build-2")],
        ),
        "deleted": (
            *("chain", [3], 3),
            [_START, _RESULT, ("delete", 0, True), ("gone", 0, True)],
            [("gone", 1, True)],
        ),
    }


def scripted(name: str, number: int) -> Case:
    """A case that follows a script."""
    workflow, args, expected, steps, late = scripts()[name]
    numbers = {what: [n for step, n, _ in steps if step == what] for what in ("signal", "update_id")}
    return Case(
        f"{name}-{number}",
        workflow or name,
        args,
        expected,
        signals=numbers["signal"],
        steps=steps,
        late=late,
        checked=bool(workflow) and name != "deleted",
    )

"""What may stand where a perdure magic is being typed."""

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from perdure_jupyter import completion
from perdure_jupyter.completion import Matcher


def texts(line: str) -> list[str] | None:
    found = Matcher().candidates(line)
    return None if found is None else [text for text, _ in found]


@pytest.mark.parametrize(
    "line", ["", "print(1)", "%work", "workflow start", "%%timeit x", "# %workflow list"]
)
def test_other_lines_are_left_to_others(line: str) -> None:
    assert texts(line) is None


def test_subcommands_come_first() -> None:
    found = texts("%workflow ")
    assert found is not None
    assert {"start", "list", "show", "result", "signal", "query", "update", "cancel", "terminate"} <= set(
        found
    )
    assert {"history", "move", "worker", "status", "connect", "disconnect", "help"} <= set(found)


def test_an_assignment_is_completed_as_well() -> None:
    assert "start" in (texts("run = %workflow sta") or [])


def test_options_of_the_subcommand() -> None:
    assert "--run-id" in (texts("%workflow show payment-7 --") or [])
    assert "--task-queue" in (texts("%workflow start payment --") or [])
    assert {"--namespace", "--api-key-env", "--tls-ca"} <= set(texts("%workflow connect host:7233 --") or [])


def test_options_of_cells_are_those_of_authoring() -> None:
    assert {"--timeout", "--retries", "--heartbeat"} <= set(texts("%%activity --timeout 30s --") or [])
    assert "--execution-timeout" in (texts("%%workflow --") or [])


def test_help_takes_a_subcommand() -> None:
    assert "signal" in (texts("%workflow help ") or [])


def test_nothing_is_known_of_later_arguments() -> None:
    assert texts("%workflow signal payment-7 app") == []


def test_no_session_is_opened_for_a_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_open_session", lambda: None)
    assert texts("%workflow show ") == []


def test_a_slow_engine_holds_the_kernel_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Future[list[str]] = Future()
    monkeypatch.setattr(completion, "_open_session", lambda: SimpleNamespace(loop=None))
    monkeypatch.setattr(completion, "_ask", lambda session: answers)
    matcher = Matcher()
    began = time.monotonic()
    assert matcher.recent_ids() == []
    assert time.monotonic() - began < 0.5
    answers.set_result(["payment-7"])
    assert matcher.recent_ids() == ["payment-7"]


def test_ids_are_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(session: Any) -> Future[list[str]]:
        asked.append(session)
        answer: Future[list[str]] = Future()
        answer.set_result([f"payment-{len(asked)}"])
        return answer

    monkeypatch.setattr(completion, "_open_session", lambda: SimpleNamespace())
    monkeypatch.setattr(completion, "_ask", ask)
    matcher = Matcher()
    assert matcher.recent_ids() == matcher.recent_ids() == ["payment-1"]

"""Daemon threads as an executor: results, errors, reuse, and an end that nobody waits for."""

from __future__ import annotations

import threading

import pytest

from perdure.worker.executor import DaemonThreads


def test_results_and_errors_reach_the_future() -> None:
    threads = DaemonThreads(2, "test")
    assert threads.submit(divmod, 7, 2).result(5) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(5)
    threads.shutdown()


def test_threads_are_daemons_reused_and_at_most_as_many_as_asked() -> None:
    threads = DaemonThreads(2, "test-few")
    gate = threading.Event()
    names = [threads.submit(lambda: (gate.wait(5), threading.current_thread())[1]) for _ in range(6)]
    gate.set()
    used = {future.result(5) for future in names}
    assert len(used) == 2
    assert all(thread.daemon and thread.name.startswith("test-few") for thread in used)
    threads.shutdown()


def test_shutdown_takes_no_more_and_cancels_what_waits() -> None:
    threads = DaemonThreads(1, "test-end")
    gate = threading.Event()
    busy = threads.submit(gate.wait, 5)
    waiting = threads.submit(int)
    threads.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    gate.set()
    assert busy.result(5) is True
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int)

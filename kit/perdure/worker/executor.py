"""Threads that never keep a process from ending.

The threads of `concurrent.futures.ThreadPoolExecutor` are joined when the interpreter exits, so an activity
that computes for ten minutes would hold a closing kernel for ten minutes. These are daemon threads: what
they had not finished is tried again by whoever opens the file next. The class is a ThreadPoolExecutor
because the SDK asks for one by type.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_names = itertools.count(1)


class DaemonThreads(ThreadPoolExecutor):
    """Runs calls on at most `max_workers` daemon threads, started when they are needed and kept."""

    def __init__(self, max_workers: int, name: str) -> None:
        super().__init__(max_workers, thread_name_prefix=name)  # starts no thread before a submit
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._name = name
        self._size = max_workers
        self._started = 0
        self._closed = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        with self._guard:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future: Future[_T] = Future()
            self._calls.put((future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and self._started < self._size:
                self._started += 1
                name = f"{self._name}-{next(_names)}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; threads end when the queue is empty. Never waits: the threads are daemons."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            if cancel_futures:
                self._cancel_queued()
            for _ in range(self._started):
                self._calls.put(None)

    def _cancel_queued(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None:
                call[0].cancel()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, run = call
            if future.set_running_or_notify_cancel():
                try:
                    result = run()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del call, future, run  # no references to a call's values while waiting for the next
            self._idle.release()

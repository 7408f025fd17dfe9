"""Threads with an event loop, and hops between loops.

The engine, its gRPC server and the gRPC channel of a joined process live on one thread's loop for as long
as the process is a member of the project; whoever calls from elsewhere (the kernel's loop, the worker's, a
plain thread) hops there. One loop for both roles also keeps grpc.aio on a single loop, which is what it is
made for.

Hops run in an empty context, so that what the engine does for a cell is not taken for that cell's output.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any, TypeVar

from perdure.errors import PerdureError
from perdure.frontend.forks import ForkedError, refuse_fork

T = TypeVar("T")

_closing: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class ClosedLoopError(PerdureError):
    """The loop that should do the work has been closed."""


class LoopThread:
    """A daemon thread that runs an event loop.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            _cancel_all(self.loop)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            _cancel_all(self.loop)  # what was submitted while the loop was stopping
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Blocks this thread until `work` is done on the loop. Ctrl-C cancels the work."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("A thread cannot wait for its own event loop; await the coroutine instead.")
        future = submit(self.loop, work)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    @property
    def usable(self) -> bool:
        """False once closed, and in forks, where the thread does not exist."""
        return os.getpid() == self.pid and not self.loop.is_closed()

    def close(self, timeout: float = 10.0) -> None:
        """Cancels what runs on the loop, stops it, joins the thread. Does nothing twice, or in a fork."""
        if not self.usable:
            return
        _closing.add(self.loop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def submit(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Future[T]:
    """Starts `work` on another thread's loop. Raises ForkedError in a fork, ClosedLoopError after the end."""
    try:
        refuse_fork()
        if loop in _closing:
            raise RuntimeError("The loop is closing.")
        return Context().run(asyncio.run_coroutine_threadsafe, work, loop)
    except ForkedError:
        work.close()
        raise
    except RuntimeError as error:
        work.close()
        raise _closed() from error


def _closed() -> ClosedLoopError:
    return ClosedLoopError("The project is closed in this process.", "Open it again: perdure.session().")


async def hop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` on `loop`, from any loop. Cancelling the wait cancels the work."""
    if asyncio.get_running_loop() is loop:
        return await work
    future = submit(loop, work)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _closed() from None  # not the caller but the loop has been stopped


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` until it is done, even when the waiting task is cancelled: that takes effect afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def hop_each(
    loop: asyncio.AbstractEventLoop, source: Callable[[], AsyncIterator[T]]
) -> AsyncIterator[T]:
    """Iterates on `loop`, from any loop; closes the iterator there when this one is closed."""
    end: Any = object()
    iterator = source()

    async def advance() -> T:
        return await anext(iterator, end)

    async def finish() -> None:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()

    try:
        while (item := await hop(loop, advance())) is not end:
            yield item
    finally:
        await hop(loop, finish())

"""Opens the project's file when the extension is loaded, if there is one, so that open runs go on by themselves.

In a front end this happens after the `%load_ext` cell: loading stays instant, and one line under the cell tells what
continues. What must be imported is imported on the kernel's own thread, when it is idle: packages that two threads import
at once can come out half made. Then a thread opens the file. Without a front end (papermill, nbclient) nobody waits for a
prompt, and a line that comes after its cell would be lost, so it is done at once. A file that cannot be opened is
reported in a few lines and is no reason to refuse the extension.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from typing import TYPE_CHECKING, Any

from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.session import Session

NAMED = 3  # runs that the line names; more are counted


def open_known_file(shell: Any) -> None:
    from perdure.project_file import project_file

    if not project_file().exists():
        return
    kernel = getattr(shell, "kernel", None)
    if kernel is not None and not kernel.get_parent().get("content", {}).get("allow_stdin", False):
        _open()
        return
    # The copied context makes what the thread prints appear under the cell that loads the extension.
    context = contextvars.copy_context()
    try:
        asyncio.get_running_loop().call_soon(_import_then_open, context=context)
    except RuntimeError:  # a terminal: it has no loop between its cells
        context.run(_import_then_open)


def _import_then_open() -> None:
    from perdure.session import preload

    preload()
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_open,), name="perdure-open", daemon=True).start()


def _open() -> None:
    from temporalio.service import RPCError

    from perdure.session import session

    try:
        opened = session()
        line = opened.wait(_continuing(opened))
    except (PerdureError, RPCError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    else:
        if line:
            print(line, flush=True)


async def _continuing(session: Session) -> str:
    """ "2 runs continue: payment-7, payment-8"; "" if none is open."""
    running = "ExecutionStatus = 'Running'"
    ids = [
        run.id async for run in session.client.list_workflows(running, limit=NAMED + 1, page_size=NAMED + 1)
    ]
    if not ids:
        return ""
    number = len(ids) if len(ids) <= NAMED else (await session.client.count_workflows(running)).count
    more = f" and {number - NAMED} more" if number > NAMED else ""
    return f"{number} {'run continues' if number == 1 else 'runs continue'}: {', '.join(ids[:NAMED])}{more}"

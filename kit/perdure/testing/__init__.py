"""What tests of durable code need: time that jumps, a file that is gone afterwards, an engine without a disk.

`session()` opens a project in a temporary folder whose clock jumps to the next due timer as soon as nothing
is in flight, so a workflow that sleeps for 30 days ends in milliseconds. `JumpingClock` and `MemoryJournal`
are its parts, for tests of the engine alone.

For tests that are written for Temporal: `await time_skipping()` is its WorkflowEnvironment on an engine of this process, and
`server_path()` names a program that its SDKs can start as their test server or dev server, without a download.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.testing.clock import JumpingClock
    from perdure.testing.environment import time_skipping
    from perdure.testing.journal import MemoryJournal
    from perdure.testing.project import session
    from perdure.testing.server import server_path

__all__ = ["JumpingClock", "MemoryJournal", "server_path", "session", "time_skipping"]

_HOMES = {
    "JumpingClock": "perdure.testing.clock",
    "MemoryJournal": "perdure.testing.journal",
    "server_path": "perdure.testing.server",
    "session": "perdure.testing.project",
    "time_skipping": "perdure.testing.environment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

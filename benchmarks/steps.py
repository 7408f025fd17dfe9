"""What an activity of a measurement does: nearly nothing, but it leaves a trace that a kill does not take away.

A line in a file tells when which process did a step. It is not synced: it only has to survive the process. The step
that brings the file to `BENCH_KILL_AFTER` lines kills its own process, as `kill -9` would.
"""

from __future__ import annotations

import os
import signal
import time

_trace = os.environ.get("BENCH_TRACE")
_kill_after = int(os.environ.get("BENCH_KILL_AFTER", "0"))
_descriptor = os.open(_trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if _trace else -1
_WIDTH = 32


def did_step() -> None:
    """Notes the time of a step, if this measurement is about kills."""
    if _descriptor < 0:
        return
    os.write(_descriptor, f"{time.time():.6f} {os.getpid()}".ljust(_WIDTH - 1).encode() + b"\n")
    if _kill_after and os.fstat(_descriptor).st_size >= _kill_after * _WIDTH:
        os.kill(os.getpid(), signal.SIGKILL)

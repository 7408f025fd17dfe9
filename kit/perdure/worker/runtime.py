"""The SDK's Rust core in this process: one runtime, which writes nothing into notebooks.

Core logs each failed workflow task to file descriptor 1, and the SDK's Python side logs it with a stack; in
a notebook both would land in some cell. The history tells the same in better words, so core logs errors
only, and the SDK's loggers get a handler, which keeps Python from printing what no one else handles. Who
configures logging gets everything, as usual.
"""

from __future__ import annotations

import logging
import os
from functools import cache

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

BUILD_ID = "perdure"  # a fixed one: the SDK's default reads every loaded module, for 40 to 90 ms


def runtime() -> Runtime:
    """The runtime for clients, workers and replays; a forked child gets its own, threads do not survive a
    fork."""
    return _runtime_of(os.getpid())


@cache
def _runtime_of(pid: int) -> Runtime:
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    quiet = LoggingConfig(TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=quiet))

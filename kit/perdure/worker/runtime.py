"""The SDK's Rust core in this process: one runtime, which writes nothing into notebooks.

Core logs each failed workflow task to file descriptor 1, and the SDK's Python side logs it with a stack; in a
notebook both would land in some cell. The history tells the same in better words, so core logs errors only,
and the SDK's loggers get a handler, which keeps Python from printing what no one else handles. Who configures
logging gets everything, as usual; who has set a default runtime keeps it.
"""

from __future__ import annotations

import logging
from functools import cache

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

BUILD_ID = "perdure"  # a fixed one: the SDK's default reads every loaded module, for 40 to 90 ms


@cache
def runtime() -> Runtime:
    """The runtime for clients, workers and replays. To be called before the first connection."""
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    quiet = LoggingConfig(TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    try:
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=quiet)))
    except RuntimeError:
        logging.getLogger(__name__).debug("this process has set a default runtime of its own")
    return Runtime.default()

"""A real IPython kernel in a process of its own, driven as front ends drive it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

TIMEOUT = 60


@dataclass
class Cell:
    """What running one cell gave."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message["header"]["msg_type"] == kind]

    @property
    def text(self) -> str:
        """What was printed, stdout and stderr."""
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The MIME bundles that the cell displays, its result included."""
        return [content["data"] for content in [*self.of("display_data"), *self.of("execute_result")]]

    @property
    def result(self) -> str:
        return str(self.shown[-1]["text/plain"]) if self.shown else ""

    @property
    def error(self) -> str:
        """The traceback as front ends show it; "" when the cell succeeded."""
        return "\n".join("\n".join(content["traceback"]) for content in self.of("error"))


class Kernel:
    """A kernel with a client. `front_end`: whether somebody could look at the outputs (JupyterLab), or not (papermill)."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient, front_end: bool) -> None:
        self.manager = manager
        self.client = client
        self.front_end = front_end

    def run(self, code: str) -> Cell:
        return self.finish(self.start(code))

    def ok(self, code: str) -> Cell:
        """Runs a cell that must succeed."""
        cell = self.run(code)
        assert not cell.error, cell.error
        return cell

    def start(self, code: str) -> str:
        """Sends a cell and does not wait."""
        return str(self.client.execute(code, allow_stdin=self.front_end))

    def finish(self, sent: str) -> Cell:
        cell = Cell()
        for message in self.messages(sent):
            cell.messages.append(message)
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return cell
        raise AssertionError("the kernel never became idle")

    def messages(self, sent: str | None = None) -> Iterator[dict[str, Any]]:
        """What comes on iopub; with `sent`, only what belongs to that request."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT)
            if sent is None or message["parent_header"].get("msg_id") == sent:
                yield message

    def complete(self, code: str) -> list[str]:
        reply = self.client.complete(code, reply=True, timeout=TIMEOUT)
        return list(reply["content"]["matches"])


@contextmanager
def kernel(home: Path, *, front_end: bool = True) -> Iterator[Kernel]:
    """A kernel whose project is in `home`, with a profile of its own."""
    manager = KernelManager(kernel_name="python3")
    environment = os.environ | {"PERDURE_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    manager.start_kernel(cwd=str(home), env=environment)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=TIMEOUT)
        yield Kernel(manager, client, front_end)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()

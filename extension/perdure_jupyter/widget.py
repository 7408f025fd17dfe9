"""The model behind one output's live picture of a run.

An anywidget whose only state is the newest frame. Everything later goes as custom messages, both ways: ipykernel delivers comms on other
threads, and a trait that changes while a cell is awaited can jam the widget's sync. A page that is loaded again asks for the state; it gets
the newest frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from perdure_jupyter.frame import resource


class RunWidget(anywidget.AnyWidget):
    """Shows frames (`perdure_jupyter.frame.frame`) and passes on what people do.

    Args:
        output: the key by which the output's script finds the model (see run.js).
        first: the frame to begin with.
        receive: called with each message of a front end, on the kernel's threads.
    """

    _esm = resource("run.js")
    _css = resource("run.css")
    # Read when a front end asks, never assigned: an assignment would send it.
    frame = traitlets.Dict().tag(sync=True, to_json=lambda _, widget: widget.newest)

    output = traitlets.Unicode().tag(sync=True)

    def __init__(self, output: str, first: dict[str, Any], receive: Callable[[dict[str, Any]], None]) -> None:
        self.newest = first
        super().__init__(output=output)
        # ipykernel 7 sends a front end's messages to the thread from which the kernel wrote last, which for ours is the
        # main one; it may be busy with a cell that waits for the very run that somebody wants to cancel. Theirs come in
        # on a subshell, and can stay there.
        self.comm._reply_subshell_for = lambda _data, subshell: subshell
        self.on_msg(lambda _widget, content, _buffers: receive(content))

    def push(self, message: dict[str, Any]) -> None:
        """Sends a message to all views; from any thread."""
        if message["kind"] == "frame":
            self.newest = message
        self.send(message)

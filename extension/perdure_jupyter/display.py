"""How a run is displayed in a kernel.

    a front end is there, the run is open      the static picture, and a model that brings it to life until the run closes
    otherwise (closed, papermill, nbclient)    the static picture

The output itself is HTML and text, in the page and in the file: a notebook that is opened without its kernel shows the picture, where a
widget's view would show an error. Front ends that keep each output in a frame of its own get the widget's view beside it.

Whether somebody is there is told by `allow_stdin` of the request that runs the cell: who cannot be asked cannot look either. Runs
display themselves (`ipython_display_formatter`), because the output needs a display id to be renewed.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from perdure import view
from perdure.frontend.loops import ClosedLoopError
from perdure_jupyter.frame import frame, static_bundle
from perdure_jupyter.live import Follower
from perdure_jupyter.widget import RunWidget

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def front_end(shell: Any) -> bool:
    """Is there someone who can look at a live picture of the cell that runs now?"""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin", False))


def framed() -> bool:
    """Does the front end put each output into a frame of its own (VS Code, Colab)?"""
    return "google.colab" in sys.modules or any(name.startswith("VSCODE_") for name in os.environ)


class Output:
    """One output that shows a live run."""

    def __init__(self, pictures: Pictures, follower: Follower, timeline: view.Timeline, cell: str) -> None:
        self.cell = cell
        self.follower = follower
        self._pictures = pictures
        self._key = uuid4().hex  # of the display, and of the model
        self._widget = RunWidget(self._key, frame(timeline), self._receive)

    def show(self, timeline: view.Timeline) -> None:
        self._publish(timeline, live=True)
        self.follower.submit(self.follower.add(self))

    def send(self, message: dict[str, Any]) -> None:
        self._widget.push(message)

    def keep(self, timeline: view.Timeline) -> None:
        self._publish(timeline, live=True, update=True)

    def settle(self, timeline: view.Timeline) -> None:
        self._publish(timeline, live=False, update=True)
        self.close()

    def close(self) -> None:
        self._pictures.forget(self)
        self._widget.close()

    def drop(self) -> None:
        """The cell runs again: its old output is gone."""
        with suppress(ClosedLoopError):  # the session was closed, its tasks are gone
            self.follower.submit(self.follower.remove(self))
        self.close()

    def _publish(self, timeline: view.Timeline, *, live: bool, update: bool = False) -> None:
        bundle: dict[str, Any] = dict(static_bundle(timeline, self._key if live else ""))
        if live and framed():
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        self._pictures.publish(bundle, self._key, update=update)

    def _receive(self, message: dict[str, Any]) -> None:
        try:
            self.follower.submit(self.follower.receive(self, message))
        except ClosedLoopError as error:
            self.send({"kind": "notice", "text": error.message})


class Pictures:
    """All live displays of a kernel."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._followers: dict[str, Follower] = {}
        self._outputs: set[Output] = set()

    def show(self, run: Any) -> None:
        """Displays a run in the cell that runs now."""
        records = run.records()
        timeline = view.timeline(records, time.time_ns())
        if timeline.end is not None or not front_end(self._shell):
            self.publish(static_bundle(timeline))
            return
        output = Output(self, self._follower(run, records.started.run_id), timeline, self._cell())
        self._outputs.add(output)
        output.show(timeline)

    def begin_cell(self) -> None:
        """A cell is about to run: what it showed before is gone."""
        cell = self._cell()
        for output in [output for output in self._outputs if cell and output.cell == cell]:
            output.drop()

    def publish(self, bundle: dict[str, Any], display_id: str = "", *, update: bool = False) -> None:
        transient = {"display_id": display_id} if display_id else {}
        self._shell.display_pub.publish(data=bundle, metadata={}, transient=transient, update=update)

    def forget(self, output: Output) -> None:
        self._outputs.discard(output)

    def close(self) -> None:
        """Ends all live displays; what they show stays."""
        for output in list(self._outputs):
            output.drop()

    def _cell(self) -> str:
        """The id of the cell that runs, as JupyterLab names it; "" where front ends tell none."""
        return str(self._shell.kernel.get_parent().get("metadata", {}).get("cellId", ""))

    def _follower(self, run: Any, run_id: str) -> Follower:
        follower = self._followers.get(run_id)
        if follower is None:
            follower = Follower(run.session, run.id, run_id, self._end)
            self._followers[run_id] = follower
        return follower

    def _end(self, follower: Follower) -> None:
        if self._followers.get(follower.run_id) is follower:
            del self._followers[follower.run_id]

"""Text of activities is taken whatever happens while it is taken."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Sequence

from perdure.engine.records import Output
from perdure.worker.outputs import Outputs, Printer


class Chatty:
    """Part of a cycle, so that the collector frees it; its end is printed."""

    def __init__(self, printer: Printer) -> None:
        self.me = self
        self.printer = printer

    def __del__(self) -> None:
        self.printer.write("stderr", "gone\n")


def test_what_the_garbage_collector_prints_in_the_middle_of_a_line_blocks_nothing() -> None:
    async def send(lines: Sequence[Output]) -> None:
        sent.extend(lines)

    def work() -> None:
        thresholds = gc.get_threshold()
        try:
            for number in range(200):
                gc.disable()
                Chatty(printer)
                gc.set_threshold(
                    1 + number % 40
                )  # so that it runs at any place, also while the locks are held
                gc.enable()
                for part in range(10):
                    printer.write("stdout", f"line {number}.{part}\n")
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()

    async def flow() -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive(), "a line waits for itself"
        await outputs.flush()

    sent: list[Output] = []
    loop = asyncio.new_event_loop()
    outputs = Outputs(loop, send)
    printer = Printer(outputs, "run", 5, 1)
    try:
        loop.run_until_complete(flow())
    finally:
        loop.close()
    text = "".join(line.text for line in sent)
    assert text.count("line ") == 2000 and text.count("gone\n") == 200

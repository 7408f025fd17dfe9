"""A process with a session, driven by lines on standard input: `session_member.py FOLDER [bare]`.

It answers one line to each. With `bare` it defines nothing.

    start ID [N]   starts workflow `waiter` with the id; it awaits N (1) letters
    result ID      waits for the result
    role           owner or joined
    close          closes the session and ends
"""

from __future__ import annotations

import signal
import sys
import time

import perdure
from perdure.authoring.cells import define_cell

WAITER = """
from temporalio import workflow

@workflow.defn(name="waiter")
class waiter:
    def __init__(self) -> None:
        self.letters: list[str] = []

    @workflow.run
    async def run(self, wanted: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.letters) >= wanted)
        return [await stamp(letter) for letter in self.letters]

    @workflow.signal
    def post(self, letter: str) -> None:
        self.letters.append(letter)
"""
STAMP = """
import os, time

def stamp(letter: str) -> str:
    print("stamping", letter)
    while letter == "slow" and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
    return letter + " stamped"
"""


def main(folder: str, bare: bool) -> None:
    opened = perdure.session(folder)
    namespace: dict[str, object] = {"__name__": "__main__"}
    if not bare:
        define_cell("activity", STAMP, namespace)
        define_cell("workflow", WAITER, namespace)
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["start", run_id, *wanted]:
                run = perdure.start(namespace["waiter"], int(wanted[0]) if wanted else 1, id=run_id)
                print("started", run.run_id, flush=True)
            case ["result", run_id]:
                print("result", perdure.run(run_id).result(timeout="60s"), flush=True)
            case ["role"]:
                print("role", opened.role, flush=True)
            case ["close"]:
                began = time.monotonic()
                opened.close()
                print("closed", round(time.monotonic() - began, 3), flush=True)
                return


if __name__ == "__main__":
    signal.alarm(100)
    main(sys.argv[1], sys.argv[2:] == ["bare"])

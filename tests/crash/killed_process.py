"""A process with a session, as a kernel would be: `killed_process.py FOLDER LEDGER MODE`.

MODE `start` defines the cells and starts the run; `cells` defines them again, as a restarted kernel does;
`bare` has nothing but the file. Each activity writes to LEDGER when it begins and when it ends; the process
kills itself at the step that FAIL_AT names ("begin 3", "end 3"), in the middle of everything.
"""

from __future__ import annotations

import os
import signal
import sys

import perdure
from perdure.authoring.cells import define_cell

STEP = """
import os, signal

def note(what):
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, (what + "\\n").encode())
    os.fsync(ledger)
    os.close(ledger)
    if what == os.environ.get("FAIL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)

def step(number: int) -> int:
    note(f"begin {number}")
    note(f"end {number}")
    return number * number
"""
CHAIN = """
async def chain(length: int) -> int:
    total = 0
    for number in range(length):
        total += await step(number)
    return total
"""


def main(folder: str, mode: str) -> None:
    opened = perdure.session(folder)
    if mode != "bare":
        namespace: dict[str, object] = {"__name__": "__main__"}
        define_cell("activity", STEP, namespace, {"initial_interval": "10ms"})
        define_cell("workflow", CHAIN, namespace, {})
        run = perdure.start(namespace["chain"], 6, id="chain-1")
    else:
        run = perdure.run("chain-1")
    print(f"result {run.result(timeout='60s')}", flush=True)
    opened.close()


if __name__ == "__main__":
    os.environ["LEDGER"] = sys.argv[2]
    signal.alarm(90)
    main(sys.argv[1], sys.argv[3])

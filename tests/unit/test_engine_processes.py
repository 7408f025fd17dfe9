"""Leases: who lives, and who may run what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from perdure.engine.processes import Processes, is_own, is_process_name, may_live
from perdure.engine.records import Definition


def name(pid: int, host: str = os.uname().nodename) -> str:
    return f"perdure-{pid}-0123abcd@{host}"


def definition(kind: str, type_name: str, version: str = "v1") -> Definition:
    return Definition(kind, type_name, version, "m", type_name, "pass")


def test_names_tell_perdure_processes_from_plain_workers() -> None:
    assert is_process_name(name(7)) and is_own(name(os.getpid()))
    assert not is_process_name("7@host") and not is_own(name(os.getpid(), "elsewhere"))


def test_a_killed_process_is_gone_even_before_its_parent_has_noticed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1)
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    assert may_live(name(child.pid))
    child.send_signal(signal.SIGKILL)
    child.stdout.read()  # returns when the process has ended; it is a zombie now
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not may_live(name(child.pid))
    child.wait()
    assert not may_live(name(child.pid))
    child.stdin.close()
    child.stdout.close()


def test_a_process_of_another_machine_may_live() -> None:
    assert may_live(name(2**22 + 1, "elsewhere"))


def test_activities_go_to_processes_that_hold_the_runs_own_version_first() -> None:
    processes = Processes()
    both, other = processes.attend(name(1), True), processes.attend(name(2), True)
    other.declare([definition("workflow", "payment", "v2"), definition("activity", "charge")])
    assert processes.accepts_activity(name(2), "charge", "payment", "v1")  # nobody is closer
    both.declare([definition("workflow", "payment", "v1"), definition("activity", "charge")])
    assert processes.accepts_activity(name(1), "charge", "payment", "v1")
    assert not processes.accepts_activity(name(2), "charge", "payment", "v1")
    assert processes.accepts_activity("plain worker", "charge", "payment", "v1")


def test_a_process_that_does_not_attend_gets_nothing() -> None:
    assert not Processes().accepts_workflow(name(3), "payment", "")

"""Kills processes at random instants over running workflows, then proves that nothing was lost or done twice.

    python tests/crash/chaos.py --kills 200 --pair 60 --seed 7

The driver (this module) holds about twenty workflows open, through a kernel (`chaos_kernel`) that it kills
with SIGKILL again and again: after a random time from its start, so also while it opens the file and
recovers; or directly after it has acknowledged something; or directly after an activity has begun or has
done its work. With `pair`, two kernels share one file, one as its owner and one joined to it, and either is
killed. Every kernel gets the same folder and whatever was not acknowledged yet, once more. After the last
kill everything may end, and `chaos_checks` compares three independent accounts: the file, the ledger that the
activities wrote, and what the driver was told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "unit"))  # the rules of histories

from chaos_checks import Case, Findings, check  # noqa: E402
from chaos_scripts import scripted, scripts  # noqa: E402

AT_ONCE = 20
SCRIPTED = 0.6  # of the cases follow a script
START_PATIENCE = 60.0  # seconds in which a kernel must be ready
KILL_PATIENCE = 6.0  # seconds after which a kernel is killed even if what was to trigger it did not come
END_PATIENCE = 90.0  # seconds without an acknowledgement, after the last kill, that mean "stuck"

_IN_ORDER = (  # refusals that say nothing of the file
    "update",  # the workflow task died with its kernel three times in a row
    "batch: RPCError: Max concurrent",
)

Key = tuple[str, str, int]  # id, what to do, number


class ChaosError(AssertionError):
    """A kernel ended by itself, or work got stuck."""


@dataclass(slots=True)
class Plan:
    """When to kill: `what` is time (seconds after the start), done, begin or end (how many of them)."""

    what: str
    after: float


@dataclass(eq=False, slots=True)
class Kernel:
    """A process, what was asked of it, and how it is to die."""

    process: asyncio.subprocess.Process
    plan: Plan | None
    log: Path
    role: str = ""  # "" until it is ready
    cells: bool = False  # whether it has the cells' workflow
    asked: dict[Key, Case] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    killed: bool = False

    def kill(self) -> None:
        if not self.killed and self.process.returncode is None:
            self.killed = True
            self.process.kill()

    def ask(self, case: Case, key: Key) -> None:
        command: dict[str, Any] = {"do": key[1], "id": key[0], "n": key[2]}
        if key[1] == "start":
            command |= {"workflow": case.workflow, "args": case.args}
        self.asked[key] = case
        case.sends[key[1:]] += 1
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")


class Chaos:
    """One session of kills over one project folder.

    Args:
        folder: empty; the project, the ledger and the kernels' logs go there.
        kills: how many.
        kernels: 1, or 2 that share the file.
        at_once: how many workflows are kept open.
        choose: the randomness.
        parked: every second kernel leaves all quiet runs to the file.
    """

    def __init__(
        self, folder: Path, kills: int, kernels: int, at_once: int, choose: random.Random, parked: bool
    ) -> None:
        self.folder = folder
        self.kills = kills
        self.size = kernels
        self.at_once = at_once
        self.choose = choose
        self.parked = parked
        self.cases: dict[str, Case] = {}
        self.kernels: list[Kernel] = []
        self.planned = 0
        self.killed: Counter[str] = Counter()
        self.resumed = 0
        self.refused: Counter[str] = Counter()
        self.starts: list[float] = []
        self.changed = asyncio.Event()

    @property
    def file(self) -> Path:
        return self.folder / "history.duckdb"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    async def run(self) -> None:
        """Kills, and then lets everything end. Raises ChaosError."""
        self.fill()
        lives = [asyncio.create_task(self.live_again(number)) for number in range(self.size)]
        waiting = asyncio.create_task(self.until_all_ended())
        try:
            await asyncio.wait([*lives, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in (*lives, waiting):
                if task.done():
                    task.result()  # whatever went wrong, is raised here
            for kernel in self.kernels:
                assert kernel.process.stdin is not None
                kernel.process.stdin.close()
            await asyncio.wait_for(asyncio.gather(*lives), END_PATIENCE)
        finally:
            for task in (*lives, waiting):
                task.cancel()
            for kernel in self.kernels:
                kernel.kill()
            await asyncio.gather(*lives, waiting, return_exceptions=True)

    async def until_all_ended(self) -> None:
        while sum(self.killed.values()) < self.kills or any(not case.ended for case in self.cases.values()):
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), END_PATIENCE)
            except TimeoutError:
                stuck = [f"{case.id}: {case.wanting()}" for case in self.cases.values() if not case.ended]
                raise ChaosError(f"nothing happens for {END_PATIENCE:g} s; open: {stuck}") from None

    # --- kernels

    async def live_again(self, number: int) -> None:
        """One kernel after another, until one may live to the end."""
        life = 0
        while True:
            life += 1
            kernel = await self.spawn(f"kernel-{number}-{life}")
            following = asyncio.create_task(self.follow(kernel))
            try:
                await self.doom(kernel)
                await kernel.process.wait()
                await following
            finally:
                following.cancel()
                self.kernels.remove(kernel)
            if not kernel.killed:
                if kernel.process.returncode or not all(case.ended for case in self.cases.values()):
                    raise ChaosError(
                        f"{kernel.log.stem} ended by itself with {kernel.process.returncode}:\n{tail(kernel.log)}"
                    )
                return
            self.resumed += sum(case.started and not case.ended for case in self.cases.values())
            assert kernel.plan is not None
            self.killed[f"{kernel.role or 'opening'}, {kernel.plan.what}"] += 1
            kernel.log.unlink()
            self.fill()
            self.changed.set()
            if self.size > 1:
                await asyncio.sleep(self.choose.random())

    async def spawn(self, name: str) -> Kernel:
        plan = None
        if self.planned < self.kills:
            self.planned += 1
            plan = self.plan()
        log = self.folder / f"{name}.log"
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "CHAOS_LEDGER": str(self.ledger),
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONFAULTHANDLER": "1",
        }
        if self.parked and self.choose.random() < 0.5:
            environment["CHAOS_PARKED"] = "1"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(HERE / "chaos_kernel.py"),
                str(self.file),
                str(self.edition(last=plan is None)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        kernel = Kernel(process, plan, log)
        self.kernels.append(kernel)
        return kernel

    def edition(self, last: bool) -> int:
        """Every other kernel has the cells, in some edition; the last one, too, or runs could not start."""
        return self.choose.randint(1, 3) if last or self.choose.random() < 0.5 else 0

    def plan(self) -> Plan:
        what = self.choose.choices(["time", "done", "begin", "end"], [5, 3, 1, 2])[0]
        if what == "time":
            ready = sorted(self.starts)[len(self.starts) // 2] if self.starts else 1.0
            return Plan(what, self.choose.uniform(0.1, ready + 2))
        return Plan(what, self.choose.randint(1, 12 if what == "done" else 30))

    async def doom(self, kernel: Kernel) -> None:
        """Kills a kernel after its time, unless something else has done it before."""
        if kernel.plan is None:
            return
        limit = kernel.plan.after if kernel.plan.what == "time" else KILL_PATIENCE
        try:
            await asyncio.wait_for(kernel.process.wait(), limit)
        except TimeoutError:
            kernel.kill()

    async def follow(self, kernel: Kernel) -> None:
        """Reads what a kernel says; what it said before its death counts."""
        assert kernel.process.stdout is not None
        try:
            async for line in kernel.process.stdout:
                message = json.loads(line)
                what = message.get("ran") or ("done" if "done" in message else "")
                kernel.seen[what] += 1
                if kernel.plan and what == kernel.plan.what and kernel.seen[what] >= kernel.plan.after:
                    kernel.kill()
                self.hear(kernel, message)
        except BaseException:
            kernel.kill()
            raise
        finally:
            kernel.asked.clear()
            self.feed()

    def hear(self, kernel: Kernel, message: dict[str, Any]) -> None:
        if "ready" in message:
            kernel.role, kernel.cells = message["ready"], message["cells"]
            self.starts.append(message["seconds"])
        elif "done" in message:
            key = key_of(message["done"])
            kernel.asked.pop(key).acknowledge(key[1], key[2], message["answer"])
            self.fill()
            self.changed.set()
        elif "refused" in message:
            self.refuse(kernel, key_of(message["refused"]), message["why"])
        elif "broke" in message:
            raise ChaosError(f"{message['broke']} failed in {kernel.log.stem}: {message['why']}")
        self.feed()

    def refuse(self, kernel: Kernel, key: Key, why: str) -> None:
        """A command was refused, which is in order for two reasons: the owner of the file is changing, and an
        update of a run whose workflow task died with its kernel three times in a row. It is tried again.
        """
        self.refused[f"{key[1]}: {why}"] += 1
        if sum(self.refused.values()) > 20 * (self.kills + 1):
            raise ChaosError(f"too many refusals: {self.refused.most_common(5)}")
        asyncio.get_running_loop().call_later(0.2, kernel.asked.pop, key, None)
        asyncio.get_running_loop().call_later(0.25, self.feed)

    # --- work

    def fill(self) -> None:
        """Keeps some cases open, as long as kills are to come."""
        if sum(self.killed.values()) < self.kills:
            while sum(not case.resting for case in self.cases.values()) < self.at_once:
                case = make_case(len(self.cases), self.choose)
                self.cases[case.id] = case
        else:
            for case in self.cases.values():
                case.calm = True

    def feed(self) -> None:
        """Asks the kernels for whatever is to be done next, and is not asked of one of them already."""
        ready = [kernel for kernel in self.kernels if kernel.role and not kernel.killed]
        if not ready:
            return
        under_way = {key for kernel in ready for key in kernel.asked}
        for case in self.cases.values():
            for what, number in case.wanting():
                key = (case.id, what, number)
                able = [each for each in ready if each.cells or (what, case.workflow) != ("start", "edited")]
                if key not in under_way and able:
                    self.choose.choice(able).ask(case, key)


def key_of(command: dict[str, Any]) -> Key:
    return command["id"], command["do"], command["n"]


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def make_case(number: int, choose: random.Random) -> Case:
    """A workflow to run, and what must come of it."""
    made: dict[str, Callable[[int], tuple[list[int], int]]] = {
        "chain": lambda n: ([n], sum(range(n))),
        "fan": lambda n: ([n], sum(i * i if i % 2 else i + i % 3 for i in range(n))),
        "waits": lambda n: ([n], sum(range(n))),
        "pays": lambda n: ([n], sum(range(1, n + 1))),
        "family": lambda n: ([n % 4 + 1], 1 + sum(sum(range(i + 2)) for i in range(n % 4 + 1))),
        "relay": lambda n: ([n, 0], sum(range(1, n + 1))),
        "edited": lambda n: ([n], sum(range(n))),
    }
    workflow = choose.choice([*made, "mailbox"]) if number else "mailbox"
    size = choose.randint(2, 8)
    if number and choose.random() < SCRIPTED:
        names = [*scripts()]
        return scripted(names[number % len(names)], number)
    if workflow != "mailbox":
        args, expected = made[workflow](size)
        return Case(f"{workflow}-{number}", workflow, args, expected)
    signals, updates = list(range(1, size)), list(range(101, 100 + choose.randint(2, 3)))
    expected = sum(n * n for n in (*signals, *updates))
    return Case(
        f"mailbox-{number}",
        workflow,
        [len(signals), len(updates)],
        expected,
        signals=signals,
        updates=updates,
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What happened, and what the checks found."""

    seed: int
    seconds: float
    killed: Counter[str]
    resumed: int
    refused: Counter[str]
    starts: list[float]
    findings: Findings
    cases: list[Case]

    def text(self) -> str:
        found, starts = self.findings, sorted(self.starts)
        roles: Counter[str] = Counter()
        for what, count in self.killed.items():
            roles[what.partition(",")[0]] += count
        lines = [
            f"kills        {sum(self.killed.values())}  "
            f"({', '.join(f'{count} {role}' for role, count in sorted(roles.items()))})",
            f"runs         {found.runs} of {found.cases} workflows, interrupted and resumed {self.resumed} times",
            f"activities   {found.activities}, in {found.attempts} attempts, of which {found.lost} died with their process",
            f"acknowledged {found.acknowledged} starts, signals, updates and results; every one is in the file",
            f"replayed     {found.replayed} histories with {found.events} events, by temporalio's Replayer",
            f"ready in     {starts[len(starts) // 2]:.2f} s (median), {starts[-1]:.2f} s at most"
            if starts
            else "",
            f"took         {self.seconds:.0f} s, seed {self.seed}",
        ]
        lines += [f"refused      {count} x {why}" for why, count in self.refused.most_common(10)]
        lines += [f"WRONG        {problem}" for problem in found.problems[:50]]
        return "\n".join(line for line in lines if line)


def chaos(
    folder: Path,
    *,
    kills: int,
    kernels: int = 1,
    at_once: int = AT_ONCE,
    seed: int = 0,
    parked: bool = True,
) -> Report:
    """Runs one session and checks it. Raises ChaosError when it cannot go on."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    session = Chaos(folder, kills, kernels, at_once, random.Random(seed), parked)
    asyncio.run(session.run())
    cases = list(session.cases.values())
    findings = check(session.file, session.ledger, cases)
    if kernels == 1:
        wrong = [why for why in session.refused if not why.startswith(_IN_ORDER)]
        findings.problems += [f"refused, though nothing else had the file: {why}" for why in wrong]
    seconds = time.monotonic() - began
    return Report(
        seed, seconds, session.killed, session.resumed, session.refused, session.starts, findings, cases
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="with one kernel (default 200)")
    parser.add_argument("--pair", type=int, default=60, help="with two kernels on one file (default 60)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--folder", type=Path, default=None, help="kept if something is wrong, or if it is given"
    )
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    folder = given.folder or Path(tempfile.mkdtemp(prefix="perdure-chaos-"))
    wrong = 0
    for kernels, kills in ((1, given.kills), (2, given.pair)):
        if kills:
            print(
                f"\n{kills} kills over {('one kernel', 'two kernels on one file')[kernels - 1]}\n", flush=True
            )
            report = chaos(folder / f"{kernels}", kills=kills, kernels=kernels, seed=seed)
            print(report.text(), flush=True)
            wrong += len(report.findings.problems)
    print(f"\n{'NOT TRUE: see above' if wrong else 'Nothing was lost, and nothing was done twice.'}")
    if wrong or given.folder:
        print(f"The files are in {folder}")
    return bool(wrong)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of the Replayer may abort a Python that is being taken down, after all is said

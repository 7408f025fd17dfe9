"""Wrong user code does not pass a type checker, and right code does."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from textwrap import dedent

import pytest

pytest.importorskip("mypy", reason='mypy is missing: pip install "perdure[lint]"')

CODE = """
    import asyncio
    from typing import assert_type
    import perdure

    @perdure.activity
    def charge(order: int, fee: float = 0.5) -> str:
        return ""

    @perdure.activity(timeout="5s", retries=3, non_retryable=[ValueError])
    async def send(order: int) -> bytes:
        return b""

    @perdure.workflow
    async def child(n: int) -> int:
        return n

    @perdure.workflow(run_timeout=5)
    async def payment(order: int) -> dict[str, str]:
        assert_type(await charge(order), str)
        assert_type(await charge.options(timeout="1s")(order, fee=1.5), str)
        assert_type(await send(order), bytes)
        assert_type(await child(3), int)
        await asyncio.gather(charge(1), send(2))
        assert_type(await charge.start(1), str)
        charge.function(1)
        charge(1)  # E: unused-coroutine
        await charge("7")  # E: arg-type
        await charge()  # E: call-arg
        await send(1, 2)  # E: call-arg
        charge.options(timout="5s")  # E: call-arg
        charge.options(retries="many")  # E: arg-type
        return {}

    @perdure.activity(tiemout="5s")  # E: call-overload
    def wrong(n: int) -> int:
        return n

    @perdure.workflow  # E: arg-type
    def plain(n: int) -> int:
        return n
"""


def test_types(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    text = dedent(CODE)
    file = tmp_path / "user_code.py"
    file.write_text(text)
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("mypy")  # mypy reads temporalio once, which takes it long
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "--config-file", ""]
    done = subprocess.run([*command, "--no-warn-unused-ignores", str(file)], capture_output=True, text=True)
    found: dict[int, str] = defaultdict(str)
    for line in done.stdout.splitlines():
        if "user_code.py:" in line and ": error:" in line:
            found[int(line.split(":")[1])] += line
    expected = {
        number: line.partition("# E: ")[2]
        for number, line in enumerate(text.splitlines(), 1)
        if "# E: " in line
    }
    missed = [text.splitlines()[number - 1] for number in expected if number not in found]
    extra = [line for number, line in found.items() if number not in expected]
    assert not missed and not extra, done.stdout
    for number, code in expected.items():
        assert f"[{code}]" in found[number], found[number]

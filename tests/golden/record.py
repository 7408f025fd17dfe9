"""Records what a Temporal server makes of the scripts: real/NAME.json for each.

From the folder `tests`: python -m golden.record --address HOST:PORT [NAME ...]

Look at the differences before you commit them. Start a dev server as tests/contract/conftest.py does it, and also with
`--dynamic-config-value limit.historyCount.suggestContinueAsNew=50`, so that short histories show that advice.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from temporalio.client import Client

from golden.normal import normal, text
from golden.scripts import SCRIPTS
from golden.stage import Server, perform

FOLDER = Path(__file__).parent / "real"
_AT_ONCE = 8


async def record(address: str, names: list[str]) -> list[str]:
    """Plays and records these scripts; returns what went wrong."""
    server = Server(await Client.connect(address))
    turnstile = asyncio.Semaphore(_AT_ONCE)
    troubles: list[str] = []

    async def one(name: str) -> None:
        async with turnstile:
            try:
                play = await asyncio.wait_for(perform(SCRIPTS[name], server), 90)
            except Exception as error:  # told at the end, with the others
                troubles.append(f"{name}: {type(error).__name__} {error}")
                return
        (FOLDER / f"{name}.json").write_text(text(normal(play)))

    await asyncio.gather(*(one(name) for name in names))
    return troubles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("names", nargs="*", default=list(SCRIPTS))
    arguments = parser.parse_args()
    troubles = asyncio.run(record(arguments.address, arguments.names))
    print("\n".join(troubles) or "recorded")


if __name__ == "__main__":
    main()

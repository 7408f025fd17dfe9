"""python -m benchmarks [--quick] [--only SCENARIO ...] [--folder FOLDER]"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks import machine, picture, table
from benchmarks.measure import ROOT, SIDES, Measurement
from benchmarks.scenarios import SCENARIOS, Figures


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures perdure, DBOS and the disk."
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="SCENARIO", help=", ".join(names)
    )
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="SIDE")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="default: build/bench")
    given = parser.parse_args()
    sides = [side for side in given.sides if side != "DBOS" or find_spec("dbos")]
    if "DBOS" in given.sides and "DBOS" not in sides:
        print("DBOS is left out: it is not installed here. To install it: pip install 'perdure[bench]'")

    given.folder.mkdir(parents=True, exist_ok=True)
    about = machine.describe(given.folder)
    print("\n".join(about), flush=True)
    results: dict[str, dict[str, Figures]] = {}
    failed = []
    for scenario in SCENARIOS:
        for side in sides:
            if scenario.name not in given.only or side not in scenario.sides:
                continue
            print(f"  {scenario.name} on {side} …", file=sys.stderr, flush=True)
            try:
                figures = Measurement(scenario, side, given.folder / "files", given.quick).run()
            except RuntimeError as error:
                failed.append(str(error))
            else:
                results.setdefault(scenario.name, {})[side] = figures

    if given.quick:
        about.append(
            "--quick: small sizes, which the titles do not tell; these figures compare with nothing."
        )
    print(f"\n{table.text(results)}\n")
    write(given.folder, results, about)
    for reason in failed:
        print(f"FAILED: {reason}", file=sys.stderr)
    return bool(failed)


def write(folder: Path, results: dict[str, dict[str, Figures]], about: list[str]) -> None:
    """The results as JSON, Markdown and a picture."""
    (folder / "results.json").write_text(json.dumps({"machine": about, "results": results}, indent=2) + "\n")
    (folder / "results.md").write_text(table.markdown(results, about), encoding="utf-8")
    (folder / "results.svg").write_text(picture.svg(results, about), encoding="utf-8")
    print(f"The table and the picture are in {folder}: results.md, results.svg, results.json")


if __name__ == "__main__":
    sys.exit(main())

"""Which machine, which disk, which versions: a figure without them says nothing."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("perdure", "temporalio", "duckdb", "grpcio", "dbos", "sqlalchemy")


def describe(folder: Path) -> list[str]:
    """Some lines. `folder`: where the measured files lie."""
    memory = psutil.virtual_memory().total / 2**30
    load = psutil.getloadavg()[0]
    cores = os.cpu_count() or 1
    lines = [
        f"{_processor()}, {cores} cores, {memory:.0f} GiB; {_disk(folder)}",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()} ({sys.implementation.name})",
        ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"load when it began: {load:.1f}",
    ]
    if load > cores / 2:
        lines.append("OTHER PROGRAMS WERE BUSY ON THIS MACHINE: the figures are too high, and compare badly.")
    return lines


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _disk(folder: Path) -> str:
    """The file system under a folder."""
    place = folder.resolve()
    found = [each for each in psutil.disk_partitions(all=True) if place.is_relative_to(each.mountpoint)]
    nearest = max(found, key=lambda each: len(each.mountpoint), default=None)
    return f"{nearest.fstype} on {nearest.device}" if nearest else "unknown file system"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

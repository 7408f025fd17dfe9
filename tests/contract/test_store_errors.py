"""What a file can be that we cannot use: each has its error and a remedy, and the file stays as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from store_records import activity_with_a_retry

from perdure.errors import (
    DamagedFileError,
    FileInUseError,
    NewerFileError,
    StoreError,
)
from perdure.store import Store

TESTS = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.duckdb"


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own, with the tests' folder on its path."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def refused(path: Path, kind: type[StoreError]) -> StoreError:
    """Opens the file, which must be refused and stay as it was, with everything beside it."""
    before = files(path.parent)
    with pytest.raises(StoreError) as refusal:
        Store.open(path)
    assert type(refusal.value) is kind
    assert str(path) in refusal.value.message
    assert refusal.value.remedy
    assert files(path.parent) == before
    return refusal.value


KILLED = """
import asyncio, os, signal, sys
from perdure.store import Store
from store_records import activity_with_a_retry
store = Store.open(sys.argv[1])
asyncio.run(store.durable(store.append(activity_with_a_retry())))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_with_a_log(path: Path) -> None:
    """A history whose process was killed: records are in the write-ahead log still."""
    assert run(KILLED, path).returncode == -signal.SIGKILL
    assert path.with_name(path.name + ".wal").stat().st_size > 0


def test_a_newer_file_is_refused_and_its_log_kept(path: Path) -> None:
    leave_with_a_log(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO journal.meta VALUES (99, '7.5.0', '9.9', 0)")
    error = refused(path, NewerFileError)
    assert "perdure 7.5.0" in error.message
    assert "pip install --upgrade perdure" in error.remedy


def test_a_file_from_before_the_release_is_refused(path: Path) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE journal.kept")
    error = refused(path, StoreError)
    assert "before its release: it has no kept" in error.message
    assert "away to begin a new one" in error.remedy


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 200], ids=["empty", "text", "bytes"])
def test_a_file_of_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, DamagedFileError)


@pytest.mark.parametrize("keep", [100, 5_000, 20_000, 300_000])
def test_a_file_that_was_cut_short_is_refused(path: Path, keep: int) -> None:
    store = Store.open(path)
    store.append(activity_with_a_retry())
    store.close()
    os.truncate(path, keep)
    refused(path, DamagedFileError)


def test_a_damaged_log_is_refused(path: Path) -> None:
    leave_with_a_log(path)
    log = path.with_name(path.name + ".wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)
    refused(path, DamagedFileError)


def test_a_log_that_was_cut_short_loses_only_what_was_cut(path: Path) -> None:
    leave_with_a_log(path)
    log = path.with_name(path.name + ".wal")
    os.truncate(log, log.stat().st_size - 5)
    store = Store.open(path)
    assert list(store.recover()) == []
    store.close()


def test_another_duckdb_file_is_refused(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
    assert "of something else" in refused(path, StoreError).message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        Store.open(tmp_path / "sub")


HOLDS = """
import sys
from perdure.store import Store
store = Store.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_in_use_by_another_process_is_refused(path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        error = refused(path, FileInUseError)
        assert f"pid {holder.pid}" in error.message
        holder.communicate("")


def test_a_file_in_use_by_this_process_is_refused(path: Path) -> None:
    store = Store.open(path)
    with pytest.raises(FileInUseError, match="already open in this process"):
        Store.open(path)
    store.close()
    Store.open(path).close()


OPENS_AS_NOBODY = """
import os, sys
from perdure.errors import FileNotWritableError
from perdure.store import Store
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    Store.open(sys.argv[1])
except FileNotWritableError as error:
    print(error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter: pytest's own cannot be entered."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(
    sys.platform == "win32", reason="folders have no permission bits on Windows: run it on Linux or macOS"
)
@pytest.mark.parametrize("case", ["new file", "old file", "read-only file"])
def test_a_folder_that_cannot_be_written_is_refused(open_folder: Path, case: str) -> None:
    path = open_folder / "history.duckdb"
    if case != "new file":
        Store.open(path).close()
        path.chmod(0o666 if case == "old file" else 0o444)
    open_folder.chmod(0o555 if case != "read-only file" else 0o777)
    before = files(open_folder)
    ended = run(OPENS_AS_NOBODY, path)
    assert "cannot be written" in ended.stdout, ended.stderr
    assert "→ Make the file and its folder writable" in ended.stdout
    assert files(open_folder) == before


FILLS_THE_DISK = """
import asyncio, resource, sys
from perdure.engine.records import EventAppended, Output
from perdure.errors import FileNotWritableError
from perdure.store import Store
from store_records import scheduled, started

async def main():
    store = Store.open(sys.argv[1])
    failures = []
    store.on_failure(failures.append)
    await store.durable(store.append([started()]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    acknowledged = 0
    try:
        for number in range(1, 100):
            ticket = store.append([EventAppended("r1", scheduled(number)), Output("r1", 1, 1, 1, "stdout", "x" * 5_000)])
            later = asyncio.ensure_future(store.durable(store.append([Output("r1", 1, 1, 2, "stdout", "y")])))
            await store.durable(ticket)
            acknowledged = number
            await later
    except FileNotWritableError as error:
        print(error)
    try:
        await later
    except FileNotWritableError:
        print("a later wait is refused")
    try:
        store.append([started("r2")])
    except FileNotWritableError:
        print("a later append is refused")
    print("called back with", type(failures[0]).__name__, len(failures))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.close()
    print("acknowledged", acknowledged)

asyncio.run(main())
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="needs RLIMIT_FSIZE, which Windows lacks: run it on Linux or macOS"
)
def test_a_full_disk_stops_the_store_and_keeps_what_was_acknowledged(path: Path) -> None:
    ended = run(FILLS_THE_DISK, path)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert "no space is left on its disk" in lines[0]
    assert "Free some space" in lines[1]
    assert "a later wait is refused" in lines
    assert "a later append is refused" in lines
    assert "called back with FileNotWritableError 1" in lines
    acknowledged = int(lines[-1].split()[1])
    assert acknowledged > 5
    store = Store.open(path)
    (run_records,) = store.recover()
    assert len(run_records.events) in (acknowledged, acknowledged + 1)
    outputs = store.sql("SELECT count(*) FILTER (WHERE length(text) > 1) AS n FROM output")["n"][0]
    assert outputs == len(run_records.events)
    store.close()

"""Entering a project: who owns it, who joins, and what happens when that changes or cannot be."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from frontend_fakes import RECORDS, FakeEngine, opener
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.service import RPCError

from perdure.engine.records import Output
from perdure.errors import FileInUseError, FileNotWritableError, PerdureError, StoreError
from perdure.frontend.connection import Connection
from perdure.frontend.membership import Membership


class Members:
    """Makes memberships of one project, each with an engine of its own, and closes them in the end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.file = folder / "history.duckdb"
        self.stack = stack
        self.engines: dict[Membership, FakeEngine] = {}
        self.changes: dict[Membership, queue.Queue[Connection]] = {}
        self.lost: queue.Queue[PerdureError] = queue.Queue()

    def enter(self, **options: Any) -> Membership:
        engine, changes = FakeEngine(), queue.Queue[Connection]()
        options = {
            "open_engine": opener(engine),
            "on_change": changes.put,
            "on_lost": self.lost.put,
            **options,
        }
        membership = self.stack.enter_context(Membership.enter(self.file, **options))
        self.engines[membership], self.changes[membership] = engine, changes
        return membership

    def notice(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.file.parent / "frontend.json").read_text())
        return found

    def write_notice(self, **changes: Any) -> None:
        (self.file.parent / "frontend.json").write_text(json.dumps({**self.notice(), **changes}))


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    with ExitStack() as stack:
        yield Members(tmp_path / ".perdure", stack)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def test_who_opens_first_owns_and_later_ones_join(members: Members) -> None:
    owner, joined = members.enter(), members.enter()
    assert owner.connection.role == "owner"
    assert joined.connection.role == "joined"
    assert owner.connection.address == joined.connection.address
    assert run(joined.project.pinned("r")) == run(owner.project.pinned("r")) == "version of r"


def test_the_notice_is_for_this_user_only(members: Members) -> None:
    owner = members.enter()
    path = members.file.parent / "frontend.json"
    assert path.stat().st_mode & 0o777 == 0o600
    notice = members.notice()
    assert (notice["pid"], notice["address"]) == (os.getpid(), owner.connection.address)
    assert len(notice["token"]) >= 32
    assert sorted(each.name for each in path.parent.iterdir()) == ["frontend.json", "owner.lock"]


def test_two_files_in_one_folder_are_two_projects(members: Members, tmp_path: Path) -> None:
    first = members.enter()
    members.file = members.file.with_name("other.duckdb")
    second = members.enter()
    assert {first.connection.role, second.connection.role} == {"owner"}
    assert first.connection.address != second.connection.address


def test_when_the_owner_closes_another_takes_over_on_its_port(members: Members) -> None:
    owner, *others = members.enter(), members.enter(), members.enter()
    before = owner.connection
    owner.close()
    assert members.engines[owner].stopped
    after = [members.changes[each].get(timeout=10) for each in others]
    assert sorted(connection.role for connection in after) == ["joined", "owner"]
    assert {(c.address, c.token) for c in after} == {(before.address, before.token)}
    assert [each.connection for each in others] == after
    assert members.notice()["address"] == before.address


def test_project_and_client_follow_to_the_new_owner(members: Members) -> None:
    owner, joined = members.enter(), members.enter()
    members.engines[joined].service.answer.server_version = "second"
    client = joined.client(identity="me")

    async def main() -> list[str]:
        answers = []
        for change in (lambda: None, owner.close):
            await asyncio.to_thread(change)
            info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), retry=True)
            answers.append(info.server_version)
            assert await joined.project.read_run("payment-7") == RECORDS
        return answers

    assert run(main()) == ["fake", "second"]
    assert client.identity == "me"


def test_a_watch_goes_on_with_the_new_owner(members: Members) -> None:
    """What a watcher was told by the old owner it is not told again."""
    line, later = (Output("r", 5, 1, at, "stdout", f"{at}\n") for at in (10, 11))
    first, second = FakeEngine(), FakeEngine()
    first.project.lines, first.project.closed = [(line,)], False
    second.project.lines = [(line, later)]
    owner, joined = members.enter(open_engine=opener(first)), members.enter(open_engine=opener(second))

    async def main() -> list[tuple[Output, ...]]:
        watch = joined.project.watch("payment-7")
        told = [await anext(watch)]
        await asyncio.to_thread(owner.close)
        return told + [lines async for lines in watch]

    assert run(main()) == [(line,), (later,)]
    assert first.project.unwatched.is_set()


def test_the_port_of_the_dead_may_have_gone_to_a_stranger(members: Members) -> None:
    owner = members.enter()
    before = owner.connection
    owner.close()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", int(before.address.rpartition(":")[2])))
        stranger.listen()
        after = members.enter().connection
    assert after.address != before.address
    assert after.token == before.token
    assert members.enter().connection.address == after.address


def test_a_token_that_others_could_read_is_replaced(members: Members) -> None:
    owner = members.enter()
    before = owner.connection.token
    owner.close()
    (members.file.parent / "frontend.json").chmod(0o644)
    assert members.enter().connection.token != before


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"pid": 1, "surprise": 2}', "\0\0"])
def test_a_broken_notice_does_not_matter(members: Members, content: str) -> None:
    members.file.parent.mkdir()
    (members.file.parent / "frontend.json").write_text(content)
    assert members.enter().connection.role == "owner"


def test_an_owner_without_a_notice_is_a_file_in_use(members: Members) -> None:
    members.file.parent.mkdir()
    with FileLock(members.file.parent / "owner.lock"), pytest.raises(FileInUseError, match="another process"):
        members.enter(patience=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "elsewhere"}, "on the machine elsewhere"),
        ({"protocol": 1, "version": "9.9"}, "which runs perdure 9.9"),
        ({"token": "wrong"}, "does not answer"),
        ({"address": "127.0.0.1:9"}, "does not answer"),
        ({"pid": 2**22 + 1}, "does not answer"),
    ],
)
def test_an_owner_that_cannot_be_joined_is_a_file_in_use(
    members: Members, changes: dict[str, Any], message: str
) -> None:
    members.enter()
    members.write_notice(**changes)
    with pytest.raises(FileInUseError, match=message):
        members.enter(patience=0.1)


def test_an_owner_that_starts_is_waited_for(members: Members) -> None:
    """Longer than one that is silent: it may have much to recover."""
    opening, opened = threading.Event(), threading.Event()

    async def slowly(file: Path) -> FakeEngine:
        opening.set()
        await asyncio.to_thread(opened.wait, 20)
        return FakeEngine()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(members.enter, open_engine=slowly)
        assert opening.wait(10)
        second = pool.submit(members.enter, patience=0.01)
        assert wait([second], timeout=0.3).not_done
        opened.set()
        assert first.result(10).connection.role == "owner"
        assert second.result(10).connection.role == "joined"


def test_a_file_that_cannot_be_opened_is_let_go(members: Members) -> None:
    async def fail(file: Path) -> FakeEngine:
        raise StoreError("damaged", "restore a copy")

    with pytest.raises(StoreError, match="damaged"):
        members.enter(open_engine=fail)
    assert members.enter().connection.role == "owner"


def test_who_cannot_take_over_says_so_and_tries_again(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.frontend.membership._RETRY", 0.05)
    engine, fails = FakeEngine(), iter([True, False])

    async def at_second_try(file: Path) -> FakeEngine:
        if next(fails):
            raise StoreError("no space left", "free some")
        return engine

    owner, joined = members.enter(), members.enter(open_engine=at_second_try)
    owner.close()
    assert members.lost.get(timeout=10).message == "no space left"
    with pytest.raises(StoreError, match="no space left"):
        _ = joined.connection
    assert members.changes[joined].get(timeout=10).role == "owner"


def test_a_file_that_fails_is_opened_again(members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.frontend.membership._RETRY", 0.05)
    owner = members.enter()
    members.engines[owner].fail(StoreError("a commit failed"))
    assert members.changes[owner].get(timeout=10).role == "owner"
    assert members.engines[owner].stopped


def test_whoever_asks_while_the_file_has_failed_is_told_why_and_does_not_wait(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.frontend.membership._RETRY", 3600.0)
    owner = members.enter()
    members.engines[owner].fail(StoreError("no space left", "free some"))
    assert members.lost.get(timeout=10).message == "no space left"
    with pytest.raises(StoreError, match="no space left"):
        asyncio.run(asyncio.wait_for(owner.project.definitions(), 5))
    with pytest.raises(RPCError, match="no space left"):
        asyncio.run(asyncio.wait_for(owner.client().count_workflows(), 5))


def test_a_folder_that_cannot_be_made_is_not_writable(members: Members, tmp_path: Path) -> None:
    (tmp_path / ".perdure").write_text("a file")
    with pytest.raises(FileNotWritableError, match="PERDURE_HOME"):
        members.enter()


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (OSError(errno.EROFS, "Read-only file system"), FileNotWritableError, "PERDURE_HOME"),
        (OSError(errno.EACCES, "Permission denied"), FileNotWritableError, "PERDURE_HOME"),
        (OSError(errno.ENOSPC, "No space left on device"), FileNotWritableError, "free some space"),
        (OSError(errno.ENOLCK, "No locks available"), StoreError, "local disk"),
        (NotImplementedError("FileSystem does not support flock"), StoreError, "local disk"),
    ],
)
def test_a_lock_that_cannot_be_had_says_why(
    members: Members, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[StoreError], remedy: str
) -> None:
    def acquire(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(kind, match=remedy):
        members.enter()


def test_closing_twice_is_fine_and_calls_after_it_say_so(members: Members) -> None:
    membership = members.enter()
    membership.close()
    membership.close()
    with pytest.raises(PerdureError, match="closed"):
        run(membership.project.pinned("r"))
    with pytest.raises(PerdureError, match="closed"):
        _ = membership.connection


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a system that forks")
@pytest.mark.parametrize("role", ["owner", "joined"])
def test_a_fork_is_refused_and_holds_nothing(members: Members, role: str) -> None:
    members.enter()
    said, warnings = _fork(
        members.file if role == "joined" else members.file.with_name("own.duckdb"), "perdure"
    )
    assert said["role"] == role
    assert said["call"] == said["enter"] == "ForkedError"
    assert said["parent"] == "version of r"
    assert (said["sockets"], said["locks"], warnings) == (0, 0, "")


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a system that forks")
def test_a_fork_that_grpc_may_crash_is_warned_of(members: Members) -> None:
    said, warnings = _fork(members.file, "grpc")
    assert "Import perdure before temporalio and grpc" in warnings
    assert said["parent"] == "version of r"


def _fork(file: Path, first: str) -> tuple[dict[str, Any], str]:
    """What a process that imports `first` first says of its fork, and what stands on its stderr."""
    program = Path(__file__).with_name("frontend_fork.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, str(program), str(file), first],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout), done.stderr

"""perdure's own service: a project is the same from another process as beside the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from frontend_fakes import DEFINITION, RECORDS, FakeEngine, opener
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure

from perdure.engine.errors import Code, ServiceError
from perdure.engine.project import Adopt
from perdure.engine.records import Output
from perdure.errors import QueryError
from perdure.frontend.codec import decode, encode
from perdure.frontend.host import EngineHost
from perdure.frontend.remote import RemoteProject


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def host(engine: FakeEngine, tmp_path: Path) -> Iterator[EngineHost]:
    with EngineHost(tmp_path / "history.duckdb", token="secret", open_engine=opener(engine)) as host:
        yield host


def with_project(host: EngineHost, work: Any, token: str = "secret") -> Any:
    """Runs `work(project)` on a loop of its own, with a connection of its own."""

    async def main() -> Any:
        project = RemoteProject(host.address, token)
        try:
            return await asyncio.wait_for(work(project), 20)
        finally:
            await project.close()

    return asyncio.run(main())


def test_calls_arrive_as_they_were_made(host: EngineHost, engine: FakeEngine) -> None:
    line = Output("r", 5, 1, 10, "stdout", "hellö\n")

    async def work(project: RemoteProject) -> None:
        assert await project.definitions() == [DEFINITION]
        assert await project.pinned("r1") == "version of r1"
        assert await project.read_run("payment-7") == RECORDS
        await project.declare("p", [DEFINITION])
        await project.output([line])
        watched = [lines async for lines in project.watch("payment-7")]
        assert watched == [(), (Output("r", 5, 1, 10, "stdout", "hello\n"),)]

    with_project(host, work)
    assert engine.project.told == [("p", [DEFINITION]), [line]]


def test_a_table_travels_with_its_types(host: EngineHost) -> None:
    async def work(project: RemoteProject) -> Any:
        return await project.sql(
            "SELECT 1 AS n, TIMESTAMP '2026-01-02 03:04:05.678901' AS t, NULL::DOUBLE AS x, 'ä' AS s"
        )

    table = with_project(host, work)
    assert table.to_dict("list")["n"] == [1]
    assert str(table.t[0]) == "2026-01-02 03:04:05.678901"
    assert table.x.isna().all() and table.s[0] == "ä"


def test_a_refused_query_keeps_its_remedy(host: EngineHost) -> None:
    async def work(project: RemoteProject) -> None:
        await project.sql("SELEKT 1")

    with pytest.raises(QueryError, match="SELEKT") as caught:
        with_project(host, work)
    assert caught.value.remedy == "Mend it."


def test_a_service_error_keeps_its_detail(host: EngineHost) -> None:
    async def work(project: RemoteProject) -> None:
        await project.read_run("unknown")

    with pytest.raises(ServiceError, match="workflow not found for ID: unknown") as caught:
        with_project(host, work)
    assert caught.value.code == Code.NOT_FOUND
    assert isinstance(caught.value.detail, WorkflowExecutionAlreadyStartedFailure)


def test_without_the_token_nobody_comes_in(host: EngineHost, engine: FakeEngine) -> None:
    async def work(project: RemoteProject) -> None:
        await project.declare("p", [DEFINITION])

    with pytest.raises(ServiceError, match="A wrong token") as caught:
        with_project(host, work, token="wrong")
    assert caught.value.code == Code.UNAUTHENTICATED
    assert not engine.project.told


def test_a_frame_of_another_language_is_an_invalid_argument(host: EngineHost) -> None:
    async def main() -> None:
        async with grpc.aio.insecure_channel(host.address) as channel:
            call = channel.unary_unary("/perdure.v1.Project/Pinned")
            await call(b"\x00\x00\x00\x02{}", metadata=(("authorization", "Bearer secret"),))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(main())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_leaving_a_stream_closes_it_beside_the_engine(host: EngineHost, engine: FakeEngine) -> None:
    async def work(project: RemoteProject) -> Any:
        source: Any = project.attend("p", adopts=True)
        async with aclosing(source):
            return await anext(source)

    assert with_project(host, work) == Adopt((DEFINITION,))
    assert engine.project.told == [("p", True)]
    assert engine.project.left.wait(10)


def test_a_killed_process_loses_its_lease_at_once(host: EngineHost, engine: FakeEngine) -> None:
    program = """
import asyncio, sys
from perdure.frontend.remote import RemoteProject
async def main():
    async for notice in RemoteProject(sys.argv[1], "secret").attend("p", adopts=True):
        print(notice.definitions[0].name, flush=True)
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", program, host.address], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "payment\n"
        assert not engine.project.left.is_set()
        os.kill(child.pid, signal.SIGKILL)
        assert engine.project.left.wait(2)


def test_an_owner_that_closes_ends_the_lease(host: EngineHost, engine: FakeEngine) -> None:
    async def work(project: RemoteProject) -> None:
        notices: Any = project.attend("p", adopts=False)
        await anext(notices)
        await asyncio.to_thread(host.close)
        await anext(notices)

    with pytest.raises(ServiceError) as caught:
        with_project(host, work)
    assert caught.value.code == Code.UNAVAILABLE
    assert engine.project.left.is_set()


def test_closing_the_connection_ends_streams_as_the_owners_end_does(host: EngineHost) -> None:
    async def work(project: RemoteProject) -> None:
        notices: Any = project.attend("p", adopts=False)
        await anext(notices)
        following = asyncio.ensure_future(anext(notices))
        await asyncio.sleep(0)
        await project.close()
        for late in (following, project.pinned("r")):
            with pytest.raises(ServiceError) as caught:
                await late
            assert caught.value.code == Code.UNAVAILABLE

    with_project(host, work)


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary(max_size=20)
    | st.builds(Output, st.text(), st.integers(), st.integers(), st.integers(), st.text(), st.text())
    | st.just(RECORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_values)
def test_every_value_survives_the_wire(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=60))
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with suppress(ValueError):
        decode(frame)


def test_a_value_without_a_form_on_the_wire_is_refused() -> None:
    with pytest.raises(TypeError, match="Path has no form on the wire"):
        encode([Path()])

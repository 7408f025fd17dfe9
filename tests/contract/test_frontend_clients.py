"""A Temporal client meets the same service through the local and the gRPC frontend."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from frontend_fakes import FakeEngine, opener
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DescribeNamespaceRequest,
    GetSystemInfoRequest,
    PollActivityTaskQueueRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from perdure.errors import PerdureError
from perdure.frontend.grpc_server import Tls, is_loopback
from perdure.frontend.host import EngineHost

Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def host(engine: FakeEngine, tmp_path: Path) -> Iterator[EngineHost]:
    with EngineHost(tmp_path / "history.duckdb", token="secret", open_engine=opener(engine)) as host:
        yield host


@pytest.fixture(params=["local", "grpc"])
def connect(request: pytest.FixtureRequest, host: EngineHost) -> Connect:
    if request.param == "local":
        return host.local_client
    return lambda: Client.connect(host.address, api_key="secret", tls=False)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def test_a_workflow_is_started(connect: Connect) -> None:
    async def main() -> str | None:
        handle = await (await connect()).start_workflow("payment", id="payment-7", task_queue="q")
        return handle.first_execution_run_id

    assert run(main()) == "run of payment-7"


def test_the_service_sees_who_calls(connect: Connect, engine: FakeEngine) -> None:
    async def main() -> None:
        client = await connect()
        await client.workflow_service.get_system_info(GetSystemInfoRequest(), metadata={"mine": "1"})

    run(main())
    assert engine.service.metadata["client-name"] == "temporal-python"
    assert engine.service.metadata["client-version"]
    assert engine.service.metadata["mine"] == "1"


def test_a_taken_id_is_an_already_started_error(connect: Connect) -> None:
    async def main() -> None:
        await (await connect()).start_workflow("payment", id="taken", task_queue="q")

    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        run(main())
    assert caught.value.run_id == "old"


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_failed_query_is_a_query_failed_error(connect: Connect, size: int) -> None:
    """Also when its stack trace would not fit into HTTP/2 headers."""

    async def main() -> None:
        await (await connect()).get_workflow_handle("payment-7").query(str(size))

    with pytest.raises(WorkflowQueryFailedError, match="no such query"):
        run(main())


def test_an_errors_details_arrive(connect: Connect) -> None:
    async def main() -> None:
        await (await connect()).start_workflow("payment", id="taken", task_queue="q")

    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        run(main())
    cause = caught.value.__context__
    assert isinstance(cause, RPCError)
    assert cause.status == RPCStatusCode.ALREADY_EXISTS
    assert cause.message == "Workflow execution is already running."
    detail = WorkflowExecutionAlreadyStartedFailure()
    assert cause.grpc_status.details[0].Unpack(detail)
    assert detail.start_request_id == "q"


def test_a_text_with_any_characters_arrives(connect: Connect) -> None:
    name = "naïve 数 100%\n%41"

    async def main() -> None:
        request = RequestCancelWorkflowExecutionRequest(
            workflow_execution=WorkflowExecution(workflow_id=name)
        )
        await (await connect()).workflow_service.request_cancel_workflow_execution(request)

    with pytest.raises(RPCError) as caught:
        run(main())
    assert (caught.value.status, caught.value.message) == (RPCStatusCode.NOT_FOUND, name)


def test_a_bug_is_internal_and_logged(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await (await connect()).workflow_service.signal_workflow_execution(SignalWorkflowExecutionRequest())

    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(RPCError, match="SignalWorkflowExecution failed") as caught,
    ):
        run(main())
    assert caught.value.status == RPCStatusCode.INTERNAL
    assert "ZeroDivisionError" in caplog.text


def test_a_file_that_fails_is_unavailable_with_the_remedy(connect: Connect) -> None:
    async def main() -> None:
        await (await connect()).workflow_service.terminate_workflow_execution(
            TerminateWorkflowExecutionRequest()
        )

    with pytest.raises(RPCError, match=r"(?s)The disk is full.*Free some space") as caught:
        run(main())
    assert caught.value.status == RPCStatusCode.UNAVAILABLE


def test_what_is_missing_is_unimplemented(connect: Connect) -> None:
    async def main() -> None:
        await (await connect()).workflow_service.create_schedule(CreateScheduleRequest())

    with pytest.raises(RPCError) as caught:
        run(main())
    assert caught.value.status == RPCStatusCode.UNIMPLEMENTED


def test_come_again_is_retried_where_the_sdk_asks_for_it(connect: Connect, engine: FakeEngine) -> None:
    async def main() -> None:
        client = await connect()
        with pytest.raises(RPCError, match="attempt 1"):
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest())
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(), retry=True)

    run(main())
    assert engine.service.failures == 3


def test_health(connect: Connect) -> None:
    async def main() -> None:
        client = await connect()
        assert await client.service_client.check_health()
        with pytest.raises(RPCError) as caught:
            await client.service_client.check_health(service="another")
        assert caught.value.status == RPCStatusCode.NOT_FOUND

    run(main())


def test_a_timeout_ends_the_call_on_both_sides(connect: Connect, engine: FakeEngine) -> None:
    async def main() -> None:
        client = await connect()
        await client.workflow_service.poll_activity_task_queue(
            PollActivityTaskQueueRequest(), timeout=timedelta(milliseconds=50)
        )

    with pytest.raises(RPCError) as caught:
        run(main())
    assert caught.value.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
    assert engine.service.ended.wait(10)


def test_cancelling_the_caller_ends_the_call(connect: Connect, engine: FakeEngine) -> None:
    async def main() -> None:
        client = await connect()
        poll = asyncio.create_task(
            client.workflow_service.poll_activity_task_queue(PollActivityTaskQueueRequest())
        )
        assert await asyncio.to_thread(engine.service.polling.wait, 10)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll

    run(main())
    assert engine.service.ended.wait(10)


def test_closing_the_engine_tells_callers_to_come_again(
    connect: Connect, engine: FakeEngine, host: EngineHost
) -> None:
    async def main() -> None:
        client = await connect()
        poll = asyncio.create_task(
            client.workflow_service.poll_activity_task_queue(PollActivityTaskQueueRequest())
        )
        assert await asyncio.to_thread(engine.service.polling.wait, 10)
        await asyncio.to_thread(host.close)
        with pytest.raises(RPCError) as caught:
            await poll
        assert caught.value.status == RPCStatusCode.UNAVAILABLE
        with pytest.raises(RPCError) as caught:
            await client.workflow_service.get_system_info(GetSystemInfoRequest())
        assert caught.value.status == RPCStatusCode.UNAVAILABLE

    run(main())
    assert engine.service.ended.is_set() and engine.stopped


def test_large_messages_pass(connect: Connect, engine: FakeEngine) -> None:
    engine.service.answer.server_version = "v" * (40 << 20)

    async def main() -> int:
        client = await connect()
        await client.start_workflow("payment", "x" * (30 << 20), id="large", task_queue="q")
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
        return len(info.server_version)

    assert run(main()) == 40 << 20


def test_a_client_is_of_any_loop_and_thread(host: EngineHost) -> None:
    client = run(host.local_client())
    versions = []

    async def ask() -> str:
        return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version

    threads = [threading.Thread(target=lambda: versions.append(run(ask()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    on_its_own = asyncio.run_coroutine_threadsafe(ask(), host.loop).result(10)
    assert [*versions, on_its_own] == ["fake"] * 3


def test_neither_side_sees_later_changes(host: EngineHost, engine: FakeEngine) -> None:
    async def main() -> None:
        client = await host.local_client()
        request = GetSystemInfoRequest()
        answer = await client.workflow_service.get_system_info(request)
        answer.server_version = "changed by the client"
        assert engine.service.requests[-1] is not request

    run(main())
    assert engine.service.answer.server_version == "fake"


@pytest.mark.parametrize("token", ["wrong", "", "sécret"])
def test_without_the_token_nobody_comes_in(host: EngineHost, engine: FakeEngine, token: str) -> None:
    async def main() -> None:
        metadata = (
            {"authorization": f"Bearer {token}".encode("latin1").decode("ascii", "replace")} if token else {}
        )
        await Client.connect(host.address, tls=False, rpc_metadata=metadata)

    with pytest.raises(RuntimeError, match=r"(?i)token.*frontend.json"):
        run(main())
    assert not engine.service.requests


def test_another_process_connects_with_the_token(host: EngineHost) -> None:
    """With nothing but the SDK, all warnings being errors."""
    program = """
import asyncio, sys
from temporalio.client import Client
async def main():
    client = await Client.connect(sys.argv[1], api_key=sys.argv[2], tls=False)
    handle = await client.start_workflow("payment", id="from-afar", task_queue="q")
    print(handle.first_execution_run_id)
asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", program, host.address, "secret"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("run of from-afar\n", "")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_open_address_without_tls_is_refused(tmp_path: Path, engine: FakeEngine, address: str) -> None:
    with pytest.raises(PerdureError, match="no TLS certificate"):
        EngineHost(tmp_path / "history.duckdb", host=address, open_engine=opener(engine))
    assert engine.stopped


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False)])
def test_loopback_addresses(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt install openssl")
def test_with_tls_another_address_may_be_served(tmp_path: Path, engine: FakeEngine) -> None:
    """The certificate names the host; the client asks for that name, and needs the token as ever."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:perdure.test"]
    names += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
    tls = Tls(certificate.read_bytes(), key.read_bytes())
    options: dict[str, Any] = {"host": "0.0.0.0", "tls": tls, "open_engine": opener(engine)}

    async def main(host: EngineHost, token: str) -> None:
        address = host.address.replace("0.0.0.0", "127.0.0.1")
        config = TLSConfig(server_root_ca_cert=tls.certificate, domain="perdure.test")
        client = await Client.connect(address, api_key=token, tls=config)
        await client.workflow_service.get_system_info(GetSystemInfoRequest())

    with EngineHost(tmp_path / "history.duckdb", **options) as host:
        run(main(host, host.token))
        with pytest.raises(RuntimeError, match="A wrong token"):
            run(main(host, "wrong"))

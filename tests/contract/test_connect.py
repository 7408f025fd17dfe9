"""The same cells and handles on a cluster: on Temporal's own server, and on another perdure that is reached as one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from frontend_fakes import FakeEngine, opener
from service_calls import new_name
from worker_cells import INBOX, PAYMENT, cell, gates

import perdure
from perdure.authoring.registry import Registry
from perdure.errors import ConnectError, PerdureError
from perdure.frontend.cluster import Target
from perdure.frontend.grpc_server import Tls
from perdure.frontend.host import EngineHost
from perdure.session import Session, opened, use

GATED = """
    @perdure.activity
    def charge() -> str:
        from worker_cells import gates

        gates.stop("NAME")
        return "charged"

    @perdure.workflow
    async def gated() -> str:
        return await charge()
"""
FAILING = """
    @perdure.activity(initial_interval="1h")
    def charge() -> str:
        raise ConnectionError("no route")

    @perdure.workflow
    async def failing() -> str:
        return await charge()
"""


@pytest.fixture(scope="module", params=["perdure", "temporal"])
def target(request: pytest.FixtureRequest) -> Target:
    if request.param == "temporal":
        return Target(request.getfixturevalue("temporal_server"))
    host: EngineHost = request.getfixturevalue("service_host")
    return Target(host.address, api_key="secret", tls=False)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def here(target: Target, registry: Registry) -> Iterator[Session]:
    """The default session, connected, with a task queue of its own."""
    wanted = replace(target, task_queue=new_name("queue"))
    with Session(cluster=wanted, registry=registry) as session:
        before = use(session)
        yield session
        use(before)


@pytest.fixture
def nothing_open() -> Iterator[None]:
    """No default session, before and after."""
    before = use(None)
    yield
    if (left := opened()) is not None:
        left.close()
    use(before)


def define(registry: Registry, name: str, source: str, version: str = "v1") -> None:
    cell(registry, "workflow", name, version, source)
    if "def charge" in source:
        cell(registry, "activity", "charge", version, source)


def test_a_run_from_start_to_result(
    here: Session, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    define(registry, "payment", PAYMENT)
    run = perdure.start("payment", 3, id=new_name("payment"))
    assert run.result(timeout="30s") == {"charge": "charged 3"}
    assert run.status == "Completed"
    printed = capsys.readouterr().out
    assert "charging 1, attempt 1\n" not in printed and "charging 3, attempt 3\n" in printed
    assert run.history()["type"].iloc[-1] == "WorkflowExecutionCompleted"
    assert "charge" in str(run.timeline())
    assert '"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"' in run.to_json()
    again = perdure.start("payment", 3, id=run.id)
    assert (again.run_id, again.result()) == (run.run_id, {"charge": "charged 3"})
    with pytest.raises(perdure.RunError, match="other input"):
        perdure.start("payment", 4, id=run.id)
    assert perdure.run(run.id).result() == {"charge": "charged 3"}


def test_handles_steer_a_run(here: Session, registry: Registry) -> None:
    define(registry, "inbox", INBOX)
    run = perdure.start("inbox", 2, id=new_name("inbox"))
    run.signal("post", "first")
    assert run.query("count") == 1
    assert run.update("put", "second") == 2
    assert run.result(timeout="30s") == ["first", "second"]
    ended = perdure.start("inbox", 1)
    ended.terminate("enough")
    with pytest.raises(perdure.RunError, match="was terminated: enough"):
        ended.result(timeout="30s")
    with pytest.raises(perdure.RunError, match="has ended already"):
        ended.signal("post", "late")


def test_runs_are_listed(here: Session, registry: Registry) -> None:
    define(registry, "inbox", INBOX)
    run = perdure.start("inbox", 1, id=new_name("listed"))
    run.signal("post", "letter")
    run.result(timeout="30s")
    for _ in range(100):  # a cluster's lists follow its runs with a delay
        listed = perdure.runs(f"WorkflowId = '{run.id}'", status="completed")
        if len(listed):
            break
    assert listed[["id", "run_id", "type", "status"]].values.tolist() == [
        [run.id, run.run_id, "inbox", "Completed"]
    ]


def test_a_running_attempt_is_drawn(here: Session, registry: Registry) -> None:
    gate = new_name("gate")
    define(registry, "gated", GATED.replace("NAME", gate))
    run = perdure.start("gated")
    gates.wait(gate)
    (attempt,) = run.attempts().to_dict("records")
    assert (attempt["attempt"], attempt["outcome"], attempt["activity"]) == (1, "running", "charge")
    assert attempt["worker"].startswith(f"{os.getpid()}@")
    (row,) = run.timeline().activities
    assert [each.state.name for each in row.attempts] == ["RUNNING"]
    gates.open(gate)
    assert run.result(timeout="30s") == "charged"


def test_a_retry_and_its_failure_are_drawn(here: Session, registry: Registry) -> None:
    define(registry, "failing", FAILING)
    run = perdure.start("failing")

    async def failed() -> None:
        """The description, which knows attempts, is looked at by whoever watches."""
        async for _ in here.project.watch(run.id, run.run_id):
            records = await here.project.read_run(run.id, run.run_id)
            if records.attempt_ends:
                return

    here.wait(failed())
    (row,) = run.timeline().activities
    assert row.state.name == "RETRYING" and row.due is not None
    assert row.fault is not None and "no route" in str(row.fault)
    (attempt,) = run.attempts().to_dict("records")
    assert (attempt["outcome"], attempt["failure"]) == ("failed", "ConnectionError: no route")
    run.terminate()


def test_a_redefined_workflow_takes_over_open_runs_too(here: Session, registry: Registry) -> None:
    define(registry, "inbox", INBOX)
    run = perdure.start("inbox", 2, id=new_name("inbox"))
    run.signal("post", "first")
    assert run.query("count") == 1
    define(
        registry, "inbox", INBOX.replace("return len(self.letters)", "return 100 + len(self.letters)"), "v2"
    )
    here.wait(here.worker.ready())  # type: ignore[union-attr]
    assert run.query("count") == 101, "it is not pinned: the new worker has the new code only"
    assert perdure.start("inbox", 0).result(timeout="30s") == []
    with pytest.raises(perdure.RunError, match="are not pinned to versions"):
        perdure.move("inbox")
    run.signal("post", "second")
    assert run.result(timeout="30s") == ["first", "second"]


def test_what_needs_the_file_says_what_to_do(here: Session) -> None:
    with pytest.raises(perdure.QueryError, match=r"perdure\.runs") as refused:
        perdure.sql("SELECT 1")
    assert "perdure.disconnect" in str(refused.value)
    with pytest.raises(PerdureError, match="has no file"):
        here.path  # noqa: B018
    with pytest.raises(PerdureError, match="is connected to"):
        perdure.session("elsewhere.duckdb")
    assert (here.role, here.address) == ("connected", here.home)
    assert repr(here) == f"<perdure session: {here.address} (connected)>"


def test_connecting_leaves_the_file_and_disconnecting_goes_back(
    target: Target,
    nothing_open: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path))
    kept = perdure.start("nobody_runs_this", id="kept")
    file = perdure.session()

    def connect(namespace: str = "default") -> Session:
        return perdure.connect(
            target.address,
            namespace=namespace,
            api_key=target.api_key,
            tls=target.tls,
            task_queue=new_name("queue") if namespace != "default" else "perdure-tests",
        )

    with pytest.raises(ConnectError, match="has no namespace 'nowhere'"):
        connect("nowhere")
    assert perdure.session() is file and not file.closed, "a connection that fails changes nothing"
    connected = connect()
    assert f"1 run waits in {file.home} until you go back" in capsys.readouterr().out
    assert file.closed and perdure.session() is connected and connect() is connected
    with pytest.raises(perdure.RunError, match=r"kept is a run of .*; this process is at"):
        kept.status  # noqa: B018
    there = perdure.start("nobody_runs_this", id=new_name("there"))
    there.terminate()
    perdure.disconnect()
    assert kept.status == "Running"
    with pytest.raises(perdure.RunError, match=r"perdure\.connect"):
        there.status  # noqa: B018


# --- what keeps a connection from being made


def refusal(address: str, **options: object) -> str:
    with pytest.raises(ConnectError) as refused:
        perdure.connect(address, **options)  # type: ignore[arg-type]
    assert refused.value.remedy
    return str(refused.value)


@pytest.mark.parametrize(
    "address, guess",
    [
        ("localhost", "localhost:7233"),
        ("http://localhost:7233", "localhost:7233"),
        ("localhost:99999", "localhost:7233"),
        ("", ":7233"),
    ],
)
def test_an_address_is_host_and_port(nothing_open: None, address: str, guess: str) -> None:
    said = refusal(address)
    assert repr(address) in said and "HOST:PORT" in said and guess in said


def test_nobody_listens(nothing_open: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        said = refusal(address)
    assert f"Nothing listens at {address}" in said and "temporal server start-dev" in said
    assert opened() is None


def test_an_unknown_host(nothing_open: None) -> None:
    assert "there is no such host" in refusal("no-such-host.invalid:7233")


def test_an_unknown_namespace_names_those_that_are_there(nothing_open: None, target: Target) -> None:
    said = refusal(target.address, namespace="nowhere", api_key=target.api_key, tls=target.tls)
    assert "has no namespace 'nowhere'" in said and "'default'" in said


def test_credentials_are_refused(nothing_open: None, service_host: EngineHost) -> None:
    said = refusal(service_host.address, api_key="wrong", tls=False)
    assert "refused the credentials: A wrong token" in said and "api_key" in said


def test_tls_to_a_server_that_has_none(nothing_open: None, target: Target) -> None:
    said = refusal(target.address, tls=True)
    assert "do not agree on TLS" in said and "tls=False" in said
    assert "do not agree on TLS" in refusal(target.address, api_key="implies TLS")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt install openssl")
def test_a_server_that_wants_tls(nothing_open: None, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=DNS:perdure.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *request.split(), *names], check=True, capture_output=True)
    tls = Tls(certificate.read_bytes(), key.read_bytes())
    engine = opener(FakeEngine())
    with EngineHost(tmp_path / "h.duckdb", host="0.0.0.0", tls=tls, open_engine=engine) as host:
        address = host.address.replace("0.0.0.0", "127.0.0.1")
        assert "may expect TLS" in refusal(address)
        unknown_signer = refusal(address, tls=True)
        assert "do not agree on TLS" in unknown_signer and "server_root_ca_cert" in unknown_signer

"""`%workflow connect` as a person types it: the same cells work on a cluster, and the file comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel, kernel
from service_calls import new_name

from perdure.frontend.host import EngineHost

GREET = "%%workflow\nasync def greet(name: str) -> str:\n    return f'hello {name}'"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("project")) as running:
        running.ok("%load_ext perdure")
        running.ok(GREET)
        running.ok("%env CLUSTER_KEY=secret")
        yield running


@pytest.fixture
def address(service_host: EngineHost) -> str:
    return service_host.address


def test_without_an_address_it_says_what_it_is_connected_to(shell: Kernel) -> None:
    assert shell.ok("%workflow connect").result.startswith("not connected")
    assert "There is no cluster to leave" in shell.ok("%workflow disconnect").result


def test_the_same_cells_on_a_cluster_and_back(shell: Kernel, address: str) -> None:
    queue, run_id = new_name("queue"), new_name("greet")
    said = shell.ok(f"%workflow connect {address} --api-key-env CLUSTER_KEY --no-tls --task-queue {queue}")
    assert f"at {address}, namespace default, task queue {queue}" in said.result
    shell.ok(f'%workflow start greet --id {run_id} "you"')
    assert shell.ok(f"%workflow result {run_id}").result == "'hello you'"
    assert address in shell.ok("%workflow status").result
    assert queue in shell.ok("%workflow worker").result
    assert "completed  greet" in shell.ok(f"%workflow show {run_id}").shown[-1]["text/plain"]
    assert "QueryError" in shell.run("import perdure; perdure.sql('SELECT 1')").error
    assert f"left {address}" in shell.ok("%workflow disconnect").result
    assert "the file" in shell.ok("%workflow connect").result
    missing = shell.run(f"%workflow show {run_id}")
    assert "not found" in missing.error


def test_a_redefined_workflow_says_what_becomes_of_open_runs(shell: Kernel, address: str) -> None:
    hold = "%%workflow\nfrom temporalio import workflow\nasync def hold() -> int:\n    await workflow.sleep(1000)\n    return 1"
    shell.ok(
        f"%workflow connect {address} --api-key-env CLUSTER_KEY --no-tls --task-queue {new_name('queue')}"
    )
    shell.ok(hold)
    run_id = new_name("hold")
    shell.ok(f"%workflow start hold --id {run_id}")
    said = shell.ok(hold.replace("return 1", "return 2")).text
    assert "1 open run goes on with it; steps that changed need workflow.patched()" in said
    shell.ok(f"%workflow terminate {run_id}")
    shell.ok("%workflow disconnect")


@pytest.mark.parametrize(
    "line, said",
    [
        ("localhost", "HOST:PORT"),
        ("127.0.0.1:1", "Nothing listens at 127.0.0.1:1"),
        ("127.0.0.1:1 --api-key-env NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ("127.0.0.1:1 --tls-cert a.pem", "a.pem cannot be read"),
        ("127.0.0.1:1 --tls --no-tls", "--no-tls goes with no other"),
    ],
)
def test_mistakes_are_named(shell: Kernel, line: str, said: str) -> None:
    assert said in shell.run(f"%workflow connect {line}").error


def test_help_shows_an_example(shell: Kernel) -> None:
    assert "%workflow connect localhost:7233" in shell.ok("%workflow connect --help").result

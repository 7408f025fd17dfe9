"""Fixtures of all contract tests: Temporal's own dev server, where it is installed, and the service by each way to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_calls import Service, ready
from temporalio.client import Client

from perdure.frontend.host import EngineHost

MISSING = "no temporal command: `make temporal` installs it (with Go), or put one on PATH"
_MADE = Path(__file__).parents[2] / ".venv" / "bin" / "temporal"  # where `make temporal` puts it
_SETTINGS = {  # what a cluster may be configured to do, and the engine always does
    "activity.enableStandalone": "true",
    "frontend.WorkflowPauseEnabled": "true",
    "frontend.activityAPIsEnabled": "true",
    "frontend.enableCancelWorkerPollsOnShutdown": "true",
    "frontend.enableExecuteMultiOperation": "true",
    "history.enableCHASMSignalBacklinks": "true",
    "history.enableChasm": "true",
    "history.enableTransitionHistory": "true",
    "system.enableDeploymentVersions": "true",
    "system.enableEagerWorkflowStart": "true",
    "system.forceSearchAttributesCacheRefreshOnRead": "true",
}


def temporal_command() -> str | None:
    """The `temporal` on PATH, else the one that `make temporal` made."""
    return shutil.which("temporal") or (str(_MADE) if os.access(_MADE, os.X_OK) else None)


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[str]:
    """HOST:PORT of a dev server in memory, with the namespace `default`; one for all tests. Skips where there is none."""
    command = temporal_command()
    if command is None:
        pytest.skip(MISSING)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = [command, "server", "start-dev", "--headless", "--log-level", "never", "--port", str(port)]
    arguments += ["--ip", "127.0.0.1", "--http-port", "0", "--metrics-port", "0"]
    for key, value in _SETTINGS.items():
        arguments += ["--dynamic-config-value", f"{key}={value}"]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not ready(f"127.0.0.1:{port}", lambda: server.poll() is None):
            pytest.fail(f"{command} server start-dev did not come up on port {port}")
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def service_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHost]:
    """An engine for all tests of the service, each of which uses ids and task queues of its own."""
    with EngineHost(tmp_path_factory.mktemp("service") / "history.duckdb", token="secret") as host:
        yield host


@pytest.fixture(scope="session", params=["local", "grpc", "temporal"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The same service three times: the engine without sockets, the engine over gRPC, Temporal's own server."""
    if request.param == "temporal":
        address = request.getfixturevalue("temporal_server")
        service = Service("temporal", lambda: Client.connect(address))
    else:
        host: EngineHost = request.getfixturevalue("service_host")
        if request.param == "local":
            service = Service("local", host.local_client)
        else:
            service = Service("grpc", lambda: Client.connect(host.address, api_key="secret", tls=False))
    yield service
    service.close()

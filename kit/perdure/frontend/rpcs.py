"""The RPCs of Temporal's service, as tables.

temporalio ships the messages but not the service descriptors (those need packages that it does not
install), so the tables are made from the messages' names: `StartWorkflowExecutionRequest` and
`StartWorkflowExecutionResponse` make `StartWorkflowExecution`. That holds for every RPC but three of the
time-skipping TestService, which are written out.

`RPCS` is keyed by gRPC path, for the gRPC frontend; `find` looks up by the snake-case names under which
temporalio's `ServiceClient` asks, for the local frontend.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from temporalio.api import testservice
from temporalio.api.operatorservice import v1 as operatorservice_v1
from temporalio.api.testservice import v1 as testservice_v1
from temporalio.api.workflowservice import v1 as workflowservice_v1

__all__ = ["HEALTHY_NAMES", "HEALTH_PATH", "RPCS", "Rpc", "find"]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC: its bare name, its gRPC path, and the classes of its messages."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]


def _table(service: str, messages: ModuleType) -> list[Rpc]:
    names = [name.removesuffix("Request") for name in dir(messages) if name.endswith("Request")]
    return [
        Rpc(
            name,
            f"/{service}/{name}",
            getattr(messages, f"{name}Request"),
            getattr(messages, f"{name}Response"),
        )
        for name in names
        if hasattr(messages, f"{name}Response")
    ]


_WORKFLOW: Final = "temporal.api.workflowservice.v1.WorkflowService"
_OPERATOR: Final = "temporal.api.operatorservice.v1.OperatorService"
_TEST: Final = "temporal.api.testservice.v1.TestService"


def _test_table() -> list[Rpc]:
    """TestService shares messages between RPCs, and takes google's Empty for one."""
    sleep, slept = testservice_v1.SleepRequest, testservice_v1.SleepResponse
    irregular: list[tuple[str, type[Message], type[Message]]] = [
        ("GetCurrentTime", Empty, testservice_v1.GetCurrentTimeResponse),
        ("SleepUntil", testservice_v1.SleepUntilRequest, slept),
        ("UnlockTimeSkippingWithSleep", sleep, slept),
    ]
    written = [Rpc(name, f"/{_TEST}/{name}", request, response) for name, request, response in irregular]
    return _table(_TEST, testservice.v1) + written


_SERVICES: Final[dict[str, list[Rpc]]] = {
    "workflow": _table(_WORKFLOW, workflowservice_v1),
    "operator": _table(_OPERATOR, operatorservice_v1),
    "test": _test_table(),
}

RPCS: Final[dict[str, Rpc]] = {rpc.path: rpc for table in _SERVICES.values() for rpc in table}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_BY_SNAKE: Final = {(service, _snake(rpc.name)): rpc for service, table in _SERVICES.items() for rpc in table}


def find(service: str, name: str) -> Rpc | None:
    """What temporalio's client calls `name` (snake case) of `service` ("workflow", "operator", "test")."""
    return _BY_SNAKE.get((service, name))


# grpc.health.v1: one method, whose request is one string and whose answer one number. It needs no messages.
HEALTH_PATH: Final = "/grpc.health.v1.Health/Check"
HEALTHY_NAMES: Final = frozenset({"", _WORKFLOW, _OPERATOR})

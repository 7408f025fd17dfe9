"""The one error that an RPC handler raises on purpose: a gRPC code, a text, and one of Temporal's detail messages."""

from __future__ import annotations

from enum import IntEnum

from google.protobuf.message import Message
from temporalio.api.errordetails.v1 import NotFoundFailure


class Code(IntEnum):
    """gRPC status codes (numbers as in google.rpc.Code), without importing grpc into the engine."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class ServiceError(Exception):
    """A request that is answered with an error.

    Args:
        code: gRPC status code. Never UNKNOWN or INTERNAL for a mistake of the caller: SDKs retry those.
        message: what was wrong, naming the input and the rule.
        detail: one message of temporal.api.errordetails.v1, where SDKs look at one.
    """

    def __init__(self, code: Code, message: str, detail: Message | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


def not_found(message: str, detail: Message | None = None) -> ServiceError:
    return ServiceError(Code.NOT_FOUND, message, detail if detail is not None else NotFoundFailure())


def invalid(message: str, detail: Message | None = None) -> ServiceError:
    return ServiceError(Code.INVALID_ARGUMENT, message, detail)

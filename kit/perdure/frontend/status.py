"""ServiceError to gRPC status, and back.

A status travels as code, text and, in the trailing metadata `grpc-status-details-bin`, a google.rpc.Status
whose details hold at most one of Temporal's errordetails messages; SDKs make their exceptions from that.
temporalio ships google.rpc.Status under the name GrpcStatus.

HTTP/2 limits headers (hyper, under the SDKs, to 16 KiB in all), and a client that meets more reports a
broken stream, not our error. So texts are cut, and a query's failure gives up its stack trace before it is
let go.
"""

from __future__ import annotations

import logging
from typing import Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import QueryFailedFailure
from temporalio.api.failure.v1 import Failure

from perdure.engine.errors import Code, ServiceError
from perdure.errors import PerdureError

logger = logging.getLogger(__name__)

DETAILS_KEY: Final = "grpc-status-details-bin"
_TEXT_LIMIT: Final = 2_000
_DETAIL_LIMIT: Final = 6_000


def status_bytes(error: ServiceError) -> bytes:
    """The google.rpc.Status of an error, as the trailing metadata carries it."""
    status = GrpcStatus(code=int(error.code), message=cut(error.message))
    if error.detail is not None:
        status.details.add().Pack(_fitting(error.detail))
    return status.SerializeToString()


def service_error(code: int, message: str, raw_status: bytes | None) -> ServiceError:
    """The error that a peer's status stands for."""
    return ServiceError(_code(code), message, _detail(raw_status) if raw_status else None)


def as_service_error(error: Exception, what: str) -> ServiceError:
    """Any exception of a handler as what its caller gets; what nobody foresaw is logged.

    A PerdureError means that the engine or its file cannot go on (a full disk, say). UNAVAILABLE makes SDKs
    wait and try again, which is right for workers, and shows people the text when they give up.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, PerdureError):
        return ServiceError(Code.UNAVAILABLE, str(error))
    logger.error("%s failed; this is a bug in perdure", what, exc_info=error)
    return ServiceError(Code.INTERNAL, f"{what} failed in perdure: {type(error).__name__}: {error}")


def cut(text: str) -> str:
    """`text`, shortened to what fits into headers."""
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def _fitting(detail: Message) -> Message:
    if detail.ByteSize() <= _DETAIL_LIMIT or not isinstance(detail, QueryFailedFailure):
        return detail
    failure = Failure()
    failure.CopyFrom(detail.failure)
    failure.message = cut(failure.message)
    failure.stack_trace = cut(failure.stack_trace)
    failure.ClearField("cause")
    fitting = QueryFailedFailure(failure=failure)
    return (
        fitting
        if fitting.ByteSize() <= _DETAIL_LIMIT
        else QueryFailedFailure(failure=Failure(message=failure.message))
    )


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.INTERNAL


def _detail(raw_status: bytes) -> Message | None:
    status = GrpcStatus.FromString(raw_status)
    if not status.details:
        return None
    packed: Any = status.details[0]
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        return None  # a newer server's detail: the code and the text remain
    detail = message_factory.GetMessageClass(descriptor)()
    packed.Unpack(detail)
    return detail

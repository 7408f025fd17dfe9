"""Times between the three forms that meet here: ns since the epoch, protobuf messages, pandas timestamps
(UTC, naive)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(message: Timestamp | Duration) -> int:
    return message.seconds * 1_000_000_000 + message.nanos


def timestamp(ns: int) -> datetime:
    """The UTC time, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def iso(ns: int) -> str:
    """For people and JSON: 2026-01-31T12:00:00.123456Z."""
    return timestamp(ns).isoformat(timespec="microseconds").replace("+00:00", "Z")

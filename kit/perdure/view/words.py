"""Words and figures of the pictures: durations, instants, payloads and failures as short, safe text.

Whatever a user, a payload or an exception brings in is cleaned here once, before anything is drawn: control characters,
characters that XML forbids and those that turn the direction of the text around are taken out, so that a name can neither
break the file nor disguise itself. Escaping for XML is the drawing's own business.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_WRAPPERS = (
    "activity_failure_info",
    "child_workflow_execution_failure_info",
    "nexus_operation_execution_failure_info",
)
_TIMEOUTS = {
    TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE: "start-to-close",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START: "schedule-to-start",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: "schedule-to-close",
    TimeoutType.TIMEOUT_TYPE_HEARTBEAT: "heartbeat",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure in words: the type that retry policies look at, and the message. `final`: its thrower allows no retry."""

    type: str
    message: str
    final: bool = False

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.type and self.message else self.type or self.message


def nanoseconds(value: Timestamp | Duration) -> int:
    return value.seconds * SECOND + value.nanos


def instant(time: int) -> str:
    """A time as people read it: 2026-08-21 14:03:07 UTC."""
    return (_EPOCH + timedelta(microseconds=time // 1000)).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(span: int) -> str:
    """A span as people say it, two units at most: 340 ms, 1.2 s, 3 min 20 s, 30 d 4 h."""
    if span < 0:
        return "−" + duration(-span)
    if span < SECOND - MILLISECOND // 2:
        return (
            f"{(span + MILLISECOND // 2) // MILLISECOND} ms" if span >= MILLISECOND or not span else "<1 ms"
        )
    if span < 10 * SECOND:
        return f"{span / SECOND:.2f}".rstrip("0").rstrip(".") + " s"
    if span < MINUTE - SECOND // 20:
        return f"{span / SECOND:.1f}".removesuffix(".0") + " s"
    span = max(span, MINUTE)
    for unit, word, part, part_word in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", SECOND, "s"),
    ):
        if span >= unit:
            whole, rest = divmod(span, unit)
            return f"{whole} {word} {rest // part} {part_word}" if rest >= part else f"{whole} {word}"
    raise AssertionError(span)


def rough(span: int) -> str:
    """A span in one unit: 59 min, 30 d."""
    for unit, word in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if span >= unit:
            return f"{span // unit:,} {word}"
    return f"{span // SECOND} s" if span >= 10 * SECOND else duration(span)


def count(number: int, noun: str) -> str:
    """1 attempt, 1,204 attempts."""
    if number != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun}"


def clean(text: str, limit: int = 400) -> str:
    """`text` on one line, without what could break or disguise it, at most `limit` characters."""
    return shorten(
        _SPACE.sub(
            " ", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text[: 4 * limit].strip().replace("\r", ""))
        ),
        limit,
    )


def isolate(text: str) -> str:
    """`text` as an island, if it runs from right to left anywhere: what stands beside it keeps its place."""
    if text.isascii() or not any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in text):
        return text
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"


def shorten(text: str, limit: int) -> str:
    """Cuts at the end, with an ellipsis."""
    if len(text) <= limit:
        return text
    kept = text[: max(limit - 1, 0)].rstrip()
    while kept and unicodedata.combining(kept[-1]):
        kept = kept[:-1]
    return kept + "…"


def shorten_middle(text: str, limit: int) -> str:
    """Cuts out the middle: names that differ only in their last characters stay apart."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return text[: limit - tail - 1] + "…" + text[len(text) - tail :]


def payload_text(payload: Payload, limit: int = 120) -> str:
    """A payload in short: JSON as it is, anything else by what it is."""
    encoding = payload.metadata.get("encoding", b"").decode("ascii", "replace")
    if encoding == "json/plain":
        return clean(_json_text(payload.data, limit), limit)
    if encoding == "binary/null":
        return "null"
    if encoding == "binary/plain":
        return count(len(payload.data), "byte")
    if "encrypted" in encoding:
        return "encrypted"
    name = (
        payload.metadata.get("messageType", b"").decode("utf-8", "replace") or encoding or "unknown encoding"
    )
    return clean(f"{name}, {count(len(payload.data), 'byte')}", limit)


def _json_text(data: bytes, limit: int) -> str:
    if b"\\u" in data and len(data) < 32 * limit:
        try:
            return json.dumps(json.loads(data), ensure_ascii=False, separators=(", ", ": "))
        except ValueError:
            pass  # not JSON after all: shown as it is
    return data[: 4 * limit].decode("utf-8", "replace")


def payloads_text(payloads: Payloads | Iterable[Payload], limit: int = 120) -> str:
    """Arguments in short, with commas between."""
    items = payloads.payloads if isinstance(payloads, Payloads) else payloads
    return shorten(", ".join(payload_text(item, limit) for item in items), limit)


def fault(failure: Failure) -> Fault:
    """What went wrong, in the words of the one who raised it: wrappers ("Activity task failed") are looked through."""
    while failure.WhichOneof("failure_info") in _WRAPPERS and failure.HasField("cause"):
        failure = failure.cause
    kind = failure.WhichOneof("failure_info")
    if failure.HasField("encoded_attributes"):
        return Fault(clean(failure.application_failure_info.type), "encrypted failure")
    message = clean(failure.message)
    if kind == "application_failure_info":
        info = failure.application_failure_info
        return Fault(clean(info.type), message or _cause(failure), final=info.non_retryable)
    if kind == "timeout_failure_info":
        limit = _TIMEOUTS.get(failure.timeout_failure_info.timeout_type)
        cause = _cause(failure)
        return Fault(f"{limit} timeout" if limit else "timeout", cause if cause else _unless_generic(message))
    if kind == "canceled_failure_info":
        return Fault("canceled", "" if message.lower() in ("cancelled", "canceled") else message)
    if kind == "terminated_failure_info":
        return Fault("terminated", message)
    return Fault("", message or _cause(failure) or "failed without a message")


def _cause(failure: Failure) -> str:
    return str(fault(failure.cause)) if failure.HasField("cause") else ""


def _unless_generic(message: str) -> str:
    return "" if "timeout" in message.lower() or "timed out" in message.lower() else message

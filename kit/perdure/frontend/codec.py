"""Values of perdure's own service on the wire: JSON with the bytes beside it.

A frame is: 4 bytes, the length of a JSON head; the head; the blobs. The head holds the value and the blobs'
lengths. Within the value

    {"@": "Definition", ...fields}      a dataclass of engine.records, engine.journal or engine.project
    {"@": "tuple", "items": [...]}      a tuple
    {"@": "dict", "items": {...}}       a dict of names
    {"@": "bytes", "blob": 0}           bytes
    {"@": "temporal.api...", "blob": 1} one of Temporal's messages

and everything else is plain JSON. The dataclasses are the language: `PROTOCOL` is a digest of their fields,
and processes whose digests differ do not talk (a joining process says so, with both versions).
"""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from perdure.engine import journal, project, records

_VALUES: Final[dict[str, type[Any]]] = {
    value.__name__: value
    for module in (records, journal, project)
    for value in vars(module).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value)
}

_FIELDS: Final = {
    name: [field.name for field in dataclasses.fields(value)] for name, value in _VALUES.items()
}

PROTOCOL: Final = zlib.crc32(repr(sorted(_FIELDS.items())).encode())


def encode(value: Any) -> bytes:
    """Raises TypeError for a value that the wire does not know."""
    blobs: list[bytes] = []
    plain = _plain(value, blobs)
    head = json.dumps([plain, [len(blob) for blob in blobs]], separators=(",", ":")).encode()
    return b"".join((struct.pack(">I", len(head)), head, *blobs))


def decode(frame: bytes) -> Any:
    """The value of a frame. Raises ValueError for anything else."""
    try:
        (length,) = struct.unpack_from(">I", frame)
        plain, sizes = json.loads(frame[4 : 4 + length])
        blobs, at = [], 4 + length
        for size in sizes:
            blobs.append(frame[at : at + size])
            at += size
        return _value(plain, blobs)
    except (struct.error, TypeError, KeyError, IndexError, AttributeError, DecodeError) as error:
        raise ValueError(f"This is no frame of perdure's protocol {PROTOCOL}: {error!r}") from error


def _plain(value: Any, blobs: list[bytes]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_plain(item, blobs) for item in value]
        case tuple():
            return {"@": "tuple", "items": [_plain(item, blobs) for item in value]}
        case dict():
            return {"@": "dict", "items": {str(key): _plain(item, blobs) for key, item in value.items()}}
        case bytes():
            blobs.append(value)
            return {"@": "bytes", "blob": len(blobs) - 1}
        case Message():
            blobs.append(value.SerializeToString())
            return {"@": value.DESCRIPTOR.full_name, "blob": len(blobs) - 1}
    name = type(value).__name__
    if _VALUES.get(name) is not type(value):
        raise TypeError(f"{name} has no form on the wire.")
    fields = {field.name: _plain(getattr(value, field.name), blobs) for field in dataclasses.fields(value)}
    return {"@": name, **fields}


def _value(plain: Any, blobs: list[bytes]) -> Any:
    if isinstance(plain, list):
        return [_value(item, blobs) for item in plain]
    if not isinstance(plain, dict):
        return plain
    match plain["@"]:
        case "tuple":
            return tuple(_value(item, blobs) for item in plain["items"])
        case "dict":
            return {key: _value(item, blobs) for key, item in plain["items"].items()}
        case "bytes":
            return blobs[plain["blob"]]
        case str(name) if name.startswith("temporal.api."):
            descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
            return message_factory.GetMessageClass(descriptor).FromString(blobs[plain["blob"]])
        case name:
            return _VALUES[name](**{key: _value(item, blobs) for key, item in plain.items() if key != "@"})

"""Which values can be written down as source, and why the others cannot.

`express` turns a constant into an expression that makes an equal one in any process: numbers, texts, dates, paths, patterns, enum members,
dataclass instances, and containers of them. It refuses what is bound to this process (files, connections, locks), what is
too big to be part of a program, and what it does not know, each with the remedy that suits its kind.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import io
import ipaddress
import logging
import math
import pathlib
import re
import socket
import subprocess
import threading
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

LIMIT = 32_768
"""The longest source text of one captured constant. More is data, and data belongs in a file."""

_IN_MEMORY = {
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "scipy",
    "torch",
    "tensorflow",
    "jax",
    "xarray",
    "PIL",
    "networkx",
}
_MODELS = {"sklearn", "xgboost", "lightgbm", "transformers", "keras", "statsmodels"}
_CONNECTION_WORDS = (
    "connection",
    "client",
    "session",
    "cursor",
    "engine",
    "channel",
    "pool",
    "socket",
    "transport",
)


class NotDurable(Exception):
    """A value that cannot be written down.

    Args:
        what: the kind of thing that it is, with an article: "a pandas DataFrame in memory".
        remedy: what to do instead.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Writer(Protocol):
    """What `express` asks of the module that the expression is written into."""

    def module(self, name: str) -> str:
        """Imports a standard module; returns the name under which it is known."""
        ...

    def reference(self, thing: Any) -> str:
        """Captures a class or function; returns the expression for it. Raises NotDurable."""
        ...


def express(value: object, writer: Writer) -> str:
    """An expression that makes a value equal to `value`.

    Raises:
        NotDurable: there is none, or it is longer than `LIMIT`.
    """
    size = getattr(value, "__len__", None)
    if (
        type(value) in (str, bytes, bytearray, list, tuple, set, frozenset, dict)
        and size is not None
        and size() > LIMIT
    ):
        raise _too_big(
            f"{size():,} items"
            if not isinstance(value, str | bytes | bytearray)
            else f"{size():,} characters"
        )
    text = _Expression(writer).of(value)
    if len(text) > LIMIT:
        raise _too_big(f"{len(text):,} characters as source")
    return text


class _Expression:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open: list[int] = []  # ids of the containers that are being written, to find circles

    def of(self, value: Any) -> str:
        if id(value) in self._open:
            raise NotDurable("a container that contains itself", "Build it inside the function that uses it.")
        self._open.append(id(value))
        try:
            return self._of(value)
        finally:
            self._open.pop()

    def _of(self, value: Any) -> str:
        kind = type(value)
        if value is None or value is ... or value is NotImplemented or kind in (bool, int, str, bytes):
            return "..." if value is ... else repr(value)
        if kind in _SIMPLE:
            return _SIMPLE[kind](self, value)
        if isinstance(value, enum.Enum):
            return self._enum(value)
        if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
            return self._writer.reference(value)
        if isinstance(value, pathlib.PurePath):
            name = "Path" if isinstance(value, pathlib.Path) else kind.__name__
            return f"{self._writer.module('pathlib')}.{name}({str(value)!r})"
        if isinstance(value, datetime.tzinfo) and kind.__module__.partition(".")[0] not in (
            "datetime",
            "zoneinfo",
        ):
            raise NotDurable(
                f"a {kind.__name__} time zone", 'Use zoneinfo.ZoneInfo("Area/City") or datetime.timezone.'
            )
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return f"{self._writer.reference(kind)}({self._items(value)})"
        if dataclasses.is_dataclass(value):
            return self._dataclass(value)
        raise NotDurable(*explain(value))

    def _items(self, values: Any) -> str:
        return ", ".join(self.of(item) for item in values)

    def _pairs(self, values: dict[Any, Any]) -> str:
        return ", ".join(f"{self.of(key)}: {self.of(item)}" for key, item in values.items())

    def _float(self, value: float) -> str:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"

    def _complex(self, value: complex) -> str:
        return f"complex({self._float(value.real)}, {self._float(value.imag)})"

    def _tuple(self, value: tuple[Any, ...]) -> str:
        return f"({self._items(value)}{',' if len(value) == 1 else ''})"

    def _set(self, value: set[Any]) -> str:
        return "{" + ", ".join(sorted(self.of(item) for item in value)) + "}" if value else "set()"

    def _in_module(self, module: str, call: str) -> str:
        return f"{self._writer.module(module)}.{call}"

    def _datetime(self, value: datetime.datetime | datetime.date | datetime.time) -> str:
        fields = ["year", "month", "day"] if isinstance(value, datetime.date) else []
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            fields += ["hour", "minute", "second", "microsecond"]
        parts = [repr(getattr(value, name)) for name in fields]
        zone = getattr(value, "tzinfo", None)
        if zone is not None:
            parts.append(f"tzinfo={self.of(zone)}")
        if getattr(value, "fold", 0):
            parts.append("fold=1")
        return self._in_module("datetime", f"{type(value).__name__}({', '.join(parts)})")

    def _timedelta(self, value: datetime.timedelta) -> str:
        return self._in_module("datetime", f"timedelta({value.days}, {value.seconds}, {value.microseconds})")

    def _timezone(self, value: datetime.timezone) -> str:
        if value is datetime.UTC:
            return self._in_module("datetime", "UTC")
        return self._in_module(
            "datetime", f"timezone({self.of(value.utcoffset(None))}, {value.tzname(None)!r})"
        )

    def _zone(self, value: zoneinfo.ZoneInfo) -> str:
        if value.key is None:
            raise NotDurable("a time zone without a name", 'Use zoneinfo.ZoneInfo("Area/City").')
        return self._in_module("zoneinfo", f"ZoneInfo({value.key!r})")

    def _pattern(self, value: re.Pattern[Any]) -> str:
        flags = value.flags & ~re.UNICODE if isinstance(value.pattern, str) else value.flags
        return self._in_module("re", f"compile({value.pattern!r}, {int(flags)})")

    def _defaultdict(self, value: collections.defaultdict[Any, Any]) -> str:
        factory = self.of(value.default_factory)
        return self._in_module("collections", f"defaultdict({factory}, {{{self._pairs(value)}}})")

    def _deque(self, value: collections.deque[Any]) -> str:
        return self._in_module("collections", f"deque([{self._items(value)}], {value.maxlen!r})")

    def _mapping_of(self, value: dict[Any, Any]) -> str:
        return self._in_module("collections", f"{type(value).__name__}({{{self._pairs(value)}}})")

    def _partial(self, value: functools.partial[Any]) -> str:
        parts = [self.of(value.func), *(self.of(item) for item in value.args)]
        parts += [f"{name}={self.of(item)}" for name, item in value.keywords.items()]
        return self._in_module("functools", f"partial({', '.join(parts)})")

    def _namespace(self, value: types.SimpleNamespace) -> str:
        parts = ", ".join(f"{name}={self.of(item)}" for name, item in vars(value).items())
        return self._in_module("types", f"SimpleNamespace({parts})")

    def _logger(self, value: logging.Logger) -> str:
        return self._in_module("logging", f"getLogger({value.name!r})")

    def _generic(self, value: types.GenericAlias) -> str:
        return f"{self.of(value.__origin__)}[{self._items(value.__args__) or '()'}]"

    def _union(self, value: types.UnionType) -> str:
        return " | ".join(self.of(item) for item in value.__args__)

    def _enum(self, value: enum.Enum) -> str:
        kind = self._writer.reference(type(value))
        if value.name is not None and value.name in type(value).__members__:
            return f"{kind}[{value.name!r}]"
        return f"{kind}({self.of(value.value)})"

    def _dataclass(self, value: Any) -> str:
        if isinstance(value, type):
            return self._writer.reference(value)
        parts = [
            f"{item.name}={self.of(getattr(value, item.name))}"
            for item in dataclasses.fields(value)
            if item.init
        ]
        return f"{self._writer.reference(type(value))}({', '.join(parts)})"


_SIMPLE: dict[type, Callable[[_Expression, Any], str]] = {
    float: _Expression._float,
    complex: _Expression._complex,
    bytearray: lambda _, value: f"bytearray({bytes(value)!r})",
    range: lambda _, value: repr(value),
    slice: lambda self, value: f"slice({self._items((value.start, value.stop, value.step))})",
    tuple: _Expression._tuple,
    list: lambda self, value: f"[{self._items(value)}]",
    dict: lambda self, value: f"{{{self._pairs(value)}}}",
    set: _Expression._set,
    frozenset: lambda self, value: f"frozenset({self._set(value) if value else ''})",
    datetime.datetime: _Expression._datetime,
    datetime.date: _Expression._datetime,
    datetime.time: _Expression._datetime,
    datetime.timedelta: _Expression._timedelta,
    datetime.timezone: _Expression._timezone,
    zoneinfo.ZoneInfo: _Expression._zone,
    decimal.Decimal: lambda self, value: self._in_module("decimal", f"Decimal({str(value)!r})"),
    fractions.Fraction: lambda self, value: self._in_module("fractions", repr(value)),
    uuid.UUID: lambda self, value: self._in_module("uuid", f"UUID({str(value)!r})"),
    re.Pattern: _Expression._pattern,
    collections.defaultdict: _Expression._defaultdict,
    collections.OrderedDict: _Expression._mapping_of,
    collections.Counter: _Expression._mapping_of,
    collections.deque: _Expression._deque,
    functools.partial: _Expression._partial,
    types.SimpleNamespace: _Expression._namespace,
    types.MappingProxyType: lambda self, value: self._in_module("types", f"MappingProxyType({{{self._pairs(value)}}})"),
    types.GenericAlias: _Expression._generic,
    types.UnionType: _Expression._union,
    logging.Logger: _Expression._logger,
    **{
        kind: lambda self, value: self._in_module("ipaddress", repr(value))
        for kind in (
            ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
        )
    },
}  # fmt: skip


def explain(value: object) -> tuple[str, str]:
    """What kind of thing a value is that cannot be written down, and what to do instead."""
    for test, answer in _EXPLANATIONS:
        if test(value):
            return answer(value) if callable(answer) else answer
    kind = type(value)
    own = kind.__module__ in ("__main__", "builtins") or kind.__module__.startswith("perdure_cells")
    name = kind.__name__ if own else f"{kind.__module__}.{kind.__name__}"
    remedy = "Create it inside the function that uses it"
    return f"an instance of {name}", f"{remedy}{', or make the class a dataclass' if own else ''}."


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _is_connection(value: object) -> bool:
    name = type(value).__name__.lower()
    return isinstance(value, socket.socket) or any(word in name for word in _CONNECTION_WORDS)


def _lines_of_sync() -> tuple[type, ...]:
    lock, rlock = type(threading.Lock()), type(threading.RLock())
    named = (threading.Event, threading.Condition, threading.Semaphore, threading.Barrier, threading.Thread)
    loops = (
        asyncio.Lock,
        asyncio.Event,
        asyncio.Semaphore,
        asyncio.Queue,
        asyncio.Future,
        asyncio.AbstractEventLoop,
    )
    return (lock, rlock, *named, *loops)


_SYNC = _lines_of_sync()
_Answer: TypeAlias = tuple[str, str] | Callable[[Any], tuple[str, str]]
_EXPLANATIONS: list[tuple[Callable[[Any], bool], _Answer]] = [
    (
        lambda value: isinstance(value, io.IOBase),
        lambda value: (
            f"an open file ({getattr(value, 'name', type(value).__name__)})",
            "Open it inside an activity, from its path.",
        ),
    ),
    (
        lambda value: isinstance(value, subprocess.Popen),
        ("a running process", "Start it inside an activity, or keep its address as a text."),
    ),
    (
        lambda value: isinstance(value, _SYNC),
        lambda value: (
            f"a {type(value).__name__} of this process",
            "Create it inside the function; in a workflow use asyncio.Lock and workflow.wait_condition.",
        ),
    ),
    (
        lambda value: _package(value) == "numpy" and hasattr(value, "item") and not getattr(value, "shape", None),
        lambda value: (f"a numpy {type(value).__name__}", "Convert it to a Python value: x = x.item()."),
    ),
    (
        lambda value: isinstance(value, datetime.datetime | datetime.timedelta),
        lambda value: (
            f"a {_package(value)} {type(value).__name__}",
            "Convert it to a Python value: x = x.to_pydatetime() or x.to_pytimedelta().",
        ),
    ),
    (
        lambda value: _package(value) in _IN_MEMORY and (hasattr(value, "shape") or hasattr(value, "__len__")),
        lambda value: (
            f"a {_package(value)} {type(value).__name__} in memory",
            "Load it in an activity, or pass the path of a file that holds it.",
        ),
    ),
    (
        lambda value: _package(value) in _MODELS,
        lambda value: (
            f"a {_package(value)} {type(value).__name__} in memory",
            "Save it to a file, and load it in the activity from its path.",
        ),
    ),
    (
        lambda value: _package(value) in ("perdure", "perdure_jupyter", "temporalio"),
        lambda value: (
            f"a {type(value).__name__} of this session",
            "Keep its id as a text, and get it inside an activity: perdure.run(id).",
        ),
    ),
    (
        _is_connection,
        lambda value: (f"an open connection ({type(value).__name__})", "Open it inside the activity that uses it."),
    ),
    (
        lambda value: inspect.isgenerator(value) or inspect.iscoroutine(value) or inspect.isasyncgen(value),
        ("a generator, which can be read only once", "Make it a list, or generate inside the function."),
    ),
    (
        lambda value: isinstance(value, Iterator),
        ("an iterator, which can be read only once", "Make it a list, or iterate inside the function."),
    ),
    (
        lambda value: isinstance(value, types.ModuleType),
        ("a module that was not imported from a file", "Put the code into a .py file beside the notebook."),
    ),
]  # fmt: skip


def _too_big(size: str) -> NotDurable:
    return NotDurable(
        f"too big to be part of a definition: {size}", "Write it to a file, and load it in an activity."
    )

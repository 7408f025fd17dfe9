"""Constants that can be written down as source, and those that cannot."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import importlib
import io
import ipaddress
import logging
import pathlib
import re
import socket
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.authoring.values import LIMIT, NotDurable, express


class Colour(enum.Enum):
    RED = "red"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    id: int
    lines: list[Point] = field(default_factory=list)
    total: int = field(init=False, default=0)


class Writer:
    """Names everything under its own name."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def module(self, name: str) -> str:
        self.names[name] = importlib.import_module(name)
        return name

    def reference(self, thing: Any) -> str:
        self.names[thing.__name__] = thing
        return str(thing.__name__)


def again(value: object) -> Any:
    writer = Writer()
    return eval(express(value, writer), writer.names)


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
    | st.text() | st.binary() | st.dates() | st.times() | st.datetimes() | st.timedeltas() | st.uuids() | st.fractions()
    | st.decimals(allow_nan=False) | st.ip_addresses() | st.timezones()
)  # fmt: skip
constants = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.tuples(inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(constants)
def test_a_constant_comes_back_equal_and_of_its_type(value: object) -> None:
    result = again(value)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        float("inf"), ..., range(1, 9, 2), slice(1, None), bytearray(b"ab"), set(), {3, 1, 2}, frozenset(), frozenset({1}),
        Colour.RED, Access.READ | Access.WRITE, Point(1, 2), Order(1, [Point(2, 3)]), pathlib.Path("/data/x.csv"),
        pathlib.PurePosixPath("a/b"), re.compile(r"a+\d", re.I | re.M), re.compile(b"x"), zoneinfo.ZoneInfo("Europe/Berlin"),
        dt.UTC, dt.timezone(dt.timedelta(hours=2)), dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC), decimal.Decimal("0.20"),
        dt.datetime(2020, 10, 25, 2, 30, fold=1), fractions.Fraction(1, 3), uuid.UUID(int=5), collections.OrderedDict(a=1),
        collections.Counter("abba"), collections.deque([1, 2], maxlen=5), types.SimpleNamespace(a=1, b=[2]), list[int],
        int | None, ipaddress.ip_network("10.0.0.0/8"), logging.getLogger("shop"), collections.defaultdict(list, {"a": [1]}),
        {"nested": [({Colour.RED: Order(2)},)]}, int, (1,),
    ],
    ids=repr,
)  # fmt: skip
def test_values_of_the_standard_library(value: object) -> None:
    result = again(value)
    assert result == value and type(result) is type(value)


def test_a_nan_stays_one() -> None:
    assert again(float("nan")) != again(float("nan"))


def test_sets_are_written_in_one_order() -> None:
    assert express({"b", "a", "c"}, Writer()) == "{'a', 'b', 'c'}"


def _generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("make", "what", "remedy"),
    [
        (lambda: pd.DataFrame({"a": [1]}), "a pandas DataFrame in memory", "Load it in an activity"),
        (lambda: np.zeros(3), "a numpy ndarray in memory", "pass the path"),
        (lambda: np.float64(3), "a numpy float64", ".item()"),
        (lambda: io.StringIO(), "an open file", "from its path"),
        (lambda: threading.Lock(), "a lock of this process", "asyncio.Lock"),
        (lambda: _generator(), "a generator", "Make it a list"),
        (lambda: iter([1]), "an iterator", "Make it a list"),
        (lambda: types.ModuleType("made"), "a module that was not imported", ".py file"),
        (lambda: Writer(), "an instance of", "Create it inside the function"),
        (lambda: "x" * (LIMIT + 1), "too big", "Write it to a file"),
        (lambda: list(range(LIMIT)), "too big", "load it in an activity"),
    ],
)
def test_what_is_bound_to_this_process_is_refused(make: Any, what: str, remedy: str) -> None:
    with pytest.raises(NotDurable) as caught:
        express(make(), Writer())
    assert what in caught.value.what and remedy in caught.value.remedy


def test_connections_and_processes_are_refused() -> None:
    with socket.socket() as open_socket, pytest.raises(NotDurable, match="an open connection"):
        express(open_socket, Writer())
    with (
        subprocess.Popen([sys.executable, "-c", ""]) as process,
        pytest.raises(NotDurable, match="a running process"),
    ):
        express(process, Writer())


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotDurable, match="contains itself"):
        express(circle, Writer())


def test_the_same_thing_twice_is_no_circle() -> None:
    shared = [1]
    assert again([shared, shared]) == [[1], [1]]

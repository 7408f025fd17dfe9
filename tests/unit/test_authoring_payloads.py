"""What can be kept in a history is kept as the SDK keeps it; what cannot is refused, not cut down."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from temporalio.converter import DataConverter

from perdure.authoring.payloads import data_converter
from perdure.errors import CallError


@dataclasses.dataclass
class Order:
    id: int
    total: Any


def through(value: Any) -> Any:
    async def both_ways() -> Any:
        (back,) = await data_converter.decode(await data_converter.encode([value]))
        return back

    return asyncio.run(both_ways())


@pytest.mark.parametrize(
    ("table", "name"),
    [(pd.DataFrame({"a": [1, 2, 3]}), "DataFrame"), (pd.Series([1, 2], index=["x", "y"]), "Series")],
)
@pytest.mark.parametrize("around", [lambda table: table, lambda table: {"of": [table]}])
def test_tables_are_refused_with_what_to_do(table: Any, name: str, around: Any) -> None:
    with pytest.raises(
        CallError, match=f"A pandas {name} cannot be kept in the history.*\n  → Write it to a file"
    ):
        through(around(table))


def test_numbers_and_arrays_of_numpy_are_numbers_and_lists() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    given = {
        "sum": frame["a"].sum(),
        "mean": frame["b"].mean(),
        "any": np.bool_(True),
        "row": frame["a"].to_numpy(),
    }
    assert through(given) == {"sum": 3, "mean": 1.0, "any": True, "row": [1, 2]}
    assert through(Order(1, np.int64(3))) == {"id": 1, "total": 3}


@pytest.mark.parametrize("value", [object(), {"of": Path("x")}])
def test_what_is_no_json_is_named(value: Any) -> None:
    with pytest.raises(CallError, match=r"cannot be kept in the history.*\n  → Pass numbers, texts"):
        through(value)


@pytest.mark.parametrize(
    "value",
    [None, b"x", 1, "é", [1, {"a": None}], {3}, dt.datetime(2026, 1, 2), uuid.UUID(int=5), Order(1, 2.5)],
)
def test_everything_else_is_as_the_sdk_has_it(value: Any) -> None:
    encoded = asyncio.run(data_converter.encode([value]))
    assert encoded == asyncio.run(DataConverter.default.encode([value]))

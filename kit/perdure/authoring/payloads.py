"""How arguments and results become JSON: as the SDK does it, and without silent losses.

The SDK's encoder takes whatever can be iterated over as a list. Of a DataFrame that is the names of its columns, of a
Series its values without their index: the run would go on with something else than what the activity had. So
tables are refused, with what to do instead. numpy's numbers, which sums and counts of tables are, become
numbers, its arrays lists.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)

from perdure.errors import CallError

_TABLES = {"DataFrame", "LazyFrame", "Series", "Table", "RecordBatch"}
_LIBRARIES = {"pandas", "polars", "pyarrow", "geopandas", "dask", "modin"}


class Encoder(AdvancedJSONEncoder):
    """The SDK's, but for tables and numpy."""

    def default(self, o: Any) -> Any:
        kind = type(o)
        library = kind.__module__.partition(".")[0]
        if library in _LIBRARIES and kind.__name__ in _TABLES:
            raise CallError(
                f"A {library} {kind.__name__} cannot be kept in the history, which holds JSON.",
                "Write it to a file, and pass the file's name; or pass its rows as a list of dicts, if they are few.",
            )
        if library == "numpy" and hasattr(o, "tolist"):
            return o.tolist()
        try:
            return super().default(o)
        except TypeError:
            raise CallError(
                f"{kind.__module__}.{kind.__qualname__} cannot be kept in the history, which holds JSON.",
                "Pass numbers, texts, lists, dicts or dataclasses.",
            ) from None


class PayloadConverter(CompositePayloadConverter):
    """The SDK's converters, with this encoder."""

    def __init__(self) -> None:
        super().__init__(
            *(
                JSONPlainPayloadConverter(encoder=Encoder)
                if type(each) is JSONPlainPayloadConverter
                else each
                for each in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


data_converter = dataclasses.replace(DataConverter.default, payload_converter_class=PayloadConverter)

"""The project's file: one DuckDB database that keeps every record of every run."""

from perdure.store.queries import from_parquet
from perdure.store.store import Store

__all__ = ["Store", "from_parquet"]

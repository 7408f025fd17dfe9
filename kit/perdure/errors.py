"""The errors that perdure raises to its users.

    PerdureError
    ├── DefinitionError        a cell or function cannot be made a durable definition
    ├── CallError              a definition was given arguments that it does not take, or called in the wrong place
    ├── StoreError             the project's file
    │   ├── NewerFileError     written by a newer perdure
    │   ├── DamagedFileError   not a file that DuckDB can read
    │   ├── FileInUseError     held by a process that does not serve it
    │   └── FileNotWritableError   read-only folder, or no space left
    ├── ConnectError           a Temporal cluster that cannot be connected to
    ├── QueryError             a SQL text that was refused or failed
    └── RunError               a run that failed, was cancelled, terminated, or timed out; or is not there

Each says what was wrong, names the input, and ends with what to do. In a notebook they are shown without a stack.
"""

from __future__ import annotations


class PerdureError(Exception):
    """Base of all errors that perdure raises on purpose.

    Args:
        message: what is wrong, with the input's name and the rule.
        remedy: what to do, one sentence in the imperative; "" when the message says it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: the error in a few lines, without our stack frames."""
        return [f"{type(self).__name__}: {self}"]


class DefinitionError(PerdureError):
    """A cell or function cannot be made a durable definition."""


class CallError(PerdureError, TypeError):
    """A definition was given arguments that it does not take, or was called where it cannot be."""


class StoreError(PerdureError):
    """The project's file cannot be used."""


class NewerFileError(StoreError):
    """The file was written by a newer perdure."""


class DamagedFileError(StoreError):
    """The file is damaged, or is no DuckDB file."""


class FileInUseError(StoreError):
    """Another process holds the file and does not serve it to others."""


class FileNotWritableError(StoreError):
    """The file, or its folder, cannot be written: read-only, or no space left."""


class ConnectError(PerdureError):
    """A Temporal cluster cannot be connected to."""


class QueryError(PerdureError):
    """A SQL text was refused, or failed."""


class RunError(PerdureError):
    """A run failed, was cancelled or terminated, timed out, or does not exist."""

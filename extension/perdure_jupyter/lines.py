"""Plain text as what a cell shows."""

from __future__ import annotations


class Lines(str):
    """A text that a cell shows as it is, not as a Python literal."""

    def __repr__(self) -> str:
        return str(self)


def table(rows: list[tuple[str, str]]) -> Lines:
    width = max(len(name) for name, _ in rows)
    return Lines("\n".join(f"{name:{width}}  {text}" for name, text in rows if text))

"""Where a project's DuckDB file is: as told, or the nearest `.perdure` folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


FOLDER = ".perdure"


FILE = "history.duckdb"


def project_file(path: str | Path | None = None) -> Path:
    """Where a project's file is.

    A path that ends in .duckdb is the file, any other the folder that holds `history.duckdb`, or whose
    `.perdure` does. Without a path it is PERDURE_HOME, else the nearest `.perdure` in the working directory or above it, else
    `./.perdure`.
    """
    chosen = path if path is not None else os.environ.get("PERDURE_HOME") or None
    if chosen is not None:
        given = Path(chosen).expanduser().absolute()
        if given.suffix == ".duckdb":
            return given
        inside = given / FOLDER / FILE
        return inside if inside.exists() and not (given / FILE).exists() else given / FILE
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir() and os.access(folder / FOLDER, os.W_OK):
            return folder / FOLDER / FILE
    return here / FOLDER / FILE

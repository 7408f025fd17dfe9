"""perdure in Jupyter: magics, completion, live pictures. Loaded by `%load_ext perdure`.

Loading takes milliseconds: it registers magics, a matcher and a displayer, all of which import what they need when they are
first used. If the project has a file already, it is opened on a thread meanwhile (`perdure_jupyter.opening`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from perdure_jupyter.extension import Extension

_loaded: dict[int, Extension] = {}


def load(shell: InteractiveShell) -> None:
    """Adds perdure to a shell. Loading twice changes nothing."""
    from perdure_jupyter.extension import Extension

    if id(shell) not in _loaded:
        _loaded[id(shell)] = Extension(shell)


def unload(shell: InteractiveShell) -> None:
    """Takes out what `load` put in. The session stays open, and its runs go on."""
    extension = _loaded.pop(id(shell), None)
    if extension is not None:
        extension.close()


load_ipython_extension = load
unload_ipython_extension = unload

"""Functions, classes and cells become durable, versioned Temporal definitions here.

durations, options     what people write in decorators and magics
names, values          what a piece of source uses; which values can be written down as source
capture                a cell and what it uses from the notebook -> the source of a module
hazards                what a workflow must not do, found before it runs
modules                such modules, importable from memory
activity, workflow     the decorators, and the objects they make
generated              what the sources of such modules call; old ones are in files, so it only grows
registry, cells        what this process knows; `define_cell` is what the magics call
"""

from __future__ import annotations

PASSTHROUGH_MODULES = ("perdure",)
"""Modules that workers must pass through the SDK's sandbox: perdure's registry and objects are the
process's, not a run's.
"""

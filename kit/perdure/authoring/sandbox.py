"""How the SDK's sandbox is set up: installed packages pass through it, one's own modules do not.

The sandbox imports a workflow's module, and what that imports, afresh for each run, so that no run can see
another's variables. For one's own modules that is right. Installed packages are too large for it, and they go on importing their
own parts inside functions: half of a package would be the process's and half the run's. A captured module therefore
imports them unchanged, and what they import later passes through as well. What is forbidden stays forbidden: the sandbox's
restrictions on clocks, files and randomness hold in any case.
"""

from __future__ import annotations

import dataclasses
import functools
import sysconfig
from importlib.machinery import PathFinder

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from perdure.authoring import PASSTHROUGH_MODULES

_SITE_PACKAGES = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def runner() -> SandboxedWorkflowRunner:
    """The SDK's sandbox for workflows of cells and of modules."""
    through = _Through(SandboxRestrictions.default.passthrough_modules | set(PASSTHROUGH_MODULES))
    return SandboxedWorkflowRunner(
        restrictions=dataclasses.replace(SandboxRestrictions.default, passthrough_modules=through)
    )


class _Through(set[str]):
    """The SDK asks this set for the names of modules; every module of an installed package is in it."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _is_installed(name.partition(".")[0]))


@functools.lru_cache(maxsize=4096)
def _is_installed(package: str) -> bool:
    return PathFinder.find_spec(package, _SITE_PACKAGES) is not None

"""Forks of a process that is a member of a project.

A fork has the memory of the engine but none of its threads, and it holds the same sockets and locks. Left
alone it would do harm: calls would wait for threads that do not exist, and after a kill -9 of the kernel
the system would keep the connections, the port and the lock for the fork's sake, so that nobody noticed the
death. So the fork closes its copies at birth (which takes nothing from its parent), and is refused when it
calls.

gRPC has a handling of forks of its own, which closes its sockets in the fork and starts its threads there; they
crash now and then when the parent has a server. `import perdure` turns it off, which has an effect only before
gRPC is imported (temporalio does so): else a warning comes with the fork.
"""

from __future__ import annotations

import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from perdure.errors import PerdureError


class Inherited(Protocol):
    """What a fork gets a useless copy of."""

    def in_fork(self) -> None: ...


logger = logging.getLogger(__name__)

# whether gRPC handles forks: as gRPC read it, because `import perdure` sets it only in time
_GRPC_FORKS: Final = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() not in (
    "0",
    "false",
    "no",
    "off",
    "",
)

_live: weakref.WeakSet[Inherited] = weakref.WeakSet()
_forked = False


class ForkedError(PerdureError):
    """A fork of the kernel used its parent's session."""

    def __init__(self) -> None:
        super().__init__(
            f"Process {os.getpid()} is a fork of a process that has a project open; a fork cannot use it.",
            'Start processes afresh: multiprocessing.get_context("spawn"), or subprocess.',
        )


def watch_forks(inherited: Inherited) -> None:
    """Calls `inherited.in_fork()` in every fork of this process, for as long as the object lives."""
    _live.add(inherited)


def refuse_fork() -> None:
    """Raises ForkedError in a fork of a member."""
    if _forked:
        raise ForkedError


def _after_in_child() -> None:
    global _forked
    inherited = list(_live)
    _forked = _forked or bool(inherited)
    for each in inherited:
        each.in_fork()


def _before() -> None:
    if _GRPC_FORKS and list(_live):
        logger.warning(
            "This process forks, and gRPC may crash in the fork, because it was imported before perdure. Import "
            "perdure before temporalio and grpc, or set GRPC_ENABLE_FORK_SUPPORT=0, or use "
            'multiprocessing.get_context("spawn").'
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)


def close_copies(is_ours: Callable[[int], bool]) -> None:
    """Closes every open file descriptor that `is_ours` names.

    /dev/null takes its number: whoever knew the descriptor may close that number again.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in list(_descriptors()):
        if descriptor != null and is_ours(descriptor):
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def is_socket_of(descriptor: int, port: int) -> bool:
    """Whether a descriptor is a TCP socket of the frontend on `port`: listening, accepted, or a client's.

    Where gRPC handles forks, it has closed the former two itself, and would crash if they were closed again.
    """
    return _has_port(descriptor, port, local=not _GRPC_FORKS)


def _has_port(descriptor: int, port: int, *, local: bool) -> bool:
    try:
        its_socket = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        if its_socket.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        return port == _port(its_socket.getpeername) or (local and port == _port(its_socket.getsockname))
    finally:
        its_socket.detach()


def _port(name: Callable[[], tuple[str, int]]) -> int | None:
    try:
        return name()[1]
    except OSError:
        return None  # not connected


def is_file(descriptor: int, path: Path) -> bool:
    """Whether a descriptor is `path`, opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _descriptors() -> Iterator[int]:
    folder = Path("/dev/fd")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    yield from (int(name) for name in names if name.isdigit())

"""Who owns a project's file, and where it is served.

Two small files lie beside the DuckDB file. `owner.lock` is locked (by the operating system, so that the
lock ends with its holder, however that dies) by the process that has the file open. `frontend.json` is that
process's notice to all others of the same user: its address and token, readable by nobody else. The token
and the port outlive the owner, so that clients of the old owner find the new one. (A file of another name
than history.duckdb puts its name in front: `other.owner.lock`.)

A notice is believed only while somebody holds the lock and its process lives: the token is not shown to
whoever else may have come to listen on the port since.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import zlib
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from perdure.errors import FileNotWritableError, StoreError
from perdure.frontend.codec import PROTOCOL

_PORTS: Final = range(20_000, 32_000)  # below those that systems hand to outgoing connections


@dataclass(frozen=True, slots=True)
class Notice:
    """What `frontend.json` says."""

    pid: int
    host: str
    address: str  # "" while the owner is still opening the file
    port: int  # that the owner has, or had
    token: str = field(repr=False)
    version: str
    protocol: int

    @property
    def elsewhere(self) -> bool:
        """The owner runs on another machine (the folder is shared)."""
        return self.host != socket.gethostname()

    @property
    def alive(self) -> bool:
        """As far as one can tell: a process on this machine with the owner's number exists."""
        if os.name == "nt" or self.elsewhere:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it exists
        return True


class Ownership:
    """The lock and the notice of one project.

    Args:
        file: the project's DuckDB file; its folder is made if it is missing.

    Raises:
        FileNotWritableError: the folder cannot be made.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.expanduser().resolve()
        prefix = "" if self.file.name == "history.duckdb" else f"{self.file.stem}."
        self.lock_path = self.file.with_name(f"{prefix}owner.lock")
        self.notice_path = self.file.with_name(f"{prefix}frontend.json")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error
        self._lock = FileLock(self.lock_path, thread_local=False)

    def take(self) -> bool:
        """Takes the lock if nobody holds it.

        Raises:
            StoreError: the folder is read-only, or its file system has no locks.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno in (
                errno.EACCES,
                errno.EPERM,
                errno.EROFS,
                errno.ENOSPC,
            ):
                raise self._not_writable(error) from error
            raise StoreError(
                f"{self.lock_path} cannot be locked ({error}): its file system has no file locks.",
                "Put the project on a local disk; PERDURE_HOME names its folder.",
            ) from error
        return True

    def release(self) -> None:
        self._lock.release()

    def read(self) -> Notice | None:
        """The notice; None if there is none that this user wrote and can use."""
        try:
            with self.notice_path.open() as stream:
                status = os.fstat(stream.fileno())
                content = stream.read()
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                return None
            return Notice(**json.loads(content))
        except (OSError, ValueError, TypeError):
            return None

    def announce(self, address: str, port: int, token: str) -> Notice:
        """Writes the notice for this process, in one step, readable by this user only."""
        notice = Notice(os.getpid(), socket.gethostname(), address, port, token, version("perdure"), PROTOCOL)
        passing = self.notice_path.with_name(f".{self.notice_path.name}.{os.getpid()}")
        try:
            passing.unlink(missing_ok=True)
            descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as stream:  # noqa: PTH123  # a descriptor
                json.dump(asdict(notice), stream, indent=2)
            passing.replace(self.notice_path)
        except OSError as error:
            raise self._not_writable(error) from error
        return notice

    def token(self) -> str:
        """The token of the owners before, if only this user could have read it; else a new one."""
        notice = self.read()
        if notice is None or (os.name != "nt" and self.notice_path.stat().st_mode & 0o077):
            return secrets.token_urlsafe(32)
        return notice.token

    def ports(self) -> list[int]:
        """The ports to try: the one before, then a few that belong to this path."""
        notice = self.read()
        first = zlib.crc32(str(self.file).encode())
        own = [_PORTS[(first + step) % len(_PORTS)] for step in range(4)]
        return [notice.port, *own] if notice else own

    def _not_writable(self, error: OSError) -> FileNotWritableError:
        return FileNotWritableError(
            f"The project's folder {self.file.parent} cannot be written: {error.strerror}.",
            "Make it writable, free some space, or set PERDURE_HOME to another folder.",
        )

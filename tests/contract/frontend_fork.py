"""Program: enters the project named on the command line, forks, and tells as JSON what the fork could do.

With "grpc" as the second argument that is imported first, and the fork does nothing: it might crash.
"""

import sys

if sys.argv[2] == "grpc":
    import grpc.aio  # noqa: F401
else:
    import perdure  # noqa: F401

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frontend_fakes import FakeEngine, opener

from perdure.frontend.forks import is_file, is_socket_of
from perdure.frontend.membership import Membership


def error(work: Callable[[], Any]) -> str:
    try:
        work()
    except Exception as caught:
        return type(caught).__name__
    return ""


def ask(membership: Membership) -> str:
    return asyncio.run(membership.project.pinned("r"))


def in_the_fork(membership: Membership) -> dict[str, Any]:
    port = int(membership.connection.address.rpartition(":")[2])
    lock = membership.file.with_name("own.owner.lock")
    descriptors = [int(each.name) for each in Path("/dev/fd").iterdir()]
    return {
        "call": error(lambda: ask(membership)),
        "enter": error(lambda: Membership.enter(membership.file)),
        "sockets": sum(is_socket_of(each, port) for each in descriptors),
        "locks": sum(is_file(each, lock) for each in descriptors),
    }


def main() -> None:
    with Membership.enter(sys.argv[1], open_engine=opener(FakeEngine())) as membership:
        ask(membership)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = in_the_fork(membership) if sys.argv[2] == "perdure" else {}
                os.write(write, json.dumps(said).encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read) as stream:
            said = json.load(stream)
        print(json.dumps({**said, "role": membership.connection.role, "parent": ask(membership)}))


main()

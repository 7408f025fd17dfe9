"""What `%workflow` says of the place where the runs are (the project's file, or a cluster), and how it goes to another; and of the worker.

Each function takes the parsed line of its subcommand and returns what the cell shows."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import perdure
from perdure.errors import PerdureError
from perdure.session import opened, session
from perdure_jupyter.lines import Lines, table


def worker(line: argparse.Namespace) -> Lines:
    worker = session().worker
    if worker is None:
        return Lines("This session has no worker: it starts runs, and other processes do their work.")
    status = worker.status
    rows = [
        (
            "worker",
            status.state + (f", {status.draining} older ones finish their work" if status.draining else ""),
        )
    ]
    rows += [
        ("process", status.process),
        ("task queues", ", ".join(status.task_queues)),
        ("workflows", ", ".join(status.workflows)),
        ("activities", ", ".join(status.activities)),
        *(("problem", problem) for problem in status.problems),
    ]
    return table(rows)


def connect(line: argparse.Namespace) -> Lines:
    from perdure.connecting import connection

    if line.address is not None:
        perdure.connect(
            line.address,
            namespace=line.namespace,
            api_key=_from_environment(line.api_key_env),
            tls=_tls(line),
            task_queue=line.task_queue,
        )
    return Lines(connection())


def _from_environment(name: str | None) -> str | None:
    """A secret by the name of its environment variable: it should not stand in a notebook."""
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise PerdureError(
            f"--api-key-env: the environment has no variable {name!r}, or it is empty.",
            f"Set it before the kernel starts, or with %env {name}=...",
        )
    return value


def _tls(line: argparse.Namespace) -> Any:
    """What the options say of TLS; None leaves it to whether there is an API key."""
    from temporalio.service import TLSConfig

    ca, certificate, key = (_bytes(path) for path in (line.tls_ca, line.tls_cert, line.tls_key))
    configured = bool(ca or certificate or key or line.tls_server_name)
    if line.no_tls and (line.tls or configured):
        raise PerdureError("--no-tls goes with no other --tls option.", "Leave one of them out.")
    if (certificate is None) != (key is None):
        raise PerdureError("--tls-cert and --tls-key go together.", "Name the files of both.")
    if configured:
        return TLSConfig(
            server_root_ca_cert=ca,
            client_cert=certificate,
            client_private_key=key,
            domain=line.tls_server_name,
        )
    return False if line.no_tls else True if line.tls else None


def _bytes(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise PerdureError(
            f"{path} cannot be read: {error.strerror}.", "Name a file in PEM format."
        ) from error


def disconnect(line: argparse.Namespace) -> Lines:
    from perdure.connecting import connection

    before = opened()
    if before is None or before.cluster is None:
        return Lines(f"There is no cluster to leave: {connection()}.")
    perdure.disconnect()
    return Lines(f"left {before.home}; now at {session().home}")


def status(line: argparse.Namespace) -> Lines:
    from perdure.connecting import connection

    here = session()
    if here.cluster is not None:
        rows = [("cluster", connection())]
    else:
        serves = f"this process owns it and serves {here.address}"
        rows = [
            ("file", f"{here.path} ({here.path.stat().st_size / 1e6:.1f} MB)"),
            ("role", serves if here.role == "owner" else f"joined its owner at {here.address}"),
        ]
    counted = here.wait(here.client.count_workflows("GROUP BY ExecutionStatus"))
    counts = [f"{group.count} {str(group.group_values[0]).lower()}" for group in counted.groups]
    rows += [
        ("runs", ", ".join(counts) or "none yet"),
        ("worker", here.worker.status.state if here.worker is not None else "none"),
    ]
    return table(rows)

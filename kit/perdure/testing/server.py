"""`perdure-test-server`: the engine as a server for tests, with the command lines that Temporal's SDKs use.

SDKs start servers for tests by themselves, and download them unless they are given a path. This program is such a path, for
both kinds, so that no download is needed:

    WorkflowEnvironment.start_time_skipping(test_server_existing_path=perdure.testing.server_path())
    WorkflowEnvironment.start_local(dev_server_existing_path=perdure.testing.server_path())

    perdure-test-server 7233                          one clock for all runs, which skips time; TestService
    perdure-test-server server start-dev --port 7233  real time; the options of `temporal server start-dev`

It listens on this machine only, asks nobody for a token, and keeps its runs in a temporary file unless --db-filename names
one. Do not keep anything in it that others on the machine may not see.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import logging
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest

from perdure.engine.clock import Clock, SystemClock
from perdure.engine.engine import Engine
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.processes import may_live
from perdure.engine.protos import SECOND, duration
from perdure.errors import PerdureError
from perdure.frontend.calls import Calls
from perdure.frontend.grpc_server import OpenGate, TemporalHandler, serve
from perdure.testing.clock import JumpingClock
from perdure.testing.flights import Flights
from perdure.testing.project import watched

_FOLDER = "perdure-server-"
_RETENTION = 3 * 86_400 * SECOND
_SETTINGS = {  # Temporal's names, in lower case, of what stands in Limits
    "limit.historycount.suggestcontinueasnew": "history_count_suggest",
    "limit.historycount.warn": "history_count_warn",
    "limit.historycount.error": "history_count_error",
    "limit.historysize.suggestcontinueasnew": "history_size_suggest",
    "limit.historysize.warn": "history_size_warn",
    "limit.historysize.error": "history_size_error",
    "limit.blobsize.warn": "blob_warn",
    "limit.blobsize.error": "blob_error",
    "limit.memosize.error": "memo_error",
    "limit.maxidlength": "id_length",
    "limit.numpendingactivities.error": "pending_activities",
    "limit.numpendingchildexecutions.error": "pending_children",
    "limit.numpendingsignals.error": "pending_signals",
    "limit.numpendingcancelrequests.error": "pending_cancels",
    "history.maximumsignalsperexecution": "signals",
    "history.maxinflightupdates": "updates_in_flight",
    "history.maxtotalupdates": "updates_total",
}


def server_path() -> str:
    """Where `perdure-test-server` is, for the SDKs' `..._existing_path`."""
    installed = Path(sysconfig.get_path("scripts")) / "perdure-test-server"
    for path in (installed, installed.with_suffix(".exe")):
        if path.exists():
            return str(path)
    return _launcher()


def _launcher() -> str:
    """For a source tree, which has no installed programs: one in a temporary folder, which goes with this process."""
    folder = tempfile.mkdtemp(prefix="perdure-launcher-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "perdure-test-server"
    source = Path(__file__).parents[2]
    path.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{source}:$PYTHONPATH"\nexec "{sys.executable}" -m perdure.testing.server "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is killed. Returns 1 if the port is taken."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING)
    if given and given[0].isdigit():
        line = argparse.Namespace(
            port=int(given[0]), ip="127.0.0.1", db_filename=None, namespace=[], search_attribute=[]
        )
        line.dynamic_config_value, line.skipping = [], True
    else:
        line = _parser().parse_args(given)
        line.skipping = False
    try:
        return asyncio.run(_serve(line))
    except PerdureError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perdure-test-server",
        description="The engine as a server for tests. With a port as its only argument: time skips.",
    )
    server = parser.add_subparsers(dest="command", required=True).add_parser("server")
    dev = server.add_subparsers(dest="subcommand", required=True).add_parser("start-dev")
    dev.add_argument("--port", "-p", type=int, default=7233)
    dev.add_argument("--ip", default="127.0.0.1", help="an address of this machine that others do not reach")
    dev.add_argument("--namespace", "-n", action="append", default=[], help="made if it is not there")
    dev.add_argument("--db-filename", "-f", help="the DuckDB file; default: a temporary one")
    dev.add_argument("--search-attribute", action="append", default=[], metavar="NAME=TYPE")
    dev.add_argument("--dynamic-config-value", action="append", default=[], metavar="KEY=VALUE")
    ignored = dev.add_argument_group("taken, and without effect here")
    ignored.add_argument("--headless", action="store_true")
    for name in ("--log-format", "--log-level", "--http-port", "--metrics-port", "--ui-ip", "--ui-port"):
        ignored.add_argument(name)
    for name in ("--ui-asset-path", "--ui-codec-endpoint", "--sqlite-pragma", "--log-config"):
        ignored.add_argument(name, nargs="?")
    return parser


async def _serve(line: argparse.Namespace) -> int:
    folder = _temporary_folder()
    try:
        file = Path(line.db_filename or f"{folder}/server.duckdb")
        flights = Flights()
        clock: Clock = SystemClock()
        if line.skipping:
            clock = JumpingClock(None, running=True, flights=flights)
            clock.hold()
            stored = await watched(clock, flights)(file)
        else:
            stored = await watched(clock, flights, _limits(line.dynamic_config_value))(file)
        calls = Calls(stored.service)
        try:
            await _prepare(stored.engine, line)
            server = await serve(
                (TemporalHandler(calls, OpenGate()),), ports=[line.port], host=line.ip, token=None
            )
            try:
                if server.port != line.port:
                    raise PerdureError(f"Port {line.port} of {line.ip} is taken.", "Choose another --port.")
                print(f"Server: {server.address}", flush=True)
                await _ended()
            finally:
                calls.close()
                await server.close()
        finally:
            await stored.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _ended() -> None:
    """Returns at SIGTERM or SIGINT."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()


def _temporary_folder() -> str:
    """A folder for this server's file. SDKs kill servers without a word: what those left behind is removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = left.name.removeprefix(_FOLDER).split("-")[0]
        if pid.isdigit() and not may_live(f"perdure-{pid}-00000000@{os.uname().nodename}"):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")


def _limits(values: Sequence[str]) -> Limits:
    """The settings of Temporal's dynamic config that the engine has, too. Features need no switching on here."""
    limits = DEFAULT
    for value in values:
        key, _, number = value.partition("=")
        if (name := _SETTINGS.get(key.lower())) and number.isdigit():
            limits = replace(limits, **{name: int(number)})
    return limits


async def _prepare(engine: Engine, line: argparse.Namespace) -> None:
    """Namespaces and search attributes that the command line asks for."""
    for namespace in line.namespace:
        if namespace != "default":
            request = RegisterNamespaceRequest(
                namespace=namespace, workflow_execution_retention_period=duration(_RETENTION)
            )
            await engine.service.call("RegisterNamespace", request)
    if line.search_attribute:
        attributes = AddSearchAttributesRequest(namespace=(line.namespace or ["default"])[0])
        for text in line.search_attribute:
            name, _, kind = text.partition("=")
            attributes.search_attributes[name] = IndexedValueType.Value(
                "INDEXED_VALUE_TYPE_" + "".join(f"_{c}" if c.isupper() else c for c in kind)[1:].upper()
            )
        await engine.service.call("AddSearchAttributes", attributes)


if __name__ == "__main__":
    sys.exit(main())

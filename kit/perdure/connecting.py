"""Any Temporal cluster in the place of the project's file: the same cells, handles and magics, with its API behind them.

One process has one session at a time. `connect` closes that of the file, whose open runs wait (in another process of the project, if
there is one, they go on), and makes one of the cluster; `disconnect` closes it, and the next use opens the file again.
What needs the file (SQL, versions of definitions, attempts of long ago, printed text) says so on a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.session import Session, opened, use
from perdure.worker.host import TASK_QUEUE

if TYPE_CHECKING:
    from temporalio.service import TLSConfig


def connect(
    address: str,
    *,
    namespace: str = "default",
    api_key: str | None = None,
    tls: bool | TLSConfig | None = None,
    task_queue: str = TASK_QUEUE,
    worker: bool = True,
) -> Session:
    """Connects this process to a Temporal cluster: from here on, runs are started, found and carried out there.

    The worker polls `task_queue` with the definitions of this process. Give each notebook a queue of its own: on a cluster, all workers
    of a queue must know the same workflows and activities.

    Args:
        address: HOST:PORT of its frontend, e.g. "localhost:7233".
        namespace: that the runs are in.
        api_key: sent with each call; implies TLS.
        tls: True, or a `temporalio.service.TLSConfig`; False for none. Default: TLS if there is an API key.
        task_queue: for definitions that name none.
        worker: whether this process carries out runs; without, it only starts, asks and looks.

    Returns:
        The default session of this process, until `disconnect`.

    Raises:
        ConnectError: names the address, what is wrong and what to do. What was connected before stays so.
    """
    from perdure.frontend.cluster import Target

    target = Target(address, namespace, tls, api_key, task_queue)
    here = opened()
    if here is not None and here.cluster is not None and here.cluster.target == target:
        return here
    made = Session(cluster=target, worker=False)
    if here is not None:
        made.say, waiting = here.say, _open_runs(here)
        here.close()
        if waiting:
            runs = "run waits" if waiting == 1 else "runs wait"
            made.say(f"{waiting} {runs} in {here.home} until you go back: perdure.disconnect().")
    use(made)
    if worker:
        made.begin_work()
    return made


def disconnect() -> None:
    """Leaves the cluster: the next use opens the project's file again. Runs stay on the cluster, and wait for a worker there."""
    here = opened()
    if here is not None and here.cluster is not None:
        here.close()
        use(None)


def connection() -> str:
    """What this process is connected to, in one line."""
    here = opened()
    if here is None:
        return "not connected: the first run opens the project's file"
    if here.cluster is None:
        return f"the file {here.home}"
    cluster = here.cluster
    return (
        f"Temporal {cluster.server} at {cluster.target.address}, namespace {cluster.target.namespace}, "
        f"task queue {cluster.target.task_queue}"
    )


def _open_runs(here: Session) -> int:
    """How many runs a file's session leaves waiting."""
    if here.cluster is not None:
        return 0
    return int(here.wait(here.client.count_workflows("ExecutionStatus = 'Running'")).count)
